"""Generators at their caller: the stream of items, items read ahead, and replay after a lost item.

The worker's side is in `execution`.

Imports: objects and everything below.
"""
