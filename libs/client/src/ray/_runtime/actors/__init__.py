"""Actors at their caller: creation, handles, the queue of calls of each, restarts.

One caller's calls run in the order in which they were made.

Imports: tasks and everything below.
"""
