"""Values as bytes: serialization of what users pass, references in it, and errors of the runtime as values.

What is pickled names modules of this package; see `ray._runtime.object_ref` for old names.

Imports: loop.
"""
