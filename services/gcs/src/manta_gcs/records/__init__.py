"""Writing of records: which commands of a batch become one transaction of the store.

A record too large for the store is cut into chunks.

Imports: kernel and store.
"""
