"""Names of actors: unique in their namespace while the actor is not dead."""

from __future__ import annotations

from urllib.parse import unquote

from manta_common.ids import ActorId
from manta_proto.gcs.v1 import actor_pb2, gcs_pb2, records_pb2

from manta_gcs.kernel.commands import Command, Forget, Persist
from manta_gcs.kernel.record import Key, Table, id_of, record


class ActorNames:
    """(namespace, name) -> actor."""

    def __init__(self) -> None:
        self._holders: dict[tuple[str, str], ActorId] = {}

    def restore(self, identity: str, stored: records_pb2.StoredName) -> None:
        namespace, _, name = identity.partition("/")
        self._holders[unquote(namespace), unquote(name)] = ActorId(stored.actor_id)

    def holder(self, namespace: str, name: str) -> ActorId | None:
        return self._holders.get((namespace, name))

    def take(self, spec: actor_pb2.ActorSpec) -> list[Command]:
        """Give the name to the actor; the caller has seen that it is free. Nothing for an unnamed one."""
        if not spec.name:
            return []
        self._holders[spec.ray_namespace, spec.name] = ActorId(spec.actor_id)
        stored = record(name=records_pb2.StoredName(actor_id=spec.actor_id))
        return [Persist(_key(spec.ray_namespace, spec.name), stored)]

    def release(self, spec: actor_pb2.ActorSpec) -> list[Command]:
        """Free the actor's name, unless another holds it by now."""
        if not spec.name or self.holder(spec.ray_namespace, spec.name) != spec.actor_id:
            return []
        del self._holders[spec.ray_namespace, spec.name]
        return [Forget(_key(spec.ray_namespace, spec.name))]

    def release_all_but(self, living: set[ActorId]) -> list[Command]:
        """After loading: free the names whose actor did not outlive the write that was cut short."""
        stale = [place for place, actor_id in self._holders.items() if actor_id not in living]
        for place in stale:
            del self._holders[place]
        return [Forget(_key(*place)) for place in stale]

    def listing(self, namespace: str | None) -> gcs_pb2.NamedActors:
        """All names, or those of one namespace, sorted."""
        return gcs_pb2.NamedActors(
            items=[
                gcs_pb2.NamedActors.Item(name=name, ray_namespace=space, actor_id=actor_id)
                for (space, name), actor_id in sorted(self._holders.items())
                if namespace is None or space == namespace
            ]
        )


def _key(namespace: str, name: str) -> Key:
    return Key(Table.NAME, id_of(namespace, name))
