"""Placement groups in the core of the GCS: their lives, their owners, lost nodes and new leaders."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from manta_common.ids import JobId
from manta_common.metrics import Metrics
from manta_gcs.actors.actor_state import ActorState
from manta_gcs.kernel.events import ClientAsked
from manta_gcs.placement_groups.group_state import LEGAL, GroupState
from manta_gcs.requests.client_request import ClientRequests
from manta_gcs.server.gcs_metrics import GcsMetrics
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import actor_pb2, gcs_pb2
from manta_proto.gcs.v1 import placement_group_pb2 as pb

from tests.unit.gcs.core_driver import CLIENT, CoreDriver, address, attach, resources

Outcome, Action = pb.BundleOutcome, pb.BundleOrder
ROOT = Path(__file__).resolve().parents[4]


class Groups:
    """A driver of the core whose nodes do what they are told, when the test says so."""

    def __init__(self, nodes: int = 2, cpus: float = 2, driver: CoreDriver | None = None) -> None:
        self.gcs = driver or CoreDriver()
        self.cpus = cpus
        self.held: dict[int, dict[tuple[bytes, int], pb.HeldBundle]] = {}
        if driver is None:
            self.gcs.attach(9, message=attach(9, cpus=0))  # the driver's
            self.job = self.gcs.job(driver_node=9)
            for number in range(1, nodes + 1):
                self.attach(number)

    def attach(self, number: int) -> None:
        bundles = self.held.setdefault(number, {})
        message = attach(number, cpus=self.cpus, bundles=list(bundles.values()))
        message.available.CopyFrom(resources({"CPU": self._free(number)}))
        self.gcs.attach(number, message=message)

    def _free(self, number: int) -> float:
        return self.cpus - sum(b.resources.amounts["CPU"] / 10_000 for b in self.held[number].values())

    def create(self, *cpus: float, group: int = 1, job: JobId | None = None, **more: object) -> bytes:
        group_id = bytes([group]) * 18
        spec = pb.PlacementGroupSpec(
            placement_group_id=group_id,
            creator_job_id=self.job if job is None else job,
            creator=more.pop("creator", address(9, 1)),  # type: ignore[arg-type]
            bundles=[pb.BundleSpec(resources=resources({"CPU": amount})) for amount in cpus],
            **more,  # type: ignore[arg-type]
        )
        reply = self.gcs.ask(create_placement_group=pb.CreatePlacementGroup(spec=spec))
        assert not reply.HasField("error"), reply.error.message
        return group_id

    def obey(self, number: int) -> list[int]:
        """One node does all that it was told, in one answer. returns: the actions."""
        report = pb.BundleReport()
        held = self.held[number]
        actions = []
        for orders in self.gcs.take_told(number, "bundle_orders"):
            for order in orders.orders:  # type: ignore[attr-defined]
                actions.append(order.action)
                key = (order.placement_group_id, order.index)
                outcome = {
                    Action.PREPARE: Outcome.PREPARED,
                    Action.COMMIT: Outcome.COMMITTED,
                    Action.RETURN: Outcome.RETURNED,
                }[order.action]
                if order.action == Action.PREPARE:
                    held[key] = pb.HeldBundle(
                        placement_group_id=key[0], index=key[1], attempt=order.attempt, resources=order.resources
                    )
                elif order.action == Action.COMMIT:
                    held[key].committed = True
                elif key in held and held[key].attempt <= order.attempt:
                    del held[key]
                report.outcomes.add(placement_group_id=key[0], index=key[1], attempt=order.attempt, outcome=outcome)
        if actions:
            report.available.CopyFrom(resources({"CPU": self._free(number)}))
            self.gcs.say(number, bundle_report=report)
        return actions

    def obey_all(self) -> None:
        while ordered := self.ordered():
            self.obey(ordered[0])

    def ordered(self) -> list[int]:
        """The nodes that were told to do something and have not done it."""
        return [number for number in self.held if self.told(number, "bundle_orders")]

    def told(self, number: int, kind: str) -> bool:
        return any(message.HasField(kind) for message in self.gcs.told[number])  # type: ignore[arg-type]

    def kill(self, number: int) -> None:
        self.gcs.detach(number)
        del self.held[number]
        for other in (*self.held, 9):
            self.gcs.heartbeat(other)
        self.gcs.time += 4
        for other in (*self.held, 9):
            self.gcs.heartbeat(other)
        self.gcs.pass_time(2)

    def state(self, group_id: bytes) -> str:
        return pb.PlacementGroupState.Name(self.status(group_id).state).removeprefix("PG_")

    def status(self, group_id: bytes) -> pb.PlacementGroupStatus:
        found = self.gcs.ask(find_placement_group=pb.FindPlacementGroup(placement_group_id=group_id))
        return found.placement_group_found.status

    def nodes_of(self, group_id: bytes) -> list[int]:
        return [bundle.node_id[0] if bundle.node_id else 0 for bundle in self.status(group_id).bundles]

    def bundles(self) -> int:
        return sum(len(held) for held in self.held.values())

    def remove(self, group_id: bytes) -> None:
        self.gcs.ask(remove_placement_group=pb.RemovePlacementGroup(placement_group_id=group_id))


SPREAD = pb.PlacementGroupSpec.STRICT_SPREAD


def send(groups: Groups, request: gcs_pb2.ClientRequest) -> None:
    """Ask, and leave the answer, which may come later."""
    groups.gcs.take(ClientRequests(groups.gcs.core).handle(ClientAsked(groups.gcs.now, CLIENT, request)))
    groups.gcs.settle()


def test_the_phases_of_a_group() -> None:
    groups = Groups()
    group = groups.create(1, 1, strategy=SPREAD)
    assert groups.state(group) == "PENDING"
    assert groups.obey(1) == [Action.PREPARE] and groups.state(group) == "PENDING"
    assert groups.obey(2) == [Action.PREPARE] and groups.state(group) == "PREPARED"
    assert groups.obey(1) == [Action.COMMIT] and groups.state(group) == "PREPARED"
    assert groups.obey(2) == [Action.COMMIT] and groups.state(group) == "CREATED"
    assert sorted(groups.nodes_of(group)) == [1, 2]
    groups.remove(group)
    groups.obey_all()
    assert groups.state(group) == "REMOVED" and groups.bundles() == 0


def test_a_repeated_request_makes_no_second_group() -> None:
    groups = Groups()
    group = groups.create(1)
    groups.create(1)
    groups.obey_all()
    assert groups.bundles() == 1
    groups.remove(group)
    groups.create(1)  # late: it stays removed
    assert groups.state(group) == "REMOVED"


def test_who_waits_is_told_when_it_is_created_or_removed() -> None:
    groups = Groups()
    first, second = groups.create(1), groups.create(100, group=2)
    for number, group in ((71, first), (72, second)):
        request = gcs_pb2.ClientRequest(
            request_id=number, await_placement_group=pb.AwaitPlacementGroup(placement_group_id=group)
        )
        groups.gcs.answered.clear()
        send(groups, request)
        assert not groups.gcs.answered
    groups.obey_all()
    assert [reply.request_id for reply in groups.gcs.answered] == [71]
    groups.gcs.answered.clear()
    request = gcs_pb2.ClientRequest(
        request_id=73, remove_placement_group=pb.RemovePlacementGroup(placement_group_id=second)
    )
    send(groups, request)
    assert sorted(reply.request_id for reply in groups.gcs.answered) == [72, 73]


def test_a_refused_bundle_ends_the_attempt_and_nothing_stays_reserved() -> None:
    groups = Groups()
    group = groups.create(1, 1, strategy=SPREAD)
    groups.obey(1)
    (orders,) = groups.gcs.take_told(2, "bundle_orders")
    order = orders.orders[0]  # type: ignore[attr-defined]
    report = pb.BundleReport(available=resources({"CPU": 0.5}))
    report.outcomes.add(
        placement_group_id=group, index=order.index, attempt=order.attempt, outcome=Outcome.REFUSED, reason="busy"
    )
    groups.gcs.say(2, bundle_report=report)
    assert groups.obey(1) == [Action.RETURN] and groups.bundles() == 0
    status = groups.status(group)
    assert groups.state(group) == "PENDING" and status.pending_reason.startswith("waiting")
    assert status.scheduling_state == pb.PlacementGroupStatus.NO_RESOURCES


@pytest.mark.parametrize("phase", ["preparing", "prepared"])
def test_a_node_that_dies_before_creation_sends_the_group_back_to_pending(phase: str) -> None:
    groups = Groups(nodes=3)
    group = groups.create(1, 1, strategy=SPREAD)
    victim, other = groups.ordered()
    groups.obey(other)
    if phase == "prepared":
        groups.obey(victim)
        assert groups.state(group) == "PREPARED"
    groups.kill(victim)
    assert groups.state(group) == "PENDING"
    groups.obey_all()
    assert groups.state(group) == "CREATED" and groups.bundles() == 2
    assert victim not in groups.nodes_of(group)


def test_only_lost_bundles_move_and_they_come_first() -> None:
    groups = Groups(nodes=2, cpus=1)
    group = groups.create(1, 1, strategy=SPREAD)
    groups.obey_all()
    before = groups.nodes_of(group)
    later = groups.create(1, group=2)
    groups.kill(before[0])
    assert groups.state(group) == "RESCHEDULING" and groups.nodes_of(group) == [0, before[1]]
    groups.attach(5)
    groups.obey_all()
    assert groups.state(group) == "CREATED" and groups.nodes_of(group) == [5, before[1]]
    assert groups.state(later) == "PENDING"


def test_several_deaths_during_a_rescheduling() -> None:
    groups = Groups(nodes=4, cpus=1)
    group = groups.create(1, 1, strategy=SPREAD)
    groups.obey_all()
    groups.kill(groups.nodes_of(group)[0])
    (target,) = groups.ordered()
    groups.obey(target)
    assert groups.state(group) == "PREPARED"
    groups.kill(target)  # between prepare and commit
    assert groups.state(group) == "RESCHEDULING"
    (target,) = groups.ordered()
    groups.kill(target)  # before it could prepare
    groups.kill(groups.nodes_of(group)[1])
    assert groups.nodes_of(group) == [0, 0]
    groups.attach(7)
    groups.attach(8)
    groups.obey_all()
    assert groups.state(group) == "CREATED" and groups.bundles() == 2


def test_names_are_unique_and_found_from_other_namespaces() -> None:
    groups = Groups()
    group = groups.create(1, name="mine", ray_namespace="a")
    clash = pb.PlacementGroupSpec(
        placement_group_id=b"x" * 18, name="mine", ray_namespace="a", creator_job_id=groups.job
    )
    clash.bundles.add(resources=resources({"CPU": 1}))
    refused = groups.gcs.ask(create_placement_group=pb.CreatePlacementGroup(spec=clash))
    assert refused.error.code == gcs_pb2.Error.ALREADY_EXISTS
    for namespace in ("a", "b"):
        found = groups.gcs.ask(find_placement_group=pb.FindPlacementGroup(name="mine", ray_namespace=namespace))
        assert found.placement_group_found.spec.placement_group_id == group
    groups.remove(group)
    gone = groups.gcs.ask(find_placement_group=pb.FindPlacementGroup(name="mine", ray_namespace="a"))
    assert gone.error.code == gcs_pb2.Error.NOT_FOUND


def test_a_group_ends_with_its_job_unless_it_is_detached() -> None:
    groups = Groups()
    mine, detached = groups.create(1), groups.create(1, group=2, detached=True)
    groups.obey_all()
    groups.gcs.ask(finish_job=gcs_pb2.FinishJob(job_id=groups.job))
    groups.obey_all()
    assert (groups.state(mine), groups.state(detached)) == ("REMOVED", "CREATED")


def test_a_group_of_a_detached_actor_ends_with_the_actor() -> None:
    groups = Groups()
    spec = groups.gcs.spec(groups.job, cpus=1, detached=True)
    spec.owner.CopyFrom(address(9, 1))
    groups.gcs.register(spec)
    (node,) = [number for number in groups.held if groups.told(number, "create_actor")]
    groups.gcs.started(node, groups.gcs.create(node), 50)
    group = groups.create(1, creator=address(node, 50))
    groups.obey_all()
    groups.gcs.ask(finish_job=gcs_pb2.FinishJob(job_id=groups.job))
    assert groups.state(group) == "CREATED"
    groups.gcs.ask(kill_actor=gcs_pb2.KillActorRequest(actor_id=spec.actor_id, no_restart=True))
    assert groups.state(group) == "REMOVED"


def member(groups: Groups, group: bytes, cpus: float = 1, index: int = -1, **more: object) -> actor_pb2.ActorSpec:
    spec = groups.gcs.spec(groups.job, held=cpus, **more)
    spec.owner.CopyFrom(address(9, 1))
    spec.strategy.placement_group.placement_group_id = group
    spec.strategy.placement_group.bundle_index = index
    return spec


def test_an_actor_waits_for_its_bundle_and_dies_with_its_group() -> None:
    groups = Groups()
    group = groups.create(1)
    spec = member(groups, group)
    groups.gcs.register(spec)
    assert "no node" in groups.gcs.status(spec.actor_id).pending_reason
    groups.obey_all()
    (home,) = groups.nodes_of(group)
    assert groups.gcs.create(home).bundle_index == 1
    waits = member(groups, group)
    groups.gcs.register(waits)
    assert "none has room" in groups.gcs.status(waits.actor_id).pending_reason
    groups.remove(group)
    for actor_id in (spec.actor_id, waits.actor_id):
        status = groups.gcs.status(actor_id)
        assert ActorState(status.state) is ActorState.DEAD
        assert status.death_cause.kind == common_pb2.DeathCause.PLACEMENT_GROUP_REMOVED


def test_an_actor_of_a_lost_bundle_restarts_when_the_bundle_is_back() -> None:
    groups = Groups(nodes=1, cpus=1)
    group = groups.create(1)
    groups.obey_all()
    spec = member(groups, group, max_restarts=1)
    groups.gcs.register(spec)
    groups.gcs.started(1, groups.gcs.create(1), 60)
    groups.kill(1)
    assert ActorState(groups.gcs.status(spec.actor_id).state) is ActorState.RESTARTING
    groups.attach(4)
    groups.obey_all()
    groups.gcs.started(4, groups.gcs.create(4), 61)
    assert ActorState(groups.gcs.status(spec.actor_id).state) is ActorState.ALIVE


@pytest.mark.parametrize("phase", ["pending", "preparing", "prepared", "committing", "created", "rescheduling"])
async def test_a_new_leader_goes_on_from_every_phase(phase: str) -> None:
    groups = Groups(nodes=3)
    group = groups.create(1, 1, strategy=SPREAD)
    first, second = groups.ordered()
    if phase != "pending":
        groups.obey(first)
    if phase in ("prepared", "committing", "created", "rescheduling"):
        groups.obey(second)
    if phase in ("committing", "created", "rescheduling"):
        groups.obey(first)
    if phase in ("created", "rescheduling"):
        groups.obey(second)
        assert groups.state(group) == "CREATED"
    if phase == "rescheduling":
        groups.kill(first)
        assert groups.state(group) == "RESCHEDULING"
    successor = Groups(driver=await groups.gcs.restarted(), cpus=groups.cpus)
    successor.held, successor.job = groups.held, groups.job
    successor.gcs.attach(9, message=attach(9, cpus=0))
    for number in list(successor.held):
        successor.attach(number)
    successor.obey_all()
    assert successor.state(group) == "CREATED"
    placed = successor.nodes_of(group)
    assert len(set(placed)) == 2 and successor.bundles() == 2
    for index, number in enumerate(placed):
        assert successor.held[number][group, index].committed


async def test_a_new_leader_ends_groups_whose_job_ended_and_frees_what_nodes_hold_of_them() -> None:
    groups = Groups()
    group = groups.create(1)
    groups.obey_all()
    groups.gcs.ask(finish_job=gcs_pb2.FinishJob(job_id=groups.job))  # the nodes do not hear of it
    successor = Groups(driver=await groups.gcs.restarted(), cpus=groups.cpus)
    successor.held = groups.held
    for number in list(successor.held):
        successor.attach(number)
    successor.obey_all()
    assert successor.bundles() == 0 and successor.state(group) == "REMOVED"


def test_a_raylet_that_watches_a_group_hears_where_it_is() -> None:
    groups = Groups()
    group = groups.create(1)
    groups.gcs.say(9, watch_placement_groups=pb.WatchPlacementGroups(add=[group, b"?" * 18]))
    news = {n.placement_group_id: n for n in groups.gcs.take_told(9, "placement_group")}  # type: ignore[attr-defined]
    assert news[group].state == pb.PG_PENDING and news[b"?" * 18].state == pb.PG_REMOVED
    groups.obey_all()
    (*_, last) = groups.gcs.take_told(9, "placement_group")
    assert last.state == pb.PG_CREATED  # type: ignore[attr-defined]
    (home,) = groups.nodes_of(group)
    beat = gcs_pb2.Heartbeat(used_bundles_changed=True)
    beat.used_bundles.add(placement_group_id=group, index=0, available=resources({"CPU": 0.25}))
    groups.gcs.say(home, heartbeat=beat)
    (used,) = groups.gcs.take_told(9, "placement_group")
    assert used.bundles[0].available.amounts["CPU"] == 2_500  # type: ignore[attr-defined]


def test_pending_groups_are_counted_by_shape_with_why() -> None:
    groups = Groups()
    for number in range(3):
        groups.create(100, group=number + 1)
    (demand,) = groups.gcs.ask(cluster_status=gcs_pb2.ClusterStatusRequest()).cluster_status.pending_placement_groups
    assert demand.count == 3 and demand.reason == "infeasible: of 3 nodes: 3 have too little CPU"


def test_groups_are_counted_by_state() -> None:
    groups = Groups()
    created, removed = groups.create(1), groups.create(1, group=2)
    groups.create(100, group=3)
    groups.obey_all()
    groups.remove(removed)
    metrics = Metrics("gcs")
    GcsMetrics(metrics).show(groups.gcs.core)
    shown = {
        sample.labels["State"]: sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "ray_placement_groups"
    }
    assert groups.state(created) == "CREATED"
    assert shown == {"PENDING": 1, "PREPARED": 0, "CREATED": 1, "RESCHEDULING": 0, "REMOVED": 1}


def test_the_diagram_of_the_docs_is_the_table_of_moves() -> None:
    page = (ROOT / "docs/placement-groups.md").read_text()
    drawn = set(re.findall(r"^    ([A-Z]+) --> ([A-Z]+)", page, re.MULTILINE))
    assert drawn == {(start.name, end.name) for start, ends in LEGAL.items() for end in ends}
    assert {state.name for state in GroupState} == {name for pair in drawn for name in pair}
