"""multiprocessing.Pool on actors: the same methods, over all nodes of a cluster."""

from __future__ import annotations

from multiprocessing import JoinableQueue, TimeoutError

from ray.util.multiprocessing.pool import Pool

__all__ = ["JoinableQueue", "Pool", "TimeoutError"]
