"""A pickle and a store record that the version before wrote still load."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

WRITTEN = Path(__file__).with_name("version_0_1")
RAY = str(Path(sys.executable).with_name("ray"))

READ = """
import pickle, sys
from pathlib import Path
import ray
from ray import exceptions as errors
from ray.util import get_placement_group

ray.init(address="auto", namespace="kept")
counter = ray.get_actor("counter")  # its node is gone: it starts again here, from the record of version 0.1
assert ray.get(counter.add.options(max_task_retries=-1).remote(2), timeout=90) == 42
group = get_placement_group("kept")
ray.get(group.ready(), timeout=90)
assert [bundle["CPU"] for bundle in group.bundle_specs] == [1]

written = {path.stem: pickle.loads(path.read_bytes()) for path in Path(sys.argv[1]).glob("*.pickle")}
assert ray.get(written["actor_handle"].add.remote(1), timeout=90) == 43
assert isinstance(written["object_ref"], ray.ObjectRef)
assert [type(ref) for ref in written["refs"]] == [ray.ObjectRef] * 20
assert written["placement_group"].id == group.id
assert [type(value) for value in written["ids"]] == [ray.TaskID, bytes]
assert isinstance(written["task_error"], errors.RayTaskError) and isinstance(written["task_error"], ValueError)
assert repr(written["cause"]) == repr(written["task_error"].cause) == "ValueError('no')"
assert [type(value).__name__ for value in written["errors"]] == [
    "ActorDiedError", "GetTimeoutError", "WorkerCrashedError", "TaskCancelledError", "RaySystemError",
]
assert written["runtime_env"]["env_vars"] == {"A": "1"}
print("all read")
"""


@pytest.fixture
def head(root: Path) -> Iterator[Path]:
    """A head node on the store of version 0.1."""
    store = root / "gcs.db"
    with sqlite3.connect(store) as connection:
        connection.executescript((WRITTEN / "gcs.sql").read_text())
    connection.close()
    store.chmod(0o600)
    size = ("--num-cpus=2", "--object-store-memory=100000000")
    started = subprocess.run(
        [RAY, "start", "--head", "--port=0", *size, f"--address-store=sqlite://{store}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert started.returncode == 0, started.stderr
    yield root
    subprocess.run([RAY, "stop", "--force"], capture_output=True, timeout=60, check=False)


def test_the_store_and_the_pickles_of_the_version_before_are_read(head: Path) -> None:
    program = subprocess.run(
        [sys.executable, "-c", READ, str(WRITTEN)], capture_output=True, text=True, timeout=110, cwd=head, check=False
    )
    assert program.returncode == 0, program.stderr
    assert program.stdout.splitlines()[-1] == "all read"
