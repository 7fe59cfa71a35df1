"""Obeys the GCS's orders about bundles: reserves, commits and returns them, and ends who uses what is returned."""

from __future__ import annotations

from collections.abc import Iterable

from manta_common.ids import PlacementGroupId
from manta_common.resources import ResourceSet
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import placement_group_pb2 as pb

from manta_raylet.actors.actor_host import ActorHost
from manta_raylet.kernel.commands import Command, ReportBundles
from manta_raylet.leases.lease_manager import LeaseManager
from manta_raylet.resources.bundle import Bundle, BundlePhase
from manta_raylet.resources.node_ledger import NodeLedger

Outcome = pb.BundleOutcome


class BundleKeeper:
    """Each order is answered, also when it came before; the answers tell what is free after them."""

    def __init__(self, ledger: NodeLedger, leases: LeaseManager, actors: ActorHost) -> None:
        self._ledger, self._leases, self._actors = ledger, leases, actors

    def obey(self, orders: Iterable[pb.BundleOrder], draining: bool, at: float) -> list[Command]:
        """draining: nothing new is reserved."""
        commands: list[Command] = []
        report = pb.BundleReport()
        for order in orders:
            if order.action == pb.BundleOrder.PREPARE:
                commands += self._prepare(order, draining, report, at)
            elif order.action == pb.BundleOrder.COMMIT:
                held = self._ledger.bundles.commit(_key(order), order.attempt)
                why = "" if held else "this node does not hold it by this attempt"
                _answer(report, order, Outcome.COMMITTED if held else Outcome.REFUSED, why)
            else:
                commands += self._take_back(order, order.attempt, order.cause, at)
                _answer(report, order, Outcome.RETURNED)
        report.available.CopyFrom(self._ledger.available.to_proto())
        return [*commands, ReportBundles(report)]

    def held(self) -> list[pb.HeldBundle]:
        """For a GCS that we attach to: all bundles."""
        return [_message(bundle) for bundle in self._ledger.bundles]

    def used(self) -> list[pb.HeldBundle]:
        """The bundles of which something is taken."""
        return [_message(b) for b in self._ledger.bundles if b.ledger.available != b.ledger.total]

    def _prepare(self, order: pb.BundleOrder, draining: bool, report: pb.BundleReport, at: float) -> list[Command]:
        # What an earlier attempt holds here was given up by the GCS, or it would not order this one.
        cause = common_pb2.DeathCause(
            kind=common_pb2.DeathCause.WORKER_DIED, message="its bundle was reserved anew by a later attempt"
        )
        commands = self._take_back(order, order.attempt - 1, cause, at)
        if draining and self._ledger.bundles.get(_key(order)) is None:
            _answer(report, order, Outcome.REFUSED, "the node drains")
            return commands
        resources = ResourceSet.from_proto(order.resources)
        why_not = self._ledger.bundles.prepare(_key(order), order.attempt, resources)
        _answer(report, order, Outcome.PREPARED if why_not is None else Outcome.REFUSED, why_not or "")
        return commands

    def _take_back(self, order: pb.BundleOrder, attempt: int, cause: common_pb2.DeathCause, at: float) -> list[Command]:
        bundle = self._ledger.bundles.take_back(_key(order), attempt)
        if bundle is None:
            return []
        users = set(bundle.ledger.numbers)
        self._leases.evict(users, cause, at)
        return self._actors.evict(users, cause, at)


def _key(order: pb.BundleOrder) -> tuple[PlacementGroupId, int]:
    return PlacementGroupId(order.placement_group_id), order.index


def _answer(report: pb.BundleReport, order: pb.BundleOrder, outcome: Outcome.Outcome, reason: str = "") -> None:
    report.outcomes.add(
        placement_group_id=order.placement_group_id,
        index=order.index,
        attempt=order.attempt,
        outcome=outcome,
        reason=reason,
    )


def _message(bundle: Bundle) -> pb.HeldBundle:
    group_id, index = bundle.key
    message = pb.HeldBundle(
        placement_group_id=group_id,
        index=index,
        attempt=bundle.attempt,
        committed=bundle.phase is BundlePhase.COMMITTED,
        resources=bundle.ledger.total.to_proto(),
    )
    if bundle.ledger.available != bundle.ledger.total:
        message.available.CopyFrom(bundle.ledger.available.to_proto())
    return message
