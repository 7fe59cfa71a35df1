"""What a worker puts right of its zygote: variables, and the state of generators of random numbers."""

import os
import random

import numpy
import numpy.random
import pytest
from manta_proto.zygote.v1 import zygote_pb2
from ray._zygote.worker_process import RandomNumbers, environment, set_variables


def test_variables_become_those_that_are_wanted_and_only_what_differs_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[str] = []

    class Environment(dict[str, str]):
        def __setitem__(self, name: str, value: str) -> None:
            written.append(name)
            super().__setitem__(name, value)

    present = Environment({"SAME": "1", "OTHER": "1", "GONE": "1"})
    monkeypatch.setattr(os, "environ", present)
    wanted = {"SAME": "1", "OTHER": "2", "NEW": "3"}
    set_variables(wanted)
    assert present == wanted
    assert written == ["OTHER", "NEW"]


def test_the_variables_of_a_worker_may_name_those_that_they_extend() -> None:
    own = {
        "PATH": "/mine:${PATH}",
        "A": "$HOME/a",
        "B": "${A}/b and ${NOT_SET} and $",
        "OTHER": "$HOMELESS",
        "LITERAL": "no reference",
    }
    env = environment(zygote_pb2.Fork(env=own), {"PATH": "/bin", "HOME": "/home/u"})
    assert env["PATH"] == "/mine:/bin"
    assert (env["A"], env["B"]) == ("/home/u/a", "/home/u/a/b and ${NOT_SET} and $")
    assert (env["OTHER"], env["LITERAL"]) == ("$HOMELESS", "no reference")


def test_a_draw_gives_both_generators_a_state_of_their_own_with_no_number_left_of_the_old_one() -> None:
    numpy_before, before = numpy.random.get_state(), random.getstate()
    try:
        numbers = RandomNumbers()
        random.gauss(0, 1)
        numpy.random.random(3)
        numbers.draw()
        first, own = numpy.random.get_state(), random.getstate()
        assert isinstance(first, tuple) and first[2] == 624
        drawn = numpy.random.random(700).tolist(), [random.random() for _ in range(700)]
        numbers.draw()
        assert numpy.random.random(700).tolist() != drawn[0]
        assert [random.random() for _ in range(700)] != drawn[1]
        numpy.random.set_state(first)
        random.setstate(own)
        assert (numpy.random.random(700).tolist(), [random.random() for _ in range(700)]) == drawn
    finally:
        numpy.random.set_state(numpy_before)
        random.setstate(before)
