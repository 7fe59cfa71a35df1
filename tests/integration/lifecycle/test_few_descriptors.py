"""A cluster whose processes may open few files: what does not fit fails with the reason, the rest works."""

from pathlib import Path

from tests.integration.runtime.driver_program import DriverProgram

PROGRAM = """
import os, resource, time
# More are started than fit; the hard limit holds for every process of the cluster.
resource.setrlimit(resource.RLIMIT_NOFILE, (160, 160))
import ray
ray.init(num_cpus=100, object_store_memory=100 << 20)

@ray.remote(num_cpus=0)
class Actor:
    def ping(self):
        return os.getpid()

@ray.remote
def task(number):
    time.sleep(0.05)
    return number

actors = [Actor.remote() for _ in range(60)]
alive, reasons = 0, set()
for actor in actors:
    try:
        ray.get(actor.ping.remote(), timeout=60)
        alive += 1
    except ray.exceptions.ActorDiedError as error:
        reasons.add("RLIMIT_NOFILE is 160" in str(error))
print("actors", alive, reasons, flush=True)
del actors, actor
print("tasks", sum(ray.get([task.remote(number) for number in range(100)], timeout=60)), flush=True)
ray.shutdown()
"""


def test_actors_beyond_the_descriptors_fail_with_the_reason_and_tasks_run(tmp_path: Path) -> None:
    with DriverProgram(PROGRAM, tmp_path / "root") as driver:
        lines = driver.end()
    word, alive, reasons = lines[0].split(" ", 2)
    assert (word, reasons) == ("actors", "{True}") and 0 < int(alive) < 60
    assert lines[1] == f"tasks {sum(range(100))}"
