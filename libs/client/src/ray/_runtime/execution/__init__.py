"""User code in a worker: the queue of calls of each kind of actor, the run of one call, its results, interrupts.

`executor` takes a message and hands it to the call scheduler of the process.

Imports: actors and everything below.
"""
