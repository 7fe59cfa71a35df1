"""ray.shutdown() beside threads that are inside the API, and a second session in the same process."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import threading, time
import ray
from ray._runtime import current
from tests.integration.conditions import wait_for

ray.init(num_cpus=1, object_store_memory=100 << 20, log_to_driver=False)

@ray.remote
def never():
    threading.Event().wait()

@ray.remote(num_cpus=0)
class Actor:
    def one(self):
        return 1

    def never(self):
        threading.Event().wait()

actor = Actor.remote()
assert ray.get(actor.one.remote()) == 1
ref, call = never.remote(), actor.never.remote()
said = []

def called(_future):
    try:
        said.append(ray.put(1))
    except ray.exceptions.RaySystemError as error:
        said.append("under way" in str(error))

ref.future().add_done_callback(called)
ended = []

def waits(wait):
    try:
        ended.append(wait())
    except ray.exceptions.RayError:  # of the shutdown, or of the actor, which ends with its job
        ended.append("error")

threads = [
    threading.Thread(target=waits, args=(wait,), daemon=True)
    for wait in (
        lambda: ray.get(ref),
        lambda: ray.get([call, ref]),
        lambda: ray.get(call),
        lambda: len(ray.wait([call, ref], num_returns=2)[0]),
    )
]
for thread in threads:
    thread.start()
reading = current.runtime().reading
wait_for(lambda: len(reading._waiting) == len(threads) - 1, "all wait, and one of them reads")
ray.shutdown()
for thread in threads:
    thread.join(20)
assert sorted(map(str, ended)) == ["2", "error", "error", "error"], ended
assert said == [True], said
assert not ray.is_initialized()

ray.init(num_cpus=1, object_store_memory=100 << 20, log_to_driver=False)
for stale in (lambda: ray.get(ref, timeout=20), lambda: ray.get(actor.one.remote(), timeout=20)):
    try:
        stale()
    except Exception as error:
        print(type(error).__name__, error)
    else:
        raise AssertionError("it belongs to a session that is over")
ray.kill(fresh := Actor.remote())
del actor, ref, call, fresh
assert ray.get(ray.put(2)) == 2
ray.shutdown()
print("ended")
"""


def test_threads_inside_the_api_come_back_and_the_next_session_knows_nothing_of_them(root: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        timeout=110,
        cwd=Path(__file__).parents[3],
        check=False,
    )
    assert ran.returncode == 0 and ran.stdout.splitlines()[-1] == "ended", ran.stdout + ran.stderr
