"""The node's objects as local clients and other nodes use them: joins the object table, the arena's memory and writes.

What comes from other nodes is in incoming.py. Everything here runs on the event loop's thread.
"""

import asyncio
from collections.abc import Iterable

from manta_common.ids import JobId, NodeId, ObjectId, WorkerId
from manta_common.logs import get
from manta_proto.object_manager.v1 import object_manager_pb2 as pb

from manta_object_manager.client_id import TRANSFERS, NotAllowed
from manta_object_manager.client_link import Client
from manta_object_manager.extent_service import ExtentService
from manta_object_manager.memory import ArenaMemory, MemoryShort
from manta_object_manager.messages import description, owner_of, short_of_memory
from manta_object_manager.object_table import Copy, Entry, Exists, Full, ObjectTable, Part
from manta_object_manager.prefetch import Prefetch
from manta_object_manager.reservation import Reservations
from manta_object_manager.room_waits import RoomWaits
from manta_object_manager.writes import Writes

_log = get("manta_object_manager")


class Store:
    """Answers local clients and other nodes. See the proto file for the messages."""

    def __init__(
        self,
        memory: ArenaMemory,
        table: ObjectTable,
        reservations: Reservations,
        writes: Writes,
        extents: ExtentService,
        prefetch: Prefetch,
    ) -> None:
        self.memory, self.table, self.extents, self.prefetch = memory, table, extents, prefetch
        self._reservations = reservations
        self._writes = writes
        self._room_waits = RoomWaits()

    # ---- local clients

    def create(self, client: Client, request: pb.Create, *, frees_follow: bool = False) -> None:
        """Answer CREATED once a range is reserved, or why not; one that is being written elsewhere is waited for.

        What clients hold ahead is asked back before anything is evicted, and before the arena counts as full.
        frees_follow: references were dropped a moment ago, so that room may come.
        """
        size = request.size
        if not self.table.has_room(size):
            self.prefetch.release_all()
        if self.table.has_room(size) or not self.table.room_in_extents(size):
            self._create(client, request, frees_follow)
        else:
            self.extents.when_returned(lambda: self._create(client, request, frees_follow))

    def seal(self, client: Client, request: pb.Seal) -> None:
        """raises: NotAllowed."""
        object_id = ObjectId(request.object_id)
        if request.extent:
            self._adopt(client, request)
            return
        self.table.seal(client.id, object_id, keep_pin=request.keep_pin)
        self._writes.settled(object_id)

    def abort(self, client: Client, request: pb.Abort) -> None:
        """raises: NotAllowed."""
        object_id = ObjectId(request.object_id)
        self.table.abort(client.id, object_id)
        self._writes.settled(object_id)

    def release(self, client: Client, request: pb.Release) -> None:
        """raises: NotAllowed, after which the rest of the list was not released."""
        for object_id in request.object_ids:
            self.table.release(client.id, ObjectId(object_id))
        self._room_came()

    def client_gone(self, client: Client) -> None:
        """The process is dead: its pins and unfinished objects go."""
        for object_id in self.table.drop_client(client.id):
            self._writes.settled(object_id)
        self._room_came()

    def free(self, object_ids: Iterable[bytes]) -> None:
        """Objects that are said to be here; the news that one was made may still be on its way."""
        for object_id in map(ObjectId, object_ids):
            if not self.table.free((object_id,)):
                self.extents.freed_early(object_id)
            self.prefetch.freed(object_id)
        self._room_came()

    def free_if_here(self, object_ids: Iterable[bytes]) -> None:
        """Objects of which nobody says that they are here."""
        for object_id in map(ObjectId, object_ids):
            self.table.free((object_id,))
            self.prefetch.freed(object_id)
        self._room_came()

    def describe(self, request: pb.DescribeRequest) -> pb.DescribeReply:
        reply = pb.DescribeReply(
            request_id=request.request_id,
            arena_size=self.memory.size,
            used=sum(entry.range.size for entry in self.table),
            extents=self.table.extents.bytes,
            touched=self.memory.reserved,
            objects_count=len(self.table),
            pins_count=sum(sum(entry.pins.values()) + (entry.creator is not None) for entry in self.table),
        )
        if request.with_objects:
            reply.objects.extend(description(entry) for entry in self.table)
        return reply

    # ---- the node's raylet

    def workers_died(self, workers: Iterable[WorkerId]) -> None:
        freed = self.table.drop_owners(tuple(workers))
        if freed:
            _log.info("objects_of_dead_owners_freed", objects=freed)
            self._orphans_freed()

    def node_died(self, node_id: NodeId) -> None:
        freed = self.table.drop_owners_of_node(node_id)
        if freed:
            _log.info("objects_of_dead_node_freed", node_id=node_id.hex(), objects=freed)
            self._orphans_freed()

    def job_ended(self, job: JobId, surviving: Iterable[WorkerId]) -> None:
        freed = self.table.drop_job(job, frozenset(surviving))
        _log.info("objects_of_job_freed", job_id=job.hex(), objects=freed)
        self._orphans_freed()

    # ---- transfers to other nodes

    async def pin_for_transfer(self, object_id: ObjectId, wait_s: float) -> Entry | None:
        """Pin a sealed object for a transfer; one that a local process is just writing is waited for."""
        if self.table.find(object_id) is None and self.extents.anything_unheard():
            heard = asyncio.get_running_loop().create_future()
            self.extents.when_settled(lambda: None if heard.done() else heard.set_result(None))
            await heard
        entry = self.table.pin(TRANSFERS, object_id)
        present = self.table.find(object_id)
        # One that is itself being pulled is no source: two nodes could wait for each other.
        if entry is not None or present is None or present.creator is None or present.creator < 0:
            return entry
        settled = asyncio.get_running_loop().create_future()
        self._writes.when_settled(object_id, lambda: None if settled.done() else settled.set_result(None))
        try:
            async with asyncio.timeout(wait_s):
                await settled
        except TimeoutError:
            return None
        return self.table.pin(TRANSFERS, object_id)

    def unpin_transfer(self, object_id: ObjectId) -> None:
        self.table.release(TRANSFERS, object_id)

    # ---- inside

    def _orphans_freed(self) -> None:
        self.prefetch.release_freed()
        self._room_came()

    def _room_came(self) -> None:
        if self._room_waits:
            self._room_waits.look()

    def _create(self, client: Client, request: pb.Create, frees_follow: bool) -> None:
        if not self._attempt(client, request, is_last=not frees_follow):
            self._room_waits.wait(
                lambda: self._attempt(client, request, is_last=False),
                lambda: self._attempt(client, request, is_last=True),
            )

    def _attempt(self, client: Client, request: pb.Create, *, is_last: bool) -> bool:
        """Answer a request, now or when its range is ready. returns: False when it has to wait for room."""
        if client.closed:
            return True
        object_id = ObjectId(request.object_id)
        result: Entry | Exists | Full | NotAllowed
        try:
            result = self.table.create(client.id, object_id, request.size, owner_of(request.owner), Copy.PRIMARY)
        except NotAllowed as error:
            result = error
        if isinstance(result, Full) and not is_last:
            return False
        if isinstance(result, (Full, NotAllowed)):
            code = pb.Failure.FULL if isinstance(result, Full) else pb.Failure.INVALID
            failure = pb.Failure(code=code, message=str(result))
            client.send(pb.CREATED, pb.Created(request_id=request.request_id, failure=failure))
        elif result is Exists.SEALED:
            client.send(pb.CREATED, pb.Created(request_id=request.request_id, exists=True))
        elif isinstance(result, Entry):
            entry = result
            request_id = request.request_id
            self._reservations.reserve(
                entry.range.end, lambda problem: self._created(client, request_id, entry, problem)
            )
        else:
            self._writes.when_settled(object_id, lambda: self.create(client, request))
        return True

    def _adopt(self, client: Client, request: pb.Seal) -> None:
        object_id = ObjectId(request.object_id)
        part = Part(object_id, request.extent, request.offset, request.size)
        result = self.table.adopt(client.id, part, owner_of(request.owner), keep_pin=request.keep_pin)
        if result is Exists.BEING_WRITTEN:
            # An earlier attempt's copy is on its way here; whichever is whole first stays.
            self._writes.when_settled(object_id, lambda: self._adopt_late(client, request))
            return
        if self.extents.was_freed_early(client, object_id):
            self.table.free((object_id,))
        self._writes.settled(object_id)

    def _adopt_late(self, client: Client, request: pb.Seal) -> None:
        try:
            self._adopt(client, request)
        except NotAllowed as error:  # it died meanwhile, or sent the same twice
            _log.warning("late_seal_refused", object_id=request.object_id.hex(), reason=str(error))

    def _created(self, client: Client, request_id: int, entry: Entry, problem: MemoryShort | None) -> None:
        if self.table.find(entry.object_id) is not entry:
            return  # its writer died meanwhile
        if problem is None:
            client.send(pb.CREATED, pb.Created(request_id=request_id, offset=entry.range.offset))
            return
        self.table.abort(client.id, entry.object_id)
        failure = pb.Failure(code=pb.Failure.FULL, message=short_of_memory(entry.size, problem))
        client.send(pb.CREATED, pb.Created(request_id=request_id, failure=failure))
        self._writes.settled(entry.object_id)
