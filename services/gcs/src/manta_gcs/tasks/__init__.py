"""What is known of tasks: the events that workers report, bounded in number, and why a task still waits.

Nothing here decides anything; the state API reads it.

Imports: kernel, jobs and nodes.
"""
