"""Descriptors 0 to 2 of a process that was started without them, as daemons and cron jobs are."""

import os


def fill() -> None:
    """Open /dev/null as each of them that is closed.

    Else the next pipes and sockets get those numbers: a child's standard streams would replace them, and whatever
    writes to standard output or error would write into them. manta_common.process has the same for the services; the
    supervisor runs without that package.
    """
    while (null := os.open(os.devnull, os.O_RDWR)) <= 2:  # the kernel gives the lowest number that is free
        os.set_inheritable(null, True)
    os.close(null)
