"""What `import ray` loads, and what its names are."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    "numpy",
    "pyarrow",
    "pandas",
    "grpc",
    "google.protobuf",
    "click",
    "rich",
    "cloudpickle",
    "asyncio",
    "structlog",
    "prometheus_client",
    "psutil",
    "inspect",
    "dataclasses",
    "importlib.metadata",
    "multiprocessing",
}


def _loaded_by(code: str) -> set[str]:
    report = "import json; print(json.dumps(sorted(set(sys.modules) - before)))"
    program = f"import sys; before = set(sys.modules)\n{code}\n{report}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_import_ray_loads_nothing_heavy() -> None:
    loaded = _loaded_by("import ray")
    assert loaded & HEAVY == set()
    assert {name for name in loaded if name.startswith(("ray.", "manta"))} == {
        "ray._distribution",
        "ray._runtime",
        "ray._runtime.current",
    }


def test_defining_remote_functions_and_actors_loads_nothing_heavy() -> None:
    loaded = _loaded_by(
        "import ray\n"
        "@ray.remote(num_cpus=2)\ndef f(x): return x\n"
        "@ray.remote\nclass A:\n    @ray.method(num_returns=2)\n    def m(self): pass\n"
        "ray.exceptions.RayError, ray.get, ray.put, ray.wait, ray.ObjectRef"
    )
    assert loaded & (HEAVY - {"inspect", "dataclasses"}) == set()


def test_every_public_name_is_in_the_table_and_comes_from_a_module_of_ours() -> None:
    import ray

    table = {*ray._HOMES, "LOCAL_MODE", "SCRIPT_MODE", "WORKER_MODE", "__version__", *ray._SUBMODULES}
    assert set(ray.__all__) == table - {"cluster_utils"}
    for name, home in ray._HOMES.items():
        assert home.startswith("ray.")
        assert getattr(ray, name) is getattr(ray, name)
    assert set(ray.__all__) <= set(dir(ray))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ray.nothing  # type: ignore[attr-defined]


def test_the_version_says_the_api_level_and_ours() -> None:
    import ray

    assert ray.__version__ == "2.60.0+manta.0.1.0"
    assert ray.__commit__


def test_upstreams_wheel_beside_ours_is_named(tmp_path: Path) -> None:
    site = tmp_path / "site-packages"
    (site / "ray-2.60.0.dist-info").mkdir(parents=True)
    (site / "raylib-1.0.dist-info").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.append({str(site)!r}); import ray"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert "ImportError: Both ray 2.60.0" in done.stderr
    assert "pip uninstall ray" in done.stderr
    assert "pip uninstall manta-client" in done.stderr


@pytest.mark.parametrize("users", ["manta.py", "manta/__init__.py"])
def test_a_users_own_package_manta_is_nothing_to_us(tmp_path: Path, users: str) -> None:
    path = tmp_path / users
    path.parent.mkdir(exist_ok=True)
    path.write_text("depth = 3")
    done = subprocess.run(
        [sys.executable, "-c", "import manta, ray; ray.NodeID; print(manta.depth)"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
    )
    assert (done.stdout.strip(), done.stderr) == ("3", "")
