"""Placement groups that this process made or asks about: requests to the GCS, and who waits for them."""

from __future__ import annotations

import concurrent.futures
import logging
import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final

from manta_common.ids import JOB_ID_SIZE, PLACEMENT_GROUP_ID_SIZE
from manta_common.resources import ResourceSet
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import gcs_pb2
from manta_proto.gcs.v1 import placement_group_pb2 as pb

from ray._runtime.transport.gcs_client import GcsError
from ray._runtime.values import serialization
from ray._runtime.values.object_ref import ObjectRef
from ray._runtime.values.system_errors import error_value

if TYPE_CHECKING:
    from ray._runtime.process.process import Process

log = logging.getLogger("ray.runtime")

# What was asked and must be on its way before a process leaves.
_LEAVE_S: Final = 5.0


class PlacementGroups:
    """The groups as `process` sees them. Safe from any thread."""

    def __init__(self, process: Process) -> None:
        self._process = process
        # Reentrant: a finalizer may run while it is held, and remove a group.
        self._lock = threading.RLock()
        # By group: the answers to requests to create it that have not come yet, ...
        self._recording: dict[bytes, Future[gcs_pb2.GcsReply]] = {}
        # ... to await it, which nobody has looked at yet, ...
        self._awaited: dict[bytes, Future[gcs_pb2.GcsReply]] = {}
        # ... and to remove it.
        self._removing: dict[bytes, Future[gcs_pb2.GcsReply]] = {}

    def create(self, spec: pb.PlacementGroupSpec) -> bytes:
        """Ask for a group; returns its id. Waits for the GCS only where a name may be taken or nobody may be there
        any more when the answer comes. raises: RaySystemError when it is refused.
        """
        process = self._process
        group_id = os.urandom(PLACEMENT_GROUP_ID_SIZE - JOB_ID_SIZE) + process.job_id
        spec.placement_group_id = group_id
        spec.creator_job_id = process.job_id
        spec.creator.CopyFrom(process.identity.address())
        spec.ray_namespace = process.namespace
        recording = process.gcs.request(create_placement_group=pb.CreatePlacementGroup(spec=spec))
        with self._lock:
            self._recording[group_id] = recording
        # Asked for now, so that whoever waits for the group has no further way to go.
        self._await(group_id)
        if spec.name or spec.detached:
            self.recorded(group_id)
        return group_id

    def recorded(self, group_id: bytes) -> None:
        """Wait until the GCS knows the group, so that other processes may be told of it. raises: RaySystemError."""
        recording = self._recording.get(group_id)
        if recording is None:
            return
        from ray.exceptions import RaySystemError

        try:
            self._result(recording, None)
        except GcsError as refused:
            raise RaySystemError(refused.message) from None
        with self._lock:
            self._recording.pop(group_id, None)

    def ready(self, group_id: bytes, value: object) -> ObjectRef:
        """A reference to `value` that is there once every bundle is reserved; an error if the group is removed."""
        process = self._process
        object_id = process.ids.next_put()
        with process.lock:
            process.objects.create(object_id)
            process.refs.create(object_id)
        ref = ObjectRef(object_id, process.address, process)
        serialized = serialization.serialize(value).to_proto()
        awaited = self._await(group_id)
        awaited.add_done_callback(lambda done: self._settle(object_id, done, serialized))
        self._forget_answer(group_id, awaited)
        return ref

    def ready_now(self, value: object) -> ObjectRef:
        """For the group that stands for none."""
        return self._process.put(value)

    def wait(self, group_id: bytes, timeout_s: float | None) -> bool:
        """Whether every bundle is reserved, within the time. raises: RaySystemError for a group that is removed."""
        from ray.exceptions import RaySystemError

        awaited = self._await(group_id)
        try:
            info = self._result(awaited, timeout_s).placement_group_found
        except concurrent.futures.TimeoutError:
            return False
        except GcsError as refused:
            raise RaySystemError(refused.message) from None
        finally:
            self._forget_answer(group_id, awaited)
        if info.status.state == pb.PG_REMOVED:
            raise RaySystemError(info.status.cause.message or f"placement group {group_id.hex()} was removed")
        return True

    def remove(self, group_id: bytes) -> None:
        """Ask for its end; does not wait for it."""
        self._process.submitter.leasing.on_group_leaving(group_id)
        removing = self._process.gcs.request(
            remove_placement_group=pb.RemovePlacementGroup(placement_group_id=group_id)
        )
        with self._lock:
            self._awaited.pop(group_id, None)
            self._removing[group_id] = removing
        removing.add_done_callback(lambda done: self._removed(group_id, done))

    def info(self, group_id: bytes) -> pb.PlacementGroupInfo | None:
        """What the GCS knows of it; None for a group that it does not, or no longer."""
        try:
            return self._ask(find_placement_group=pb.FindPlacementGroup(placement_group_id=group_id))
        except GcsError as refused:
            if refused.code == gcs_pb2.Error.NOT_FOUND:
                return None
            raise

    def all(self) -> Sequence[pb.PlacementGroupInfo]:
        process = self._process
        with process.blocking():
            reply = process.gcs.call(list_placement_groups=pb.ListPlacementGroups())
        return reply.placement_group_list.items

    def named(self, name: str) -> pb.PlacementGroupInfo:
        """raises: ValueError when there is none."""
        wanted = pb.FindPlacementGroup(name=name, ray_namespace=self._process.namespace)
        try:
            return self._ask(find_placement_group=wanted)
        except GcsError as refused:
            raise ValueError(f"Failed to look up placement group with name: {name}: {refused.message}") from None

    def leave(self) -> None:
        """Have what was asked reach the GCS before this process goes."""
        with self._lock:
            waiting = list(self._removing.values())
        if waiting and concurrent.futures.wait(waiting, _LEAVE_S).not_done:
            log.warning("placement_groups_not_removed groups=%d reason=the GCS did not answer", len(waiting))

    # -- inside

    def _ask(self, **body: Any) -> pb.PlacementGroupInfo:
        with self._process.blocking():
            return self._process.gcs.call(**body).placement_group_found

    def _await(self, group_id: bytes) -> Future[gcs_pb2.GcsReply]:
        """The answer that comes when the group is created or removed; asked for once at a time."""
        with self._lock:
            awaited = self._awaited.get(group_id)
            if awaited is None:
                request = pb.AwaitPlacementGroup(placement_group_id=group_id)
                awaited = self._awaited[group_id] = self._process.gcs.request(await_placement_group=request)
        return awaited

    def _forget_answer(self, group_id: bytes, awaited: Future[gcs_pb2.GcsReply]) -> None:
        """One that has come: the next who asks is told how it is then."""
        if awaited.done():
            with self._lock:
                self._awaited.pop(group_id, None)

    def _result(self, future: Future[gcs_pb2.GcsReply], timeout_s: float | None) -> gcs_pb2.GcsReply:
        if future.done():
            return future.result()
        with self._process.blocking():
            return future.result(timeout_s)

    def _settle(self, object_id: bytes, done: Future[gcs_pb2.GcsReply], value: common_pb2.Value) -> None:
        from ray.exceptions import RaySystemError, TaskPlacementGroupRemoved

        process = self._process
        error = done.exception()
        if error is not None:
            value = error_value(RaySystemError(str(error)))
        else:
            status = done.result().placement_group_found.status
            if status.state == pb.PG_REMOVED:
                value = error_value(TaskPlacementGroupRemoved(status.cause.message))
        with process.lock:
            process.woken.extend((waiter, object_id) for waiter in process.objects.set_value(object_id, value))
        process.after_lock()

    def _removed(self, group_id: bytes, done: Future[gcs_pb2.GcsReply]) -> None:
        with self._lock:
            self._removing.pop(group_id, None)
            self._recording.pop(group_id, None)
        error = done.exception()
        if error is not None:
            log.warning("placement_group_not_removed group=%s reason=%s", group_id.hex(), error)


def bundle_specs(
    bundles: Sequence[Mapping[str, float]], selectors: Sequence[Sequence[common_pb2.LabelConstraint]]
) -> list[pb.BundleSpec]:
    """selectors: one a bundle, or none at all."""
    return [
        pb.BundleSpec(
            resources=ResourceSet.from_floats(bundle).to_proto(),
            label_selector=selectors[index] if selectors else (),
        )
        for index, bundle in enumerate(bundles)
    ]
