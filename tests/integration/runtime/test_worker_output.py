"""What workers print, on the driver's terminal."""

import re
from pathlib import Path

from tests.integration.conditions import wait_for
from tests.integration.runtime.driver_program import DriverProgram

MARKED = re.compile(r"\((.+?) pid=(\d+)\) (.*)")

PRELUDE = """
import os, sys, time
import ray
ray.init(num_cpus=2, object_store_memory=100 << 20{options})
"""


def program(body: str, options: str = "") -> str:
    return PRELUDE.format(options=options) + body


def said_in_all(text: str, lines: list[str]) -> int:
    """How often a text was printed, by lines and counts."""
    counts = [re.search(r"\[repeated (\d+)x across cluster\]", line) for line in lines if text in line]
    return sum(int(count[1]) if count is not None else 1 for count in counts)


def marked(lines: list[str]) -> list[tuple[str, str]]:
    return [(match[1], match[3]) for line in lines if (match := MARKED.fullmatch(line))]


def test_tasks_and_actors_print_under_their_names_and_pids(tmp_path: Path) -> None:
    body = """
@ray.remote
def task():
    print("from a task")
    return os.getpid()

@ray.remote
class Plain:
    def speak(self):
        print("from an actor")
        return os.getpid()

@ray.remote
class Named:
    def __repr__(self):
        return "Named(7)"
    def speak(self):
        print("from a named one")

plain, named = Plain.remote(), Named.remote()
pids = ray.get([task.remote(), plain.speak.remote()])
ray.get(named.speak.remote())
print("pids", *pids, flush=True)
sys.stdin.readline()
"""
    with DriverProgram(program(body), tmp_path / "root") as driver:
        driver.read_until(lambda lines: len(lines) >= 4)
        pids = driver.line_after("pids").split()
        assert f"(task pid={pids[0]}) from a task" in driver.lines
        assert f"(Plain pid={pids[1]}) from an actor" in driver.lines
        assert ("Named(7)", "from a named one") in marked(driver.lines)
        driver.say()
        driver.end()


def test_each_line_is_marked_and_stderr_goes_to_stderr(tmp_path: Path) -> None:
    body = """
@ray.remote
def talk():
    print("one\\ntwo")
    print("thr", end="")
    sys.stdout.flush()
    print("ee")
    print("", flush=True)
    print("an error", file=sys.stderr)
    os.write(1, b"below python\\n")
    os.system("echo from a program")
ray.get(talk.remote())
sys.stdin.readline()
"""
    with DriverProgram(program(body), tmp_path / "root") as driver:
        driver.read_until(lambda lines: len(marked(lines)) >= 6)
        texts = [text for name, text in marked(driver.lines) if name == "talk"]
        assert sorted(texts) == sorted(["one", "two", "three", "", "below python", "from a program"])
        assert [text for text in texts if text in ("one", "two", "three")] == ["one", "two", "three"]
        driver.say()
        driver.end()
        assert [text for name, text in marked(driver.stderr.splitlines()) if name == "talk"] == ["an error"]


def test_repeats_of_other_processes_are_folded_into_a_count(tmp_path: Path) -> None:
    body = """
@ray.remote
class Speaker:
    def speak(self):
        print("the same from all")
    def ready(self):
        pass
speakers = [Speaker.options(num_cpus=0).remote() for _ in range(5)]
ray.get([speaker.ready.remote() for speaker in speakers])
ray.get([speaker.speak.remote() for speaker in speakers])
print("said", flush=True)
sys.stdin.readline()
"""
    with DriverProgram(program(body), tmp_path / "root") as driver:
        # The count is told by itself after some seconds, without a further line; where the five do not come to print
        # within them, in parts.
        driver.read_until(lambda lines: said_in_all("the same from all", lines) == 5)
        same = [line for line in driver.lines if "the same from all" in line]
        assert len(same) < 5, driver.lines
        assert all(MARKED.fullmatch(line) for line in same), same
        driver.say()
        driver.end()


def test_one_process_may_repeat_itself(tmp_path: Path) -> None:
    body = """
@ray.remote
def again():
    for _ in range(3):
        print("again and again")
ray.get(again.remote())
sys.stdin.readline()
"""
    with DriverProgram(program(body), tmp_path / "root") as driver:
        driver.read_until(lambda lines: len(marked(lines)) >= 3)
        assert marked(driver.lines) == [("again", "again and again")] * 3
        driver.say()
        driver.end()


def test_no_output_comes_with_log_to_driver_off_but_the_log_files_have_it(tmp_path: Path) -> None:
    body = """
@ray.remote
def talk():
    print("nobody hears this")
ray.get([talk.remote() for _ in range(3)])
print("end", ray.get_runtime_context() is not None, flush=True)
sys.stdin.readline()
"""

    with DriverProgram(program(body, ", log_to_driver=False"), tmp_path / "root") as driver:
        driver.line_after("end")

        def logged() -> bool:
            logs = driver.root.glob("session_*/logs/worker-*.out")
            return any("nobody hears this" in log.read_text() for log in logs)

        wait_for(logged, "the worker's log has the line")
        driver.say()
        assert driver.end() == ["end True"]


def test_output_of_the_last_moment_is_not_lost(tmp_path: Path) -> None:
    body = """
@ray.remote
def talk():
    print("the last word")
ray.get(talk.remote())
"""
    with DriverProgram(program(body), tmp_path / "root") as driver:
        assert ("talk", "the last word") in marked(driver.end())


def test_a_thousand_lines_come_in_order(tmp_path: Path) -> None:
    body = """
@ray.remote
def count():
    for number in range(1000):
        print("line", number)
ray.get(count.remote())
sys.stdin.readline()
"""
    with DriverProgram(program(body), tmp_path / "root") as driver:
        driver.read_until(lambda lines: len(lines) >= 1000)
        assert [text for _, text in marked(driver.lines)] == [f"line {number}" for number in range(1000)]
        driver.say()
        driver.end()


def test_output_that_is_no_text_harms_nobody(tmp_path: Path) -> None:
    body = """
@ray.remote
def talk():
    os.write(1, bytes(range(128, 256)) + b"\\n")
    os.write(1, b"x" * 200_000 + b"\\n")
    print("after it")
    return 1
print("got", ray.get(talk.remote()), flush=True)
sys.stdin.readline()
"""
    with DriverProgram(program(body), tmp_path / "root") as driver:
        driver.read_until(lambda lines: ("talk", "after it") in marked(lines))
        assert driver.line_after("got") == "1"
        driver.say()
        driver.end()


def test_the_driver_hears_of_what_no_node_can_ever_hold(tmp_path: Path) -> None:
    body = """
from ray.util.placement_group import placement_group
@ray.remote(num_cpus=100)
def task():
    pass
@ray.remote(num_cpus=200)
class Actor:
    pass
refs = [task.remote() for _ in range(20)]
actors = [Actor.remote() for _ in range(3)]
group = placement_group([{"CPU": 300}])
print("asked", flush=True)
sys.stdin.readline()
"""
    with DriverProgram(program(body), tmp_path / "root") as driver:
        driver.line_after("asked")

        def notices() -> list[str]:
            return [line for line in driver.stderr.splitlines() if line.startswith("(scheduler) Warning: ")]

        wait_for(lambda: len(notices()) >= 3, "notices of three demands", 30)
        for shape in ("{'CPU': 100.0}", "{'CPU': 200.0}", "{'CPU': 300.0} * 1 (PACK)"):
            (line,) = [line for line in notices() if shape in line]
            assert "infeasible" in line and "`ray status`" in line
        driver.say()
        driver.end()
        assert len(notices()) == 3
