"""What a worker puts right of its zygote: variables, and the state of numpy's generator."""

import numpy
from ray._zygote.worker_process import NumpySeed, Variables


def test_only_variables_that_differ_are_set() -> None:
    present = {"SAME": "1", "OTHER": "1", "GONE": "1"}
    variables = Variables.between(present, {"SAME": "1", "OTHER": "2", "NEW": "3"})
    assert variables == Variables(removed=("GONE",), changed=(("OTHER", "2"), ("NEW", "3")))


def test_a_draw_gives_numpy_a_state_of_its_own_with_no_number_left_of_the_old_one() -> None:
    before = numpy.random.get_state()
    try:
        seed = NumpySeed()
        numpy.random.random(3)
        seed.draw()
        first = numpy.random.get_state()
        assert isinstance(first, tuple) and first[2] == 624
        numbers = numpy.random.random(700).tolist()
        seed.draw()
        assert numpy.random.random(700).tolist() != numbers
        numpy.random.set_state(first)
        assert numpy.random.random(700).tolist() == numbers
    finally:
        numpy.random.set_state(before)
