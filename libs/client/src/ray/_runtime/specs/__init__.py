"""What a task is, in memory: definitions of functions and classes, ids, records, kinds.

A record lives from submission to the end of the last attempt.

Imports: values and references.
"""
