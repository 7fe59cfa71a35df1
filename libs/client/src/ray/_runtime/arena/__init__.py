"""The node's shared memory as a process sees it.

The connection to the object manager, pins, extents, copies in and out. A view of an object pins its range until the
view is gone.

Imports: loop and values.
"""
