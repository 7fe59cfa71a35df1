"""What is queued under a process's lock is done, whatever single callbacks do."""

from __future__ import annotations

import sys

import pytest
from ray._runtime.process import Process


def test_a_callback_that_exits_leaves_the_others_to_the_next_that_comes() -> None:
    process = Process(is_driver=True)
    process.reactor.open()
    woken: list[bytes] = []
    process.woken += [(lambda _object_id: sys.exit(3), b"1"), (woken.append, b"2"), (woken.append, b"3")]
    with pytest.raises(SystemExit):
        process.after_lock()
    assert not woken
    process.reactor.poll(0.0)
    assert woken == [b"2", b"3"]
    process.reactor.close()
