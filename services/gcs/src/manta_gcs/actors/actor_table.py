"""All actors, found by owner, job, node and state; and the classes they share."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

from manta_common.ids import ActorId, JobId, NodeId, PlacementGroupId, WorkerId
from manta_common.kept_messages import KeptMessages
from manta_proto.gcs.v1 import actor_pb2, records_pb2
from manta_proto.worker.v1 import worker_pb2

from manta_gcs.actors.actor import Actor, without_arguments
from manta_gcs.actors.actor_state import ActorState
from manta_gcs.kernel.commands import Command, Forget, Persist
from manta_gcs.kernel.record import Key, Table, id_of, record

# Dead actors of which the record is kept, here and in the store, and their bytes here.
DEAD_LIMIT: Final = 10_000
DEAD_BYTES: Final = 32 * 1024 * 1024
_K = TypeVar("_K")


class ActorTable:
    """The indices change only through add(), move(), put_on() and their kin, so that they cannot disagree.

    A dead actor is but a record: who asks for one gets an Actor made from it, which nothing changes any more.
    """

    def __init__(
        self,
        dead_limit: int = DEAD_LIMIT,
        changed: Callable[[NodeId], None] = lambda node_id: None,
        dead_bytes: int = DEAD_BYTES,
    ) -> None:
        """changed: hears of each node that gets or loses an actor."""
        self._tell = changed
        self._actors: dict[ActorId, Actor] = {}
        self._by_owner: defaultdict[WorkerId, dict[ActorId, None]] = defaultdict(dict)
        self._by_owner_node: defaultdict[NodeId, dict[ActorId, None]] = defaultdict(dict)
        self._by_job: defaultdict[JobId, dict[ActorId, None]] = defaultdict(dict)
        self._by_node: defaultdict[NodeId, dict[ActorId, None]] = defaultdict(dict)
        self._by_group: defaultdict[PlacementGroupId, dict[ActorId, None]] = defaultdict(dict)
        self._by_worker: dict[bytes, ActorId] = {}
        self._dead: KeptMessages[ActorId, records_pb2.StoredActor] = KeptMessages(
            records_pb2.StoredActor.FromString, dead_limit, dead_bytes
        )
        self._surplus: list[ActorId] = []  # loaded ones that are too many
        self._definitions: dict[str, worker_pb2.Definition] = {}
        self._users: Counter[str] = Counter()
        self.counts: Counter[ActorState] = Counter()

    def __iter__(self) -> Iterator[Actor]:
        """The living, then the dead. cost: some microseconds for each dead one."""
        yield from self._actors.values()
        yield from map(_restored, self._dead.values())

    @property
    def dead_bytes(self) -> int:
        """What the records of the dead take here, about."""
        return self._dead.bytes

    def living(self) -> list[Actor]:
        return list(self._actors.values())

    def get(self, actor_id: bytes) -> Actor | None:
        actor = self._actors.get(ActorId(actor_id))
        if actor is None and ActorId(actor_id) in self._dead:
            stored = self._dead.get(ActorId(actor_id))
            return None if stored is None else _restored(stored)
        return actor

    def owned_by(self, worker_id: bytes) -> list[Actor]:
        return self._of(self._by_owner.get(WorkerId(worker_id), ()))

    def owned_on(self, node_id: NodeId) -> list[Actor]:
        return self._of(self._by_owner_node.get(node_id, ()))

    def of_job(self, job_id: bytes) -> list[Actor]:
        return self._of(self._by_job.get(JobId(job_id), ()))

    def on_node(self, node_id: NodeId) -> list[Actor]:
        """Those that live there, and those that it was told to start."""
        return self._of(self._by_node.get(node_id, ()))

    def in_group(self, group_id: PlacementGroupId) -> list[Actor]:
        """Those that live, or shall live, in bundles of that placement group."""
        return self._of(self._by_group.get(group_id, ()))

    def count_on(self, node_id: NodeId) -> int:
        return len(self._by_node.get(node_id, ()))

    def in_worker(self, worker_id: bytes) -> Actor | None:
        found = self._by_worker.get(worker_id)
        return None if found is None else self._actors[found]

    def outlives_job(self, actor: Actor) -> bool:
        """Whether it is detached, or was made, by however many steps, by a detached actor that lives."""
        ancestor: Actor | None = actor
        seen = set()  # ids come from clients, who could name a circle
        while ancestor is not None and not ancestor.spec.detached and ancestor.id not in seen:
            seen.add(ancestor.id)
            ancestor = self.in_worker(ancestor.spec.owner.worker_id)
        return ancestor is not None and ancestor.spec.detached

    def add(self, actor: Actor) -> None:
        """Take in a new or restored actor."""
        self.counts[actor.state] += 1
        if actor.dead:
            self._surplus += self._keep(actor)
            return
        self._actors[actor.id] = actor
        owner, spec = actor.spec.owner, actor.spec
        # A detached actor needs its creator until that has made the arguments of its constructor.
        if not spec.detached or actor.state is ActorState.DEPENDENCIES_UNREADY:
            self._by_owner[WorkerId(owner.worker_id)][actor.id] = None
            self._by_owner_node[NodeId(owner.node_id)][actor.id] = None
        self._by_job[JobId(spec.job_id)][actor.id] = None
        self._users[actor.definition] += 1
        if actor.group_id is not None:
            self._by_group[actor.group_id][actor.id] = None
        if actor.node_id is not None:
            self._by_node[actor.node_id][actor.id] = None
            self._tell(actor.node_id)
        if actor.worker_id:
            self._by_worker[actor.worker_id] = actor.id

    def move(self, actor: Actor, to: ActorState) -> None:
        before = actor.state
        actor.move(to)
        self.counts[before] -= 1
        self.counts[to] += 1
        if actor.spec.detached and before is ActorState.DEPENDENCIES_UNREADY:
            self._leave_owner(actor)

    def put_on(self, actor: Actor, node_id: NodeId) -> None:
        """The actor shall be started there."""
        self.take_off(actor)
        actor.node_id, actor.taken = node_id, False
        self._by_node[node_id][actor.id] = None
        self._tell(node_id)

    def settle_in(self, actor: Actor, worker_id: bytes, pid: int) -> None:
        """The actor lives in that process of its node."""
        actor.worker_id, actor.pid = worker_id, pid
        self._by_worker[worker_id] = actor.id

    def take_off(self, actor: Actor) -> None:
        """The actor is nowhere."""
        if actor.node_id is not None:
            _drop(self._by_node, actor.node_id, actor.id)
            self._tell(actor.node_id)
        self._by_worker.pop(actor.worker_id, None)
        actor.node_id, actor.worker_id, actor.pid = None, b"", 0

    def bury(self, actor: Actor) -> list[Command]:
        """Keep only what people ask about the dead; the oldest of them are forgotten.

        The place stays in the status, for the record; the indices lose it.
        """
        self.move(actor, ActorState.DEAD)
        if actor.node_id is not None:
            _drop(self._by_node, actor.node_id, actor.id)
            self._tell(actor.node_id)
        self._by_worker.pop(actor.worker_id, None)
        self._leave_owner(actor)
        _drop(self._by_job, JobId(actor.spec.job_id), actor.id)
        if actor.group_id is not None:
            _drop(self._by_group, actor.group_id, actor.id)
        actor.spec = without_arguments(actor.spec)
        commands: list[Command] = [Persist(*actor.status_record()), Persist(*actor.spec_record())]
        commands += self._release_definition(actor.definition)
        del self._actors[actor.id]
        return [*commands, *_forget(self._keep(actor))]

    def _keep(self, actor: Actor) -> list[ActorId]:
        """Keep a dead actor's record. returns: those that are forgotten for it."""
        left = self._dead.add(actor.id, actor.kept())
        self.counts[ActorState.DEAD] -= len(left)
        return left

    def keep_definition(self, key: str, definition: worker_pb2.Definition) -> list[Command]:
        """Have a class kept, once for all actors that share it."""
        if key in self._definitions:
            return []
        self._definitions[key] = definition
        stored = record(definition=records_pb2.StoredDefinition(definition=definition))
        return [Persist(Key(Table.DEFINITION, key), stored)]

    def restore_definition(self, key: str, definition: worker_pb2.Definition) -> None:
        self._definitions[key] = definition

    def drop_surplus(self) -> list[Command]:
        """After loading: forget dead actors over the limit, and definitions that no living actor needs."""
        surplus, self._surplus = self._surplus, []
        unused = [key for key in self._definitions if not self._users[key]]
        for key in unused:
            del self._definitions[key]
        return [*_forget(surplus), *(Forget(Key(Table.DEFINITION, key)) for key in unused)]

    def full_spec(self, actor: Actor) -> actor_pb2.ActorSpec:
        """What a node needs to start it: with the class, and which start it is."""
        spec = actor_pb2.ActorSpec()
        spec.CopyFrom(actor.spec)
        spec.restarts = actor.restarts
        definition = self._definitions.get(actor.definition)
        if definition is not None:
            spec.definition.CopyFrom(definition)
        return spec

    def _leave_owner(self, actor: Actor) -> None:
        _drop(self._by_owner, WorkerId(actor.spec.owner.worker_id), actor.id)
        _drop(self._by_owner_node, NodeId(actor.spec.owner.node_id), actor.id)

    def _release_definition(self, key: str) -> list[Command]:
        self._users[key] -= 1
        if self._users[key] > 0:
            return []
        del self._users[key]
        if self._definitions.pop(key, None) is None:
            return []
        return [Forget(Key(Table.DEFINITION, key))]

    def _of(self, ids: Iterable[ActorId]) -> list[Actor]:
        return [self._actors[actor_id] for actor_id in ids]


def _restored(stored: records_pb2.StoredActor) -> Actor:
    return Actor.restored(stored.spec, stored.definition_digest.hex(), stored.status)


def _forget(actor_ids: Iterable[ActorId]) -> list[Command]:
    tables = (Table.ACTOR, Table.ACTOR_SPEC)
    return [Forget(Key(table, id_of(actor_id))) for actor_id in actor_ids for table in tables]


def _drop(index: dict[_K, dict[ActorId, None]], key: _K, actor_id: ActorId) -> None:
    inside = index.get(key)
    if inside is not None:
        inside.pop(actor_id, None)
        if not inside:
            del index[key]
