"""The collector is held back by whoever is inside, and afterwards is as it was."""

import gc
import threading

from ray._runtime.values.gc_pause import held_back, held_back_for


def test_it_is_off_inside_and_on_again_when_the_last_has_left() -> None:
    assert gc.isenabled()
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with held_back():
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    thread.start()
    assert entered.wait(10)
    with held_back(), held_back():
        assert not gc.isenabled()
    assert not gc.isenabled(), "the other is inside still"
    leave.set()
    thread.join()
    assert gc.isenabled()


def test_a_program_that_has_turned_it_off_finds_it_off() -> None:
    gc.disable()
    try:
        with held_back():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_an_error_inside_leaves_it_on() -> None:
    try:
        with held_back():
            raise ValueError
    except ValueError:
        assert gc.isenabled()


def test_many_results_hold_the_collector_back_and_few_do_not() -> None:
    with held_back_for(255):
        assert gc.isenabled()
    with held_back_for(256):
        assert not gc.isenabled()
    assert gc.isenabled()
