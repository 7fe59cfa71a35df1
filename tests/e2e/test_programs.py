"""The programs of the spec's Task, Object and Object-passing chapters and its basic Actor programs."""

import ast
import re
from pathlib import Path

import pytest

from tests.e2e.user_program import PROGRAMS, run

# Programs whose driver prints these lines, and nothing else, in this order.
DRIVER_LINES = {
    "task_square": ["The final result is: [0, 1, 4, 9]"],
    "task_resources": ["1 1"],
    "task_passing_refs": ["passed [1, 2]"],
    "task_dependencies": ["Matrix multiplication completed. Result shape: (1000, 1000)", "product: True"],
    "task_waiting": ["1 1 True", "1 True"],
    "task_async_wrapper": ["None"],
    "actor_counter": ["0", "2"],
    "actor_resources": ["[1, 1, 1, 1] True"],
    "actor_ten_counters": ["1", "[1, 1, 1, 1, 1, 1, 1, 1, 1, 1]", "[2, 3, 4, 5, 6]"],
    "actor_order": ["1", "3"],
    "actor_order_of_submitters": ["3", "2"],
    "actor_order_async": ["3", "2"],
    "actor_groups": ["[None, None, None]", "None"],
    "generator_streaming": [
        "499999500000",
        "[250000, 250000, 250000, 250000]",
        *["to", "be", "or", "not", "error: ValueError: out of text"],
        "2 [[0]]",
        "[[0, 1], [2, 3]]",
        "[1, 2, 3] [2, 3]",
    ],
    "object_passing_matrix": ["Sum of small matrix: 10000.0", "Sum of large matrix: 1000000.0"],
    "object_as_futures": ["1", "1", "1", "1", "1"],
    "object_put": ["1 True"],
    "object_fetch": ["`get` timed out."],
    "fault_reconstruction": ["1200000 [0, 2, 4]", "RETRIES_DISABLED"],
    "state_own_tasks": [
        "Counter.__init__ ACTOR_CREATION_TASK FINISHED 0 None",
        *["Counter.increment ACTOR_TASK FINISHED 0 None"] * 3,
        "fails NORMAL_TASK FAILED 0 TASK_EXECUTION_EXCEPTION",
        *["square NORMAL_TASK FINISHED 0 None"] * 4,
        "Counter ALIVE counter False 0 None",
        "{'FINISHED': 4}",
        "{'ALIVE': 1}",
        "['ALIVE']",
    ],
    "placement_group_create": [
        "1 0",
        "CREATED {0: {'CPU': 1.0, 'GPU': 1.0}} PACK "
        "['bundles', 'bundles_to_node_id', 'name', 'placement_group_id', 'state', 'stats', 'strategy']",
        "Cannot create a placement group because {'GPU': 2} bundle cannot be created.",
        "GetTimeoutError",
        "PENDING 1.0",
        "None",
        "1",
        "'REMOVED'",
        "its placement group was removed",
        "its placement group was removed",
    ],
    "placement_group_pack": ["1 2 [{'CPU': 1.0}, {'GPU': 1.0}]"],
    "placement_group_children": [
        "child and parent ran in the group",
        "Couldn't create a child task!",
        "GetTimeoutError",
    ],
    "placement_group_names": [
        "made",
        "found [{'CPU': 1.0}] CREATED",
        "[('detached_name', 'CREATED'), ('global_name', 'REMOVED')]",
    ],
}

# Programs whose workers print these lines, (name, text as a regular expression), in any order; the driver prints none.
WORKER_LINES = {
    "object_top_level": [("echo", "1 2 3"), ("echo", "1 2 3")],
    "object_nested": [
        ("echo_and_get", r"args: \[ObjectRef\([0-9a-f]+\), ObjectRef\([0-9a-f]+\), ObjectRef\([0-9a-f]+\)\]"),
        ("echo_and_get", r"values: \[1, 2, 3\]"),
    ],
    "object_actor_arguments": [
        ("Actor", "init: 2"),
        ("Actor", r"init: \[ObjectRef\([0-9a-f]+\)\]"),
        ("Actor", "method: 2"),
        ("Actor", r"method: \[ObjectRef\([0-9a-f]+\)\]"),
    ],
    "actor_async": [("AsyncActor", "started")] * 5 + [("AsyncActor", "finished")] * 5,
    "actor_threaded": [
        ("ThreadedActor", "I'm running in a thread!"),
        ("ThreadedActor", "I'm running in another thread!"),
    ],
    "object_closure": [("print_via_capture", r"\[1, 2, 3\]")],
}
# Programs whose one actor prints these lines in this order.
ACTOR_LINES = {
    "actor_async_at_once": ["started"] * 5 + ["ended"] * 5,
    "actor_async_two_at_once": (["started"] * 2 + ["ended"] * 2) * 4,
}
OF_THEIR_OWN = {"actor_messages", "actor_passing_handles", "task_async_refused"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir(mode=0o700)
    return folder


def test_every_program_here_is_run() -> None:
    assert {path.stem for path in PROGRAMS.glob("*.py")} == {*DRIVER_LINES, *WORKER_LINES, *ACTOR_LINES, *OF_THEIR_OWN}


@pytest.mark.parametrize("name", DRIVER_LINES)
def test_a_program_prints_what_the_spec_says(name: str, root: Path) -> None:
    output = run(name, root)
    assert output.own == DRIVER_LINES[name]
    assert output.workers == []


@pytest.mark.parametrize("name", WORKER_LINES)
def test_what_workers_print_reaches_the_terminal_under_their_name(name: str, root: Path) -> None:
    expected = WORKER_LINES[name]
    # By the number of lines, marked or not, so that a wrong mark shows as a wrong line and not as a hang.
    output = run(name, root, until=lambda output: len(output.workers) + len(output.own) >= len(expected))
    assert output.own == []
    unmatched = list(expected)
    for who, text in output.workers:
        match = next((item for item in unmatched if item[0] == who and re.fullmatch(item[1], text)), None)
        assert match is not None, f"unexpected line {text!r} of {who}; missing are {unmatched}"
        unmatched.remove(match)
    assert unmatched == []


@pytest.mark.parametrize("name", ACTOR_LINES)
def test_the_calls_of_an_async_actor_start_and_end_as_its_limit_says(name: str, root: Path) -> None:
    expected = ACTOR_LINES[name]
    output = run(name, root, until=lambda output: len(output.workers) + len(output.own) >= len(expected))
    assert output.own == []
    assert len(set(output.pids)) == 1
    lines = [text for _, text in output.workers]
    if name == "actor_async_at_once":
        assert lines == expected
    else:
        # A call starts in the place of the one that has just ended.
        running = [lines[: n + 1].count("started") - lines[: n + 1].count("ended") for n in range(len(lines))]
        assert max(running) == 2
        assert sorted(lines) == sorted(expected)
        assert lines[:3] == expected[:3]


def test_an_actor_s_constructor_and_methods_print_from_one_process(root: Path) -> None:
    output = run("object_actor_arguments", root, until=lambda output: len(output.workers) + len(output.own) >= 4)
    of = dict(zip((re.sub(r"\([0-9a-f]+\)", "", text) for _, text in output.workers), output.pids, strict=True))
    assert of["init: [ObjectRef]"] == of["method: 2"] == of["method: [ObjectRef]"] != of["init: 2"]


def test_every_message_arrives_once_and_in_its_sender_s_order(root: Path) -> None:
    output = run("actor_messages", root)
    batches = [ast.literal_eval(line.removeprefix("New messages: ")) for line in output.own]
    received = [message for batch in batches for message in batch]
    assert len(batches) > 2  # they came while the workers ran
    for worker in range(3):
        own = [message for message in received if message.endswith(f"worker {worker}.")]
        assert own == [f"Message {number} from worker {worker}." for number in range(10)]
    assert len(received) == 30


def test_a_counter_is_counted_up_by_tasks_that_hold_its_handle(root: Path) -> None:
    output = run("actor_passing_handles", root)
    counts = [int(line) for line in output.own[:-1]]
    assert len(counts) == 10
    assert counts == sorted(counts)
    assert counts[0] >= 0 and counts[-1] <= 30
    assert output.own[-1] == "total 30"


def test_an_async_remote_function_is_refused(root: Path) -> None:
    (line,) = run("task_async_refused", root).own
    assert line.startswith("ValueError: 'async def' should not be used for remote tasks")
