"""What a worker puts right of its zygote: variables, and the state of generators of random numbers."""

import random

import numpy
import numpy.random
from ray._zygote.worker_process import RandomNumbers, Variables


def test_only_variables_that_differ_are_set() -> None:
    present = {"SAME": "1", "OTHER": "1", "GONE": "1"}
    variables = Variables.between(present, {"SAME": "1", "OTHER": "2", "NEW": "3"})
    assert variables == Variables(removed=("GONE",), changed=(("OTHER", "2"), ("NEW", "3")))


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
