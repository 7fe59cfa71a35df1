"""Answers about actors: those that pass some filters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from manta_common.state_filter import all_pass
from manta_proto.gcs.v1 import gcs_pb2, task_pb2

from manta_gcs.actors.actor import Actor
from manta_gcs.requests.state_query import filters_of

COLUMNS: Final[Mapping[str, Callable[[Actor], object]]] = {
    "actor_id": lambda actor: actor.id.hex(),
    "class_name": lambda actor: actor.spec.class_name,
    "state": lambda actor: actor.state.name,
    "job_id": lambda actor: actor.spec.job_id.hex(),
    "name": lambda actor: actor.spec.name,
    "node_id": lambda actor: (actor.node_id or b"").hex(),
    "pid": lambda actor: actor.pid,
    "ray_namespace": lambda actor: actor.spec.ray_namespace,
    "placement_group_id": lambda actor: actor.spec.strategy.placement_group.placement_group_id.hex(),
    "repr_name": lambda actor: actor.repr_name,
}


def actor_list(actors: Iterable[Actor], filters: Iterable[task_pb2.StateFilter], limit: int) -> gcs_pb2.ActorList:
    """The first `limit` (0: all) that pass. raises: RequestRefused for an unknown column."""
    conditions = filters_of(filters, COLUMNS)
    reply = gcs_pb2.ActorList()
    for actor in actors:
        reply.total += 1
        if all_pass(conditions, lambda column, of=actor: COLUMNS[column](of)):  # type: ignore[misc]
            reply.matched += 1
            if not limit or len(reply.items) < limit:
                reply.items.add(spec=actor.public_spec(), status=actor.status(), existed=True)
    return reply
