"""Lineage: what is kept of finished tasks, and what runs again when objects are lost."""

from __future__ import annotations

from collections.abc import Mapping

from ray._runtime.references.lineage import Fail, Lineage, Reason, Release, Rerun, Revive

A, B, C, D = (letter * 24 for letter in (b"a", b"b", b"c", b"d"))
PUT = b"p" * 24 + b"\0\0\0\x80"


def result(task: bytes, index: int = 1) -> bytes:
    return task + index.to_bytes(4, "little")


def finish(
    lineage: Lineage,
    task: bytes,
    *arguments: bytes,
    stored: tuple[int, ...] = (1,),
    reasons: Mapping[bytes, Reason] | None = None,
    size: int = 100,
    retries: int = 3,
) -> list[object]:
    needed = {argument: (reasons or {}).get(argument, Reason.RETRIES_DISABLED) for argument in arguments}
    return list(lineage.finished(task, [result(task, index) for index in stored], needed, size, retries))


def chain(lineage: Lineage, *tasks: bytes) -> None:
    """Each takes the result of the one before; only the last result stays referenced."""
    before: tuple[bytes, ...] = ()
    for task in tasks:
        finish(lineage, task, *before)
        if before:
            assert lineage.freed(before[0]) == []
        before = (result(task),)


def lose(lineage: Lineage, task: bytes, index: int = 1) -> list[object]:
    return list(lineage.lost(result(task, index), Reason.RETRIES_DISABLED))


def test_a_lost_result_has_its_task_run_again() -> None:
    lineage = Lineage()
    assert finish(lineage, A) == []
    assert lose(lineage, A) == [Rerun(A)]
    assert lineage.missing(A) == (result(A),)
    assert finish(lineage, A, retries=2) == []
    assert lineage.missing(A) == () and lineage.reruns == 1


def test_no_task_runs_twice_at_once() -> None:
    lineage = Lineage()
    finish(lineage, A, stored=(1, 2))
    assert lose(lineage, A, 1) == [Rerun(A)]
    assert lose(lineage, A, 2) == [] == lose(lineage, A, 1)
    assert finish(lineage, A, stored=(1, 2), retries=2) == []
    assert lose(lineage, A, 2) == [Rerun(A)]


def test_arguments_are_made_first_although_their_values_were_freed() -> None:
    lineage = Lineage()
    chain(lineage, A, B, C)
    assert lose(lineage, C) == [Revive(result(B)), Revive(result(A)), Rerun(A), Rerun(B), Rerun(C)]


def test_an_argument_that_is_still_there_is_not_made() -> None:
    lineage = Lineage()
    finish(lineage, A)
    finish(lineage, B, result(A))
    assert lose(lineage, B) == [Rerun(B)]


def test_an_argument_that_is_lost_but_referenced_is_made_without_being_owned_again() -> None:
    lineage = Lineage()
    finish(lineage, A)
    finish(lineage, B, result(A))
    finish(lineage, C, result(A))
    assert lose(lineage, A) == [Rerun(A)]
    assert lose(lineage, B) == [Rerun(B)] and lose(lineage, C) == [Rerun(C)]


def test_two_that_need_the_same_lost_argument_have_it_made_once() -> None:
    lineage = Lineage()
    finish(lineage, A)
    finish(lineage, B, result(A))
    finish(lineage, C, result(A))
    lineage.freed(result(A))
    assert lose(lineage, B) == [Revive(result(A)), Rerun(A), Rerun(B)]
    assert lose(lineage, C) == [Rerun(C)]


def test_what_nobody_can_ask_for_is_released_with_all_that_led_to_it() -> None:
    lineage = Lineage()
    chain(lineage, A, B, C)
    assert lineage.bytes == 300
    assert lineage.freed(result(C)) == [Release(C), Release(B), Release(A)]
    assert not lineage.specs and lineage.bytes == 0


def test_a_chain_of_any_length_is_released_and_rebuilt_without_recursion() -> None:
    lineage = Lineage()
    tasks = [number.to_bytes(24, "big") for number in range(5_000)]
    chain(lineage, *tasks)
    commands = lose(lineage, tasks[-1])
    assert [command for command in commands if isinstance(command, Rerun)] == [Rerun(task) for task in tasks]
    for task, before in zip(tasks, [None, *tasks], strict=False):
        finish(lineage, task, *([result(before)] if before else []), retries=2)
    released = lineage.freed(result(tasks[-1]))
    assert len(released) < 5_000 and lineage.specs  # the revived arguments are referenced until the shell says else
    for task in tasks[:-1]:
        lineage.freed(result(task))
    assert not lineage.specs and lineage.bytes == 0


def test_a_lost_put_fails_and_so_does_what_is_made_from_it() -> None:
    lineage = Lineage()
    finish(lineage, A, PUT, reasons={PUT: Reason.PUT})
    assert list(lineage.lost(PUT, Reason.PUT)) == [Fail(PUT, Reason.PUT, PUT)]
    assert lose(lineage, A) == [Fail(result(A), Reason.PUT, PUT), Release(A)]
    assert not lineage.specs


def test_a_borrowed_argument_that_we_let_go_cannot_be_made_here() -> None:
    lineage = Lineage()
    finish(lineage, A, result(D), reasons={result(D): Reason.BORROWED})
    finish(lineage, B, result(A))
    lineage.freed(result(A))
    lineage.freed(result(D))
    assert lose(lineage, B) == [Fail(result(B), Reason.BORROWED, result(D)), Release(B), Release(A)]


def test_nothing_runs_of_a_plan_that_cannot_succeed() -> None:
    lineage = Lineage()
    finish(lineage, A)
    finish(lineage, B, PUT, reasons={PUT: Reason.PUT})
    finish(lineage, C, result(A), result(B))
    for gone in (result(A), result(B), PUT):
        lineage.freed(gone)
    assert lose(lineage, C)[0] == Fail(result(C), Reason.PUT, PUT)
    assert lineage.reruns == 0 and not lineage.specs


def test_without_retries_left_the_reason_is_kept_and_the_specification_is_not() -> None:
    lineage = Lineage()
    finish(lineage, A)
    lose(lineage, A)
    assert finish(lineage, A, retries=0) == [Release(A)]
    assert lineage.bytes == 0
    assert lose(lineage, A) == [Fail(result(A), Reason.MAX_ATTEMPTS_EXCEEDED, result(A))]
    assert not lineage.specs


def test_a_task_without_retries_is_unknown_and_its_loss_says_so() -> None:
    lineage = Lineage()
    assert lose(lineage, A) == [Fail(result(A), Reason.RETRIES_DISABLED, result(A))]


def test_the_oldest_specifications_go_when_there_are_too_many_bytes() -> None:
    lineage = Lineage(limit=250)
    finish(lineage, A)
    finish(lineage, B)
    assert finish(lineage, C, result(A)) == [Release(A)]
    assert lineage.bytes == 200
    assert lose(lineage, C) == [Rerun(C)]
    lineage.freed(result(A))
    assert finish(lineage, C, result(A), retries=2) == []
    assert lose(lineage, C) == [Fail(result(C), Reason.LINEAGE_EVICTED, result(A)), Release(C)]
    assert set(lineage.specs) == {B}


def test_what_runs_is_not_evicted() -> None:
    lineage = Lineage(limit=150)
    finish(lineage, A)
    lose(lineage, A)
    assert finish(lineage, B) == [Release(B)]  # the only one at rest
    assert lose(lineage, B) == [Fail(result(B), Reason.LINEAGE_EVICTED, result(B))]
    assert finish(lineage, A, retries=2) == []


def test_a_run_that_makes_an_error_or_a_small_value_leaves_nothing_to_lose() -> None:
    lineage = Lineage()
    finish(lineage, A)
    lose(lineage, A)
    lineage.made(result(A))
    assert finish(lineage, A, stored=()) == [Release(A)]
    assert not lineage.specs


def test_an_item_that_is_lost_while_its_generator_runs_is_made_once_it_ended() -> None:
    lineage = Lineage()
    lineage.item_stored(A, result(A, 2))
    lineage.item_stored(A, result(A, 3))
    assert lose(lineage, A, 2) == []
    assert finish(lineage, A, stored=()) == [Rerun(A)]
    lineage.item_stored(A, result(A, 2))
    assert finish(lineage, A, stored=(), retries=2) == []
    assert lineage.missing(A) == ()


def test_an_argument_that_was_named_before_it_was_made_is_found_later() -> None:
    lineage = Lineage()
    finish(lineage, B, result(A))  # it took the ref inside a list, and ended before A did
    finish(lineage, A)
    lineage.freed(result(A))
    assert lose(lineage, B) == [Revive(result(A)), Rerun(A), Rerun(B)]
    finish(lineage, A, retries=2)
    finish(lineage, B, result(A), retries=2)
    lineage.freed(result(A))
    assert lineage.freed(result(B)) == [Release(B), Release(A)]
    assert not lineage.specs


def test_a_result_freed_while_its_task_runs_again_keeps_nothing() -> None:
    lineage = Lineage()
    finish(lineage, A)
    lose(lineage, A)
    assert lineage.freed(result(A)) == [Release(A)]
    assert finish(lineage, A, stored=(), retries=2) == [Release(A)]
    assert not lineage.specs and lineage.bytes == 0


def test_an_argument_that_became_an_error_when_it_was_made_again_is_there_as_that() -> None:
    lineage = Lineage()
    finish(lineage, A, stored=(1, 2))
    finish(lineage, B, result(A))
    assert lose(lineage, A) == [Rerun(A)]
    lineage.made(result(A))  # its second run raised
    assert finish(lineage, A, stored=(), retries=2) == []
    assert lose(lineage, B) == [Rerun(B)]  # which ends with that error
    lineage.freed(result(A))
    finish(lineage, B, result(A), retries=2, reasons={})
    assert lose(lineage, B)[-1] == Rerun(B)
