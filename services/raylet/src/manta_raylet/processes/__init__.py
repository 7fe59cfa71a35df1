"""The shell's processes: the zygote and its link, starting and ending of workers, and the lines that workers print.

Death is seen by pidfd, never by a closed socket.

Imports: kernel, workers and core.
"""
