"""What clients may ask: one method for each request, chosen by the name of its field."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from manta_common.ids import ACTOR_ID_SIZE, NODE_ID_SIZE, WORKER_ID_SIZE, ActorId
from manta_proto.gcs.v1 import actor_pb2, gcs_pb2

from manta_gcs.kernel.commands import Answer, Command, Persist, note
from manta_gcs.kernel.events import ClientAsked
from manta_gcs.kernel.refusal import INVALID, RequestRefused, need_size
from manta_gcs.requests.actor_query import actor_list
from manta_gcs.requests.group_request import GroupRequests, Outcome
from manta_gcs.requests.node_drain import drain_node
from manta_gcs.requests.state_query import filters_of
from manta_gcs.requests.task_query import COLUMNS, TaskQuery, summary
from manta_gcs.tasks.pending_reason import PendingReasons

if TYPE_CHECKING:
    from manta_gcs.core.core import GcsCore


class ClientRequests:
    """Turns a request into a reply and commands. Reads too go through here, behind the writes before them."""

    def __init__(self, core: GcsCore) -> None:
        self._core = core
        self._groups = GroupRequests(core)

    def handle(self, event: ClientAsked) -> list[Command]:
        """The reply comes last, after everything that it tells of. A refusal has changed nothing."""
        request = event.request
        try:
            method = METHODS.get(request.WhichOneof("body") or "")
            if method is None:
                raise RequestRefused(INVALID, "a request without a body this version knows")
            reply, commands = method(self, event)
        except RequestRefused as refused:
            return [Answer(event.session, refused.reply(request.request_id))]
        if reply is None:
            return commands  # answered when what it waits for has come
        reply.request_id = request.request_id
        return [*commands, Answer(event.session, reply)]

    def register_job(self, event: ClientAsked) -> Outcome:
        core, wanted = self._core, event.request.register_job.job
        worker_id = need_size("driver's worker id", wanted.driver.worker_id, WORKER_ID_SIZE)
        need_size("driver's node id", wanted.driver.node_id, NODE_ID_SIZE)
        known = core.jobs.of_driver(worker_id)
        if known is not None:
            return gcs_pb2.GcsReply(job_registered=gcs_pb2.JobRegistered(job=known)), []
        if core.deaths.get(worker_id) is not None or core.nodes.death_of(wanted.driver.node_id) is not None:
            raise RequestRefused(INVALID, f"driver {worker_id.hex()} or its node was declared dead; start it anew")
        job, commands = core.jobs.register(wanted, event.at.wall)
        core.identity.last_job = core.jobs.last_number
        commands.append(Persist(*core.identity.record()))
        commands += core.nodes.tell_others(None, gcs_pb2.GcsToNode(job_started=gcs_pb2.JobStarted(job=job)))
        commands.append(note("job_started", job_id=job.job_id, driver_pid=job.driver_pid))
        return gcs_pb2.GcsReply(job_registered=gcs_pb2.JobRegistered(job=job)), commands

    def finish_job(self, event: ClientAsked) -> Outcome:
        return _done(self._core.finish_job(event.request.finish_job.job_id, event.at))

    def register_actor(self, event: ClientAsked) -> Outcome:
        found, commands = self._core.actors.register(event.request.register_actor, event.at)
        return gcs_pb2.GcsReply(actor_found=found), commands

    def announce_actor(self, event: ClientAsked) -> Outcome:
        found, commands = self._core.actors.announce(event.request.announce_actor, event.at)
        return gcs_pb2.GcsReply(actor_found=found), commands

    def forsake_actor(self, event: ClientAsked) -> Outcome:
        return _done(self._core.actors.forsake(event.request.forsake_actor, event.at))

    def kill_actor(self, event: ClientAsked) -> Outcome:
        return _done(self._core.actors.kill(event.request.kill_actor, event.at))

    def actor_out_of_scope(self, event: ClientAsked) -> Outcome:
        return _done(self._core.actors.out_of_scope(event.request.actor_out_of_scope.actor_id, event.at))

    def find_actor(self, event: ClientAsked) -> Outcome:
        return gcs_pb2.GcsReply(actor_found=self._core.actors.find(event.request.find_actor)), []

    def list_named_actors(self, event: ClientAsked) -> Outcome:
        wanted = event.request.list_named_actors
        listing = self._core.actors.names.listing(None if wanted.all_namespaces else wanted.ray_namespace)
        return gcs_pb2.GcsReply(named_actors=listing), []

    def subscribe_actors(self, event: ClientAsked) -> Outcome:
        wanted = [need_size("actor id", i, ACTOR_ID_SIZE) for i in event.request.subscribe_actors.actor_ids]
        statuses = self._core.actors.statuses(wanted)
        over = {status.actor_id for status in statuses.statuses if status.state == actor_pb2.DEAD}
        self._core.actors.subscriptions.add(event.session, [ActorId(i) for i in wanted if i not in over])
        return gcs_pb2.GcsReply(actor_statuses=statuses), []

    def kv_put(self, event: ClientAsked) -> Outcome:
        count, commands = self._core.kv.put(event.request.kv_put)
        return gcs_pb2.GcsReply(kv_changed=gcs_pb2.KvChanged(count=count)), commands

    def kv_get(self, event: ClientAsked) -> Outcome:
        value = self._core.kv.get(event.request.kv_get)
        return gcs_pb2.GcsReply(kv_value=gcs_pb2.KvValue(found=value is not None, value=value or b"")), []

    def kv_delete(self, event: ClientAsked) -> Outcome:
        count, commands = self._core.kv.delete(event.request.kv_delete)
        return gcs_pb2.GcsReply(kv_changed=gcs_pb2.KvChanged(count=count)), commands

    def kv_keys(self, event: ClientAsked) -> Outcome:
        return gcs_pb2.GcsReply(kv_key_list=gcs_pb2.KvKeyList(keys=self._core.kv.keys(event.request.kv_keys))), []

    def list_nodes(self, event: ClientAsked) -> Outcome:
        return gcs_pb2.GcsReply(node_list=gcs_pb2.NodeList(items=self._nodes())), []

    def drain_node(self, event: ClientAsked) -> Outcome:
        return drain_node(self._core, event)

    def list_actors(self, event: ClientAsked) -> Outcome:
        wanted = event.request.list_actors
        if wanted.actor_id:
            need_size("actor id", wanted.actor_id, ACTOR_ID_SIZE)
            found = self._core.actors.table.get(wanted.actor_id)
            return gcs_pb2.GcsReply(actor_list=actor_list([found] if found is not None else [], [], 0)), []
        return gcs_pb2.GcsReply(actor_list=actor_list(self._core.actors.table, wanted.filters, wanted.limit)), []

    def list_tasks(self, event: ClientAsked) -> Outcome:
        wanted = event.request.list_tasks
        query = TaskQuery(filters_of(wanted.filters, COLUMNS), wanted.limit)
        reasons = PendingReasons(demand for node in self._core.nodes for demand in node.demands)
        return gcs_pb2.GcsReply(task_list=query.answer(self._core.tasks, self._core.actors.table, reasons)), []

    def summarize_tasks(self, event: ClientAsked) -> Outcome:
        return gcs_pb2.GcsReply(task_summary=summary(self._core.tasks, self._core.actors.table)), []

    def list_dead_workers(self, event: ClientAsked) -> Outcome:
        return gcs_pb2.GcsReply(dead_worker_list=gcs_pb2.DeadWorkerList(items=self._core.deaths.recent())), []

    def list_jobs(self, event: ClientAsked) -> Outcome:
        return gcs_pb2.GcsReply(job_list=gcs_pb2.JobList(items=self._core.jobs.all())), []

    def create_placement_group(self, event: ClientAsked) -> Outcome:
        return self._groups.create(event)

    def await_placement_group(self, event: ClientAsked) -> Outcome:
        return self._groups.wait(event)

    def remove_placement_group(self, event: ClientAsked) -> Outcome:
        return self._groups.remove(event)

    def find_placement_group(self, event: ClientAsked) -> Outcome:
        return self._groups.find(event)

    def list_placement_groups(self, event: ClientAsked) -> Outcome:
        return self._groups.listing(event)

    def cluster_status(self, event: ClientAsked) -> Outcome:
        core = self._core
        status = gcs_pb2.ClusterStatus(
            cluster_id=core.identity.cluster_id,
            store=core.store_name,
            epoch=core.epoch,
            nodes=self._nodes(),
            pending_actors=core.actors.placement.demands(),
            pending_placement_groups=core.groups.placement.demands(),
            at=event.at.wall,
        )
        return gcs_pb2.GcsReply(cluster_status=status), []

    def _nodes(self) -> list[gcs_pb2.NodeList.Item]:
        items = []
        for info in self._core.nodes.infos():
            node = self._core.nodes.get(info.node_id)
            item = gcs_pb2.NodeList.Item(info=info)
            if node is not None:
                item.available.CopyFrom(node.available.to_proto())
                item.demands.extend(node.demands)
                item.arena_used = node.arena_used
                item.bundles.extend(self._groups.bundles_on(node.id))
            items.append(item)
        return items


Method = Callable[[ClientRequests, ClientAsked], Outcome]
# By the field of ClientRequest; `hello` is the shell's business, and what a later minor asks has no method yet.
METHODS: Final[Mapping[str, Method]] = {
    field.name: getattr(ClientRequests, field.name)
    for field in gcs_pb2.ClientRequest.DESCRIPTOR.oneofs_by_name["body"].fields
    if hasattr(ClientRequests, field.name)
}


def _done(commands: list[Command]) -> Outcome:
    return gcs_pb2.GcsReply(done=gcs_pb2.Empty()), commands
