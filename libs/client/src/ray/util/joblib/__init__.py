"""joblib on a cluster: after register_ray(), `with joblib.parallel_config(backend="ray")` runs its calls on actors."""

from __future__ import annotations

__all__ = ["register_ray"]


def register_ray() -> None:
    """Make "ray" a backend of joblib. raises: ImportError when joblib is not installed."""
    try:
        from joblib.parallel import register_parallel_backend
    except ImportError as error:
        raise ImportError("register_ray() needs joblib, which is not installed: pip install joblib") from error
    from ray.util.joblib.ray_backend import RayBackend

    register_parallel_backend("ray", RayBackend)
