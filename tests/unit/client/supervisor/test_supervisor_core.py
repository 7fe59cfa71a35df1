import pytest
from ray._supervisor.core import (
    Announce,
    Backoff,
    Finish,
    Kill,
    Phase,
    ReportFailure,
    Start,
    Supervision,
    Terminate,
)

SERVICES = ("gcs", "object-manager", "raylet")


def acts(commands: list) -> list:
    return [command for command in commands if type(command).__name__ != "Note"]


def running() -> Supervision:
    core = Supervision(SERVICES, start_timeout_s=60, grace_s=2)
    core.begin(0.0)
    for name in SERVICES:
        core.ready(name, 1.0)
    assert core.phase is Phase.RUNNING
    return core


def test_all_services_start_at_once_and_are_announced_when_the_last_is_ready() -> None:
    core = Supervision(SERVICES, start_timeout_s=60, grace_s=2)
    assert acts(core.begin(0.0)) == [Start("gcs"), Start("object-manager"), Start("raylet")]
    assert acts(core.ready("raylet", 0.1)) == []
    assert acts(core.ready("gcs", 0.2)) == []
    assert acts(core.ready("object-manager", 0.3)) == [Announce()]
    assert core.next_deadline() is None


def test_a_service_that_ends_before_it_is_ready_fails_the_start() -> None:
    core = Supervision(SERVICES, start_timeout_s=60, grace_s=2)
    core.begin(0.0)
    commands = acts(core.exited("gcs", 2, 0.5))
    assert isinstance(commands[0], ReportFailure)
    assert "exited with code 2" in commands[0].reason
    assert commands[1:] == [Terminate("raylet")]
    assert acts(core.exited("raylet", 0, 0.6)) == [Terminate("object-manager")]
    assert acts(core.exited("object-manager", 0, 0.7)) == [Finish(1)]


def test_a_start_that_takes_too_long_names_the_service_and_the_setting() -> None:
    core = Supervision(SERVICES, start_timeout_s=60, grace_s=2)
    core.begin(0.0)
    core.ready("gcs", 1.0)
    core.ready("raylet", 1.0)
    assert core.next_deadline() == 60
    assert core.tick(59.9) == []
    failure = acts(core.tick(60.0))[0]
    assert failure.service == "object-manager"
    assert "start_timeout_s" in failure.reason


def test_the_first_restart_is_immediate_and_later_ones_back_off() -> None:
    core = running()
    at, pauses = 1.0, []
    for _ in range(8):
        commands = acts(core.exited("gcs", -9, at))
        due = at if commands else core.next_deadline()
        assert due is not None
        if not commands:
            assert core.tick(due - 0.001) == []
            commands = acts(core.tick(due))
        assert commands == [Start("gcs")]
        pauses.append(round(due - at, 3))
        at = due
    assert pauses == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0]


def test_a_long_run_is_forgiven_its_former_failures() -> None:
    core = running()
    core.exited("gcs", -9, 1.0)
    core.exited("gcs", -9, 1.1)
    core.tick(core.next_deadline() or 0.0)
    assert acts(core.exited("gcs", -9, 100.0)) == [Start("gcs")]


def test_a_service_that_fails_for_days_still_gets_the_longest_pause() -> None:
    assert Backoff().pause_s(10**6) == 5.0


def test_a_raylet_that_dies_ends_the_node_with_a_failure() -> None:
    core = running()
    commands = acts(core.exited("raylet", -9, 5.0))
    assert isinstance(commands[0], ReportFailure)
    assert set(commands[1:]) == {Terminate("gcs"), Terminate("object-manager")}
    core.exited("gcs", 0, 5.1)
    assert acts(core.exited("object-manager", 0, 5.2)) == [Finish(1)]


def test_a_stop_ends_the_raylet_first_and_the_others_after_it() -> None:
    core = running()
    assert acts(core.stop("signal", 5.0)) == [Terminate("raylet")]
    assert core.stop("signal", 5.1) == []
    assert set(acts(core.exited("raylet", 0, 5.5))) == {Terminate("gcs"), Terminate("object-manager")}
    core.exited("gcs", 0, 5.6)
    assert acts(core.exited("object-manager", 0, 5.7)) == [Finish(0)]


def test_what_does_not_end_within_the_grace_is_killed() -> None:
    core = running()
    core.stop("signal", 5.0)
    assert core.next_deadline() == 7.0
    assert acts(core.tick(7.0)) == [Kill("raylet")]
    core.exited("raylet", -9, 7.1)
    assert core.next_deadline() == pytest.approx(8.1)
    assert set(acts(core.tick(8.2))) == {Kill("gcs"), Kill("object-manager")}


def test_nothing_is_started_again_while_stopping() -> None:
    core = running()
    core.exited("gcs", -9, 2.0)
    core.exited("gcs", -9, 2.1)  # waits for its restart now
    core.stop("signal", 2.15)
    assert core.tick(3.0) == []
    core.exited("raylet", 0, 3.1)
    assert acts(core.exited("object-manager", 0, 3.2)) == [Finish(0)]


def test_a_stop_during_the_start_ends_without_failure() -> None:
    core = Supervision(SERVICES, start_timeout_s=60, grace_s=2)
    core.begin(0.0)
    core.stop("the driver has ended", 0.1)
    core.exited("raylet", -15, 0.2)
    core.exited("gcs", -15, 0.2)
    assert acts(core.exited("object-manager", -15, 0.3)) == [Finish(0)]


def test_a_service_whose_program_is_missing_fails_the_start() -> None:
    core = Supervision(SERVICES, start_timeout_s=60, grace_s=2)
    core.begin(0.0)
    core.failed_to_start("raylet", "manta-raylet is not in /bin", 0.1)
    core.exited("gcs", -15, 0.2)
    assert acts(core.exited("object-manager", -15, 0.3)) == [Finish(1)]
    assert core.phase is Phase.ENDED


def test_all_services_missing_still_finish() -> None:
    core = Supervision(SERVICES, start_timeout_s=60, grace_s=2)
    core.begin(0.0)
    commands = [command for name in SERVICES for command in acts(core.failed_to_start(name, "missing", 0.1))]
    assert [command for command in commands if isinstance(command, ReportFailure)] == [ReportFailure("gcs", "missing")]
    assert commands[-1] == Finish(1)


def test_a_node_without_a_raylet_is_refused() -> None:
    with pytest.raises(ValueError, match="raylet"):
        Supervision(("gcs",), start_timeout_s=1, grace_s=1)
