"""The raylets that a process talks to: its own, and those that lease workers to it from other nodes."""

from __future__ import annotations

import functools
import itertools
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError
from manta_proto.common.v1 import common_pb2
from manta_proto.raylet.v1 import raylet_pb2

from ray._runtime.process.reference_report import report
from ray._runtime.transport.carrier import open_unix

if TYPE_CHECKING:
    from ray._runtime.process.process import Process
    from ray._runtime.transport.carrier import Carrier

log = logging.getLogger("ray.runtime")


FIRST_RETRY_S: Final = 0.1
LONGEST_RETRY_S: Final = 1.0
# Leases given back that a raylet may not have heard of: each new stream begins with what it believes we hold.
_RETURNS_KEPT: Final = 1_000


class RayletLink:
    """A channel to one raylet. Queue and flush as with a Peer.

    A stream may break without a death. The raylet then keeps our leases, and names them on the next stream.
    """

    def __init__(self, node_id: bytes, process: Process) -> None:
        self.node_id = node_id
        self.channel: Carrier | None = None
        self._process = process
        self._request_ids = itertools.count(1)
        self._endpoints: dict[int, Callable[[str], None]] = {}
        self._returned: OrderedDict[bytes, bytes] = OrderedDict()
        self.logs_wanted = False
        self._on_logs_flushed: Callable[[], None] | None = None
        self.welcomed = False
        # It could not be reached a moment ago: nothing is opened, or asked, before the time is up.
        self.resting = False
        self._failures = 0

    def queue(self, kind: int, payload: bytes) -> None:
        channel = self.channel  # looked at once: it may be lost on another thread
        if channel is not None:
            channel.queue(kind, payload)

    def flush(self) -> None:
        channel = self.channel
        if channel is not None:
            channel.flush()

    def send(self, kind: int, payload: bytes) -> None:
        channel = self.channel
        if channel is not None:
            channel.send(kind, payload)

    def settled(self) -> bool:
        """Whether what was said to our own raylet arrives although this process ends now."""
        channel = self.channel
        return channel is None or not channel.unsent()

    def give_back(self, lease_id: bytes, message: raylet_pb2.LeaseReturned) -> None:
        """Queue the return of a lease, and remember it for as long as it may have been lost on the way."""
        payload = self._returned[lease_id] = message.SerializeToString()
        if len(self._returned) > _RETURNS_KEPT:
            self._returned.popitem(last=False)
        self.queue(raylet_pb2.LEASE_RETURNED, payload)

    def give_back_again(self, lease_id: bytes) -> bool:
        """The raylet names a lease as ours; if it was given back say so once more. returns: whether it was."""
        payload = self._returned.get(lease_id)
        if payload is not None:
            self.send(raylet_pb2.LEASE_RETURNED, payload)
        return payload is not None

    def greeted(self) -> None:
        self.welcomed = True
        self._failures = 0

    def ask_endpoint(self, worker_id: bytes, done: Callable[[str], None], *, tcp: bool) -> None:
        """done(tcp://host:port, or host:port for gRPC), or done("") for a worker that is dead or unknown there."""
        request_id = next(self._request_ids)
        self._endpoints[request_id] = done
        message = raylet_pb2.EndpointWanted(request_id=request_id, worker_id=worker_id, tcp=tcp)
        self.send(raylet_pb2.ENDPOINT_WANTED, message.SerializeToString())
        # Lost a moment ago, on another thread: nobody will answer.
        if self.channel is None and self._endpoints.pop(request_id, None) is not None:
            done("")

    def endpoint_answered(self, message: raylet_pb2.Endpoint) -> None:
        done = self._endpoints.pop(message.request_id, None)
        if done is not None:
            done(message.address)

    def flush_logs(self, done: Callable[[], None]) -> None:
        """done(), once everything that the job's workers there have written is here, or cannot come any more."""
        self._on_logs_flushed = done
        self.send(raylet_pb2.LOGS_FLUSH, raylet_pb2.LogsFlush().SerializeToString())
        if self.channel is None:
            self.logs_flushed()

    def logs_flushed(self) -> None:
        done, self._on_logs_flushed = self._on_logs_flushed, None
        if done is not None:
            done()

    def lost(self) -> float:
        """The stream ended. returns: after how many seconds another may be tried."""
        self.channel = None
        self.welcomed = False
        self._failures += 1
        self.logs_flushed()
        waiting, self._endpoints = self._endpoints, {}
        for done in waiting.values():
            done("")
        return float(min(FIRST_RETRY_S * 2 ** min(self._failures - 1, 10), LONGEST_RETRY_S))

    def is_missed(self) -> bool:
        """Whether the next stream has something to settle: leases to give back, output to be sent."""
        return bool(self._returned) or self.logs_wanted


class Raylets:
    """All links of a process, and what it knows of the cluster's nodes."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._links: dict[bytes, RayletLink] = {}
        self.nodes: dict[bytes, common_pb2.NodeInfo] = {}
        # Told of each node that is new or changed.
        self.on_node: Callable[[common_pb2.NodeInfo], None] = lambda node: None

    def all(self) -> Iterable[RayletLink]:
        return list(self._links.values())

    def connect_local(self, link: RayletLink, path: str) -> None:
        """raises: OSError when the raylet does not listen."""
        link.channel = channel = open_unix(
            path,
            self._process.identity,
            self._process.reactor,
            lambda kind, payload: self.receive(link, kind, payload),
            lambda reason: self._process.local_raylet_lost(reason),
        )
        channel.start()
        self._links[link.node_id] = link

    def get(self, node_id: bytes, address: str) -> RayletLink:
        """The link to a raylet elsewhere; opened if it is not, unless it could not be a moment ago.

        The process's lock may be held.
        """
        # That lock, and no other beside it: a finalizer that runs in here may want it, on this thread or another.
        with self._process.lock:
            link = self._links.get(node_id)
            if link is None:
                link = self._links[node_id] = RayletLink(node_id, self._process)
            if link.channel is None and not link.resting:
                self._process.remote.open_raylet(link, address, functools.partial(self._closed, link))
                if link.logs_wanted:
                    link.send(raylet_pb2.LOGS_WANTED, raylet_pb2.LogsWanted().SerializeToString())
            return link

    def _closed(self, link: RayletLink, reason: str) -> None:
        """A stream elsewhere ended. Whether the raylet is dead, its node's death will tell."""
        log.debug("raylet_link_closed node_id=%s reason=%s", link.node_id.hex(), reason)
        reached = link.welcomed
        link.resting = not reached
        retry_s = link.lost()
        if reached:
            self._process.submitter.leasing.on_raylet_gone(link)
        self._process.reactor.call_later(retry_s, lambda: self._rested(link))

    def _rested(self, link: RayletLink) -> None:
        if self._process.closing:
            return
        if link.resting:
            # Only now: asked at once, our own raylet would name the same node again until its death is declared.
            link.resting = False
            self._process.submitter.leasing.on_raylet_gone(link)
        if link.is_missed() and link.channel is None:
            self.of_node(link.node_id)

    def is_alive(self, node_id: bytes) -> bool:
        """As far as is known here."""
        node = self.nodes.get(node_id)
        return node is not None and node.state != common_pb2.NodeInfo.DEAD

    def known(self, node_id: bytes) -> RayletLink | None:
        """The link that was used before, open or not."""
        return self._links.get(node_id)

    def of_node(self, node_id: bytes) -> RayletLink | None:
        """A link to the raylet of a node that is known and alive."""
        link = self._links.get(node_id)
        if link is not None and link.channel is not None:
            return link
        node = self.nodes.get(node_id)
        if node is None or node.state == common_pb2.NodeInfo.DEAD:
            return None
        return self.get(node_id, node.raylet_address)

    def receive(self, link: RayletLink, kind: int, payload: bytes) -> None:
        try:
            self._dispatch(link, kind, payload)
        except (DecodeError, LookupError, ValueError) as error:
            log.warning("raylet_spoke_nonsense node_id=%s kind=%d error=%r", link.node_id.hex(), kind, error)
            if link.channel is not None:
                link.channel.close(f"protocol error: {error}")

    def _dispatch(self, link: RayletLink, kind: int, payload: bytes) -> None:
        process = self._process
        submitter = process.submitter
        if kind == raylet_pb2.LEASE_GRANTED:
            submitter.leasing.on_granted(link, raylet_pb2.LeaseGranted.FromString(payload))
        elif kind == raylet_pb2.LEASE_SPILLED:
            submitter.leasing.on_spilled(link, raylet_pb2.LeaseSpilled.FromString(payload))
        elif kind == raylet_pb2.LEASE_REFUSED:
            submitter.on_refused(raylet_pb2.LeaseRefused.FromString(payload))
        elif kind == raylet_pb2.LEASES_SHORT:
            submitter.leasing.on_short()
        elif kind == raylet_pb2.WORKERS_DIED:
            for dead in raylet_pb2.WorkersDied.FromString(payload).workers:
                died = functools.partial(process.losses.worker_died, dead.address.worker_id, dead.cause)
                if link is process.raylet:
                    died()
                else:
                    # Other raylets are heard on another thread than the one that reads what their workers replied.
                    process.reactor.call_soon(died)
        elif kind == raylet_pb2.NODES:
            self._on_nodes(raylet_pb2.Nodes.FromString(payload))
        elif kind == raylet_pb2.LOGS_FLUSHED:
            link.logs_flushed()
        elif kind == raylet_pb2.ENDPOINT:
            link.endpoint_answered(raylet_pb2.Endpoint.FromString(payload))
        elif kind == raylet_pb2.OPEN_ENDPOINT:
            order = raylet_pb2.OpenEndpoint.FromString(payload)
            process.remote.open_endpoint(order.host, order.tcp, lambda address: self._endpoint_opened(link, address))
        elif kind == raylet_pb2.TASK_EVENTS_LOST:
            process.task_events.tell_again()
        elif kind == raylet_pb2.REFERENCES_WANTED:
            listed = report(process, raylet_pb2.ReferencesWanted.FromString(payload))
            link.send(raylet_pb2.REFERENCES_LISTED, listed.SerializeToString())
        elif kind == raylet_pb2.WELCOME:
            link.greeted()
            process.raylet_welcomed(link, common_pb2.Welcome.FromString(payload))
        elif kind == raylet_pb2.REFUSED:
            process.raylet_refused(common_pb2.Refused.FromString(payload).reason)
        else:
            process.on_raylet_message(kind, payload)

    def _endpoint_opened(self, link: RayletLink, address: str) -> None:
        link.send(raylet_pb2.ENDPOINT_OPENED, raylet_pb2.EndpointOpened(address=address).SerializeToString())

    def _on_nodes(self, message: raylet_pb2.Nodes) -> None:
        for node in message.nodes:
            known = self.nodes.get(node.node_id)
            self.nodes[node.node_id] = node
            dead = node.state == common_pb2.NodeInfo.DEAD
            if dead and (known is None or known.state != common_pb2.NodeInfo.DEAD):
                self._process.losses.node_died(node)
                self._close_link(node.node_id)
            self.on_node(node)

    def _close_link(self, node_id: bytes) -> None:
        # A node that froze or was cut off does not close its stream; what it was asked for is asked elsewhere.
        link = self._links.get(node_id)
        if link is not None and link is not self._process.raylet and link.channel is not None:
            link.channel.close("its node was declared dead")

    def close(self) -> None:
        for link in self.all():
            if link.channel is not None:
                link.channel.close("this process ends")


def raylet_socket(socket_dir: str) -> str:
    return f"{socket_dir}/raylet.sock"
