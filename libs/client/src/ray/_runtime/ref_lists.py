"""The name under which pickles of version 0.1 know what `ray._runtime.values.ref_lists` holds."""

from ray._runtime.values.ref_lists import _rebuild_list

__all__ = ["_rebuild_list"]
