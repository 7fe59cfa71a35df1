"""Variables of upstream's names that a program and its cluster are started with, and those that workers find."""

from pathlib import Path

from tests.integration.runtime.driver_program import DriverProgram

PROGRAM = """
import os, shutil
import ray
from ray.util.state import list_actors

ray.init(_system_config={"maximum_gcs_destroyed_actor_cached_count": 2})

@ray.remote(num_cpus=0, runtime_env={"env_vars": {"PATH": "/nowhere:${PATH}"}})
def inside():
    return {
        "path": os.environ["PATH"],
        "shell": bool(shutil.which("sh")),
        "job": os.environ["RAY_JOB_ID"] == ray.get_runtime_context().get_job_id(),
        "raylet": open(f"/proc/{os.environ['RAY_RAYLET_PID']}/comm").read().strip(),
        "nice": os.nice(0),
    }

@ray.remote(num_cpus=0)
class Short:
    def ping(self):
        return 1

found = ray.get(inside.remote(), timeout=60)
print("path", found["path"] == "/nowhere:" + os.environ["PATH"] and found["shell"], flush=True)
print("ids", found["job"], found["raylet"], flush=True)
print("nice", found["nice"] - os.nice(0), flush=True)
resources = ray.cluster_resources()
print("resources", resources["CPU"], resources["special"], int(resources["object_store_memory"]), flush=True)
for _ in range(5):
    actor = Short.remote()
    ray.get(actor.ping.remote(), timeout=60)
    ray.kill(actor)
    while any(row.state != "DEAD" for row in list_actors()):
        pass
print("actors", len(list_actors()), flush=True)
"""


def test_upstreams_variables_are_honoured(tmp_path: Path) -> None:
    variables = {
        "RAY_OVERRIDE_RESOURCES": '{"CPU": 3, "special": 2}',
        "RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES": "123000000",
        "RAY_worker_niceness": "4",
    }
    with DriverProgram(PROGRAM, tmp_path / "root", **variables) as driver:
        lines = driver.end()
    assert lines == ["path True", "ids True manta-raylet", "nice 4", "resources 3.0 2.0 123000000", "actors 2"]
