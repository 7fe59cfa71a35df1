import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from manta_common.resources import ResourceSet
from manta_raylet.kernel.lease import env_vars_of, num_threads_for
from manta_raylet.processes.log_backlog import LogBacklog, LogBatch
from manta_raylet.processes.log_lines import LineSplitter
from manta_raylet.processes.worker_starter import worker_env


def test_markers_name_the_lines_that_follow_and_are_no_output() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"plain\n\x1efirst\none\ntwo\n\x1esecond\nthr") == [
        ("", "plain"),
        ("first", "one"),
        ("first", "two"),
    ]
    assert splitter.feed(b"ee\n") == [("second", "three")]
    assert splitter.feed(b"no newline\x1ethird\nx\n") == [("second", "no newline"), ("third", "x")]


def test_an_unfinished_line_comes_at_the_end() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"half") == []
    assert splitter.flush() == [("", "half")] and splitter.flush() == []


def test_a_line_over_the_limit_is_cut() -> None:
    splitter = LineSplitter(limit=4)
    assert splitter.feed(b"abcdefghij") == [("", "abcd"), ("", "efgh")]
    assert splitter.feed(b"\n\n") == [("", "ij"), ("", "")]


@given(st.lists(st.text(alphabet="ab\r é", max_size=6), max_size=8), st.data())
@settings(max_examples=60, deadline=None)
def test_lines_are_the_same_however_the_bytes_are_split(lines: list[str], data: st.DataObject) -> None:
    stream = "".join(f"{line}\n" for line in lines).encode()
    splitter, got = LineSplitter(), []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        got += splitter.feed(stream[:cut])
        stream = stream[cut:]
    assert [line for _, line in got] == [line.removesuffix("\r") for line in lines]


def batch(*lines: str) -> LogBatch:
    return LogBatch("f", 1, False, lines)


def test_a_slow_driver_loses_the_oldest_lines_and_is_told_how_many() -> None:
    backlog = LogBacklog(bytes_limit=3 * 65)
    for letter in "abcde":
        backlog.add(batch(letter))
    notice, *rest = backlog.take()
    assert notice.lines[0].startswith("2 lines were dropped") and notice.is_error
    assert [item.lines for item in rest] == [("c",), ("d",), ("e",)]
    assert backlog.take() == []


def test_threads_are_the_whole_cpus_of_the_lease_unless_the_user_says() -> None:
    def threads(cpu: float, **env_vars: str) -> int:
        return num_threads_for(ResourceSet.from_floats({"CPU": cpu}), env_vars)

    assert [threads(0), threads(0.5), threads(1), threads(2.5)] == [1, 1, 1, 2]
    assert threads(1, OMP_NUM_THREADS="6") == 6
    assert threads(2, OMP_NUM_THREADS="many") == 2


def test_the_devices_of_a_lease_are_what_its_worker_sees() -> None:
    assert worker_env({"A": "1"}, ("0", "2"), True) == {"A": "1", "CUDA_VISIBLE_DEVICES": "0,2"}
    assert worker_env({}, (), True) == {"CUDA_VISIBLE_DEVICES": ""}
    assert worker_env({}, (), False) == {}
    assert worker_env({"CUDA_VISIBLE_DEVICES": "7"}, ("0",), True) == {"CUDA_VISIBLE_DEVICES": "0"}


def test_devices_stay_as_they_are_on_the_node_if_the_user_wants_that(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES"
    assert worker_env({name: "1"}, ("0",), True) == {name: "1"}
    monkeypatch.setenv(name, "true")
    assert worker_env({}, ("0",), True) == {}
    assert worker_env({name: "0"}, ("0",), False) == {name: "0", "CUDA_VISIBLE_DEVICES": "0"}


@pytest.mark.parametrize("text", ["{", "[]", '{"env_vars": {"A": 1}}', '{"env_vars": []}x'])
def test_a_runtime_env_that_is_malformed_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="runtime_env"):
        env_vars_of(text)
    assert env_vars_of("") == {} and env_vars_of('{"pip": []}') == {}
