import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from manta_common.resources import GPU, UNIT, ResourceSet
from manta_raylet.resources.ledger import Ledger

TOTAL = ResourceSet.from_floats({"CPU": 4, "GPU": 3, "memory": 1000, "custom": 1})


def amounts(**floats: float) -> ResourceSet:
    return ResourceSet.from_floats(floats)


def test_fractions_of_a_gpu_share_one_device_and_whole_ones_do_not() -> None:
    ledger = Ledger(TOTAL)
    half = ledger.allocate(amounts(GPU=0.5))
    third = ledger.allocate(amounts(GPU=0.3))
    two = ledger.allocate(amounts(GPU=2))
    assert half and third and two
    assert ledger.devices_of(half) == ledger.devices_of(third) == ("0",)
    assert ledger.devices_of(two) == ("1", "2")
    assert ledger.allocate(amounts(GPU=0.3)) is None, "0.2 is left on device 0"
    assert ledger.allocate(amounts(GPU=0.2)) is not None


def test_a_gpu_request_waits_when_the_sum_is_there_but_in_parts() -> None:
    ledger = Ledger(amounts(GPU=2))
    parts = [ledger.allocate(amounts(GPU=0.6)), ledger.allocate(amounts(GPU=0.6))]
    assert all(parts)
    assert ledger.available.get(GPU) == 8_000
    assert ledger.allocate(amounts(GPU=0.5)) is None
    assert not ledger.can_allocate(amounts(GPU=0.5))


def test_more_than_one_gpu_must_be_whole_ones() -> None:
    ledger = Ledger(TOTAL)
    assert not ledger.feasible(amounts(GPU=1.5))
    assert ledger.allocate(amounts(GPU=1.5)) is None
    assert ledger.feasible(amounts(GPU=3))
    assert not ledger.feasible(amounts(GPU=4))


def test_a_waiting_holder_lends_its_cpus_and_nothing_else() -> None:
    ledger = Ledger(TOTAL)
    held = ledger.allocate(amounts(CPU=4, GPU=1, memory=1000, custom=1))
    assert held is not None
    assert ledger.lend(held.number) and not ledger.lend(held.number)
    assert ledger.available == amounts(CPU=4, GPU=2)


def test_a_holder_that_wakes_has_its_cpus_at_once_and_nothing_is_granted_until_they_are_repaid() -> None:
    ledger = Ledger(amounts(CPU=1))
    first = ledger.allocate(amounts(CPU=1))
    assert first
    ledger.lend(first.number)
    second = ledger.allocate(amounts(CPU=1))
    assert second
    assert ledger.take_back(first.number) and not ledger.take_back(first.number)
    assert ledger.available.get("CPU") == -UNIT
    assert ledger.allocate(amounts(CPU=0.1)) is None
    ledger.free(second.number)
    assert ledger.allocate(amounts(CPU=0.1)) is None
    ledger.free(first.number)
    assert ledger.allocate(amounts(CPU=1)) is not None


def test_an_allocation_freed_while_lent_gives_back_only_what_it_kept() -> None:
    ledger = Ledger(TOTAL)
    held = ledger.allocate(amounts(CPU=2, memory=10))
    assert held
    ledger.lend(held.number)
    ledger.free(held.number)
    assert ledger.available == TOTAL


def test_freeing_twice_is_a_bug_of_the_caller() -> None:
    ledger = Ledger(TOTAL)
    held = ledger.allocate(amounts(CPU=1))
    assert held
    ledger.free(held.number)
    with pytest.raises(KeyError):
        ledger.free(held.number)


def test_a_node_with_a_fraction_of_a_gpu_is_refused() -> None:
    with pytest.raises(ValueError, match="whole GPUs"):
        Ledger(amounts(GPU=1.5))
    with pytest.raises(ValueError, match="1 GPU ids were given for 2"):
        Ledger(amounts(GPU=2), ["a"])


REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "CPU": st.sampled_from([0.25, 0.5, 1, 2, 4]),
        "GPU": st.sampled_from([0.0001, 0.25, 0.5, 0.7, 1, 2, 3]),
        "memory": st.sampled_from([1, 500, 1000]),
        "custom": st.sampled_from([0.001, 0.5, 1]),
    },
)


class LedgerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(TOTAL)
        self.held: list[int] = []
        self.devices: dict[int, tuple[tuple[int, int], ...]] = {}

    @rule(request=REQUESTS)
    def allocate(self, request: dict[str, float]) -> None:
        wanted = ResourceSet.from_floats(request)
        could = self.ledger.can_allocate(wanted)
        got = self.ledger.allocate(wanted)
        assert (got is not None) == could
        if got is not None:
            self.held.append(got.number)
            self.devices[got.number] = got.gpus
            assert sum(amount for _, amount in got.gpus) == wanted.get(GPU)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def free(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(self.held))
        self.held.remove(number)
        del self.devices[number]
        self.ledger.free(number)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def lend(self, data: st.DataObject) -> None:
        self.ledger.lend(data.draw(st.sampled_from(self.held)))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def take_back(self, data: st.DataObject) -> None:
        self.ledger.take_back(data.draw(st.sampled_from(self.held)))

    @invariant()
    def held_and_available_are_the_total(self) -> None:
        assert self.ledger.held + self.ledger.available == TOTAL

    @invariant()
    def only_cpus_are_ever_owed(self) -> None:
        assert all(amount >= 0 or name == "CPU" for name, amount in self.ledger.available.items())

    @invariant()
    def no_device_is_used_beyond_one(self) -> None:
        used: dict[int, int] = {}
        for gpus in self.devices.values():
            for index, amount in gpus:
                used[index] = used.get(index, 0) + amount
        assert all(amount <= UNIT for amount in used.values())


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(st.lists(REQUESTS, max_size=20))
@settings(max_examples=50, deadline=None)
def test_everything_freed_is_the_total_again(requests: list[dict[str, float]]) -> None:
    ledger = Ledger(TOTAL)
    held = [got for request in requests if (got := ledger.allocate(ResourceSet.from_floats(request)))]
    for got in held:
        ledger.free(got.number)
    assert ledger.available == TOTAL
    assert ledger.can_allocate(amounts(GPU=3))
