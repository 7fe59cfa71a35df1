import threading

import pytest
from manta_common.threads import Threads

LIMIT_S = 10.0


def none_left(*_: object, **__: object) -> None:
    raise RuntimeError("can't start new thread")


def test_without_any_thread_the_work_is_refused_and_never_done(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Threads(2)
    done: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none_left)
        with pytest.raises(RuntimeError, match="new thread"):
            pool.submit(done.append, "refused")
    pool.submit(done.append, "taken").result(LIMIT_S)
    pool.shutdown()
    assert done == ["taken"]


def test_the_threads_that_there_are_take_what_another_was_wanted_for(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Threads(2)
    go = threading.Event()
    first = pool.submit(go.wait, LIMIT_S)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none_left)
        second = pool.submit(lambda: "done")
    go.set()
    assert first.result(LIMIT_S) and second.result(LIMIT_S) == "done"
    pool.shutdown()
