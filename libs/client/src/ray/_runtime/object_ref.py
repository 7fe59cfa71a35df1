"""The name under which pickles of version 0.1 know what `ray._runtime.values.object_ref` holds."""

from ray._runtime.values.object_ref import _rebuild

__all__ = ["_rebuild"]
