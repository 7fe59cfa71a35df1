"""What must hold after each step of a simulation, and what must hold once all is quiet."""

from __future__ import annotations

from manta_common.resources import ResourceSet
from manta_common.scheduling import PlacementGroup
from manta_common.scheduling.bundle_use import BundleRefusal
from manta_common.scheduling.bundles import plan_bundles
from manta_gcs.actors.actor import Actor
from manta_gcs.placement_groups.bundle_reservation import Held
from manta_gcs.placement_groups.group_queue import Line
from manta_gcs.placement_groups.group_state import GroupState
from manta_gcs.placement_groups.placement_group import key_of
from manta_proto.gcs.v1 import placement_group_pb2 as pb
from manta_proto.gcs.v1 import records_pb2
from manta_raylet.resources.bundle import BundlePhase

from tests.sim.placement.raylet import SimRaylet
from tests.sim.placement.world import World


def check_step(world: World) -> None:
    for raylet in world.raylets:
        if raylet.alive:
            ledger_adds_up(raylet)
    one_node_a_bundle(world)
    committed_only_when_durable(world)
    clients_heard_the_truth(world)
    view_follows_tables(world)
    nothing_that_fits_waits(world)


def ledger_adds_up(raylet: SimRaylet) -> None:
    """No resource is held twice, and none is lost."""
    ledger = raylet.core.ledger
    assert ledger.node.available + ledger.node.held == ledger.node.total, f"machine {raylet.machine} leaks"
    assert ledger.available.get("CPU") >= 0, "nothing lends here, so nothing may be owed"
    for bundle in ledger.bundles:
        inner = bundle.ledger
        assert inner.available + inner.held == inner.total, f"bundle {bundle.key} leaks"
        assert bundle.phase is not BundlePhase.PREPARED or bundle.idle, "nobody uses a bundle before its commit"


def one_node_a_bundle(world: World) -> None:
    """Of all committed copies of a bundle at most one is not condemned.

    Condemned: its node is declared dead, has still to attach to this leader, or has the order to return it under way.
    """
    held: dict[tuple[bytes, int], int] = {}
    for raylet in world.raylets:
        for key, bundle in raylet.holdings().items():
            if raylet.alive and bundle.committed and not is_condemned(world, raylet, bundle):
                held[key] = held.get(key, 0) + 1
    assert all(count == 1 for count in held.values()), f"bundles on several nodes: {held}"


def is_condemned(world: World, raylet: SimRaylet, bundle: pb.HeldBundle) -> bool:
    core = world.gcs.core
    node = core.nodes.get(raylet.node_id)
    stream = world.stream_of(raylet)
    if node is None or stream is None or not stream.attached or node.session != stream.session:
        return True
    group = core.groups.table.get(bundle.placement_group_id)
    if group is not None and not group.removed:
        return not group.reservation.holds(Held(bundle.index, raylet.node_id, bundle.attempt))
    return True


def no_stray_is_forgotten(world: World) -> None:
    """A bundle that a node holds and should not has an order to return it under way."""
    for raylet in world.raylets:
        stream = world.stream_of(raylet)
        node = world.gcs.core.nodes.get(raylet.node_id)
        if not raylet.alive or stream is None or node is None or node.session != stream.session:
            continue
        ordered = {
            (order.placement_group_id, order.index, order.attempt)
            for message in stream.down
            for order in message.bundle_orders.orders
            if order.action == pb.BundleOrder.RETURN
        }
        for (group_id, index), bundle in raylet.holdings().items():
            if is_condemned(world, raylet, bundle):
                assert any(o[:2] == (group_id, index) and o[2] >= bundle.attempt for o in ordered), "a stray bundle"


def committed_only_when_durable(world: World) -> None:
    """All or nothing: no bundle of a group is for use before the record says that all were prepared."""
    for raylet in world.raylets:
        for (group_id, _), bundle in raylet.holdings().items():
            if not bundle.committed or not raylet.alive or is_condemned(world, raylet, bundle):
                continue
            group = world.gcs.core.groups.table.get(group_id)
            assert group is not None
            stored = records_pb2.StoredRecord.FromString(world.gcs.records.by_key[key_of(group.id)])
            assert stored.placement_group.status.state != pb.PG_PENDING, "committed before it was PREPARED"


def clients_heard_the_truth(world: World) -> None:
    """Who was told CREATED finds a record of it, whatever leader comes."""
    for group_id in world.created:
        group = world.gcs.core.groups.table.get(group_id)
        if group is not None and not group.removed:
            assert group.created_at > 0, f"group {group_id.hex()} was told as created, and is not"


def nothing_that_fits_waits(world: World) -> None:
    """No group or actor waits that could be placed beside what is known to be in use, reserved and promised.

    The leader has just done what its last batch led to; so this holds although much is under way.
    """
    core = world.gcs.core
    placement = core.groups.placement
    lines = placement.queue.lines()
    views = placement._view.current()
    for line in lines:
        if line.first()[0][0] == 0:
            assert plan_bundles(line.request, views) is None, f"{line.first()[1].hex()} lost bundles and waits"
    placement._set_aside([line.request for line in lines if line.first()[0][0] == 0], views)
    for line in lines:
        assert plan_bundles(line.request, views) is None, f"group {line.first()[1].hex()} waits for nothing"
    views = placement._view.current()  # as it was before something was set aside
    for actor in core.actors.placement.waiting():
        use = actor.request.strategy
        if isinstance(use, PlacementGroup):
            chosen = core.groups.use.choose(actor.request.resources, use, actor.lifetime)
            fits = not isinstance(chosen, BundleRefusal) or chosen.final
        else:
            fits = any(
                view.schedulable
                and view.total.covers(actor.request.resources)
                and view.available.covers(actor.lifetime)
                for view in views.values()
            )
        assert not fits, f"actor {actor.id.hex()} waits for nothing"


def view_follows_tables(world: World) -> None:
    """What groups and actors are placed on is what the tables say, though only changes are taken in."""
    core = world.gcs.core
    index = core.groups.placement._view.current()
    assert set(index) == {node.id for node in core.nodes}
    for node in core.nodes:
        seen = index[node.id]
        assert seen.available == node.available - core.groups._promises.out_of(node.id)
        assert (seen.total, seen.schedulable) == (node.total, node.schedulable)
        assert seen.running == core.actors.table.count_on(node.id)


def check_quiet(world: World) -> None:
    """Everything is delivered and nothing is on the way: table, ledgers and records say the same."""
    core = world.gcs.core
    table = core.groups.table
    for group in table:
        stored = records_pb2.StoredRecord.FromString(world.gcs.records.by_key[key_of(group.id)]).placement_group
        known = group.record()[1].placement_group
        for info in (stored, known):  # failed attempts are counted, and not worth a write
            info.status.attempts, info.status.attempted_at = 0, 0
        assert stored == known, "memory and store differ"
    expected: dict[tuple[bytes, int], tuple[bytes, int]] = {}
    for group in table.living():
        waits = group.id in core.groups.placement.queue
        if group.state is GroupState.CREATED:
            assert group.reservation.whole and not waits
        else:
            assert waits and group.state in (GroupState.PENDING, GroupState.RESCHEDULING), group.state
        for held in group.reservation.placed.values():
            expected[group.id, held.index] = (held.node_id, held.attempt)
    found: dict[tuple[bytes, int], tuple[bytes, int]] = {}
    for raylet in world.raylets:
        if not raylet.alive:
            continue
        for key, bundle in raylet.holdings().items():
            assert bundle.committed and key not in found
            found[key] = (raylet.node_id, bundle.attempt)
        total = ResourceSet()
        for bundle in raylet.core.ledger.bundles:
            total = total + bundle.ledger.total
        outside = raylet.core.ledger.held - total
        used = ResourceSet()
        for lease in raylet.core.leases.all():
            if lease.key.strategy == b"":
                used = used + lease.key.resources
        for actor in raylet.core.actors.of_job(world.job):
            if not actor.spec.strategy.HasField("placement_group"):
                used = used + ResourceSet.from_proto(actor.spec.lifetime_resources)
        assert outside == used, f"machine {raylet.machine} holds {outside} for nobody"
        node = core.nodes.get(raylet.node_id)
        assert node is not None and node.available == raylet.core.ledger.available
        assert not core.groups._promises.out_of(raylet.node_id), "a promise that nobody keeps"
    assert found == expected, "ledgers and table differ"
    nothing_that_fits_waits(world)
    no_task_that_fits_waits(world)
    actors_are_where_the_table_says(world)
    claims_stand(world)
    for group_id, state in world.wanted.items():
        there = table.get(group_id)
        assert there is not None and there.removed == (state == "removed")


def no_task_that_fits_waits(world: World) -> None:
    """Unless what is free, here or where it would be sent to, is being kept for something else for the moment."""
    living = [raylet.core for raylet in world.raylets if raylet.alive]
    for here in living:
        for entry in here.leases.queue.waiting():
            request = entry.request
            for there in living:
                leases, ledger = there.leases, there.ledger
                if ledger.can_allocate(request.resources, request.group):
                    kept = leases._hold_back.keeps_from(entry, ledger.available)
                    kept = kept or leases.claims.keeps_from(request, ledger.available)
                    assert kept, f"a task waits on {here.spec.node_id.hex()} for what {there.spec.node_id.hex()} has"


def actors_are_where_the_table_says(world: World) -> None:
    """Each that is placed is on its node, in that incarnation; no node has another."""
    core = world.gcs.core
    expected = {
        (actor.id, actor.incarnation, actor.node_id)
        for actor in core.actors.table
        if not actor.dead and actor.node_id is not None
    }
    found = {
        (hosted.id, hosted.incarnation, raylet.node_id)
        for raylet in world.raylets
        if raylet.alive
        for hosted in raylet.core.actors.of_job(world.job)
    }
    assert found == expected, "actors on nodes and in the table differ"
    waiting = {actor.id for actor in core.actors.placement.waiting()}
    for actor in core.actors.table:
        assert (actor.id in waiting) == (not actor.dead and actor.node_id is None), f"{actor.id.hex()} is nowhere"


def claims_stand(world: World) -> None:
    """What waits and would fit if tasks gave back what they hold has nodes that keep room for it, and they know."""
    core = world.gcs.core
    claims = core.claims
    waiting: dict[bytes, Actor | Line] = {actor.id: actor for actor in core.actors.placement.waiting()}
    waiting |= {line.first()[1]: line for line in core.groups.placement.queue}
    assert claims._waits.keys() == waiting.keys()
    rooms = claims._rooms()
    for key, wait in claims._waits.items():
        assert wait.targets or not claims._choose(waiting[key], rooms), f"nobody keeps room for {key.hex()}"
    targets = [target for wait in claims._waits.values() for target in wait.targets]
    for raylet in world.raylets:
        if raylet.alive:
            wanted = {target.claim.id for target in targets if target.node_id == raylet.node_id}
            assert set(raylet.core.leases.claims._entries) == wanted, "a claim that nobody wants, or nobody heard"
