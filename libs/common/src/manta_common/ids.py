"""Identities: distinct byte strings for nodes, processes, jobs, actors, tasks, objects, groups and leases."""

import os
from typing import Final, NewType

NodeId = NewType("NodeId", bytes)
WorkerId = NewType("WorkerId", bytes)
JobId = NewType("JobId", bytes)
ActorId = NewType("ActorId", bytes)
TaskId = NewType("TaskId", bytes)
ObjectId = NewType("ObjectId", bytes)
PlacementGroupId = NewType("PlacementGroupId", bytes)
LeaseId = NewType("LeaseId", bytes)

NODE_ID_SIZE: Final = 28
WORKER_ID_SIZE: Final = 28
JOB_ID_SIZE: Final = 4
ACTOR_ID_SIZE: Final = 16
TASK_ID_SIZE: Final = 24
OBJECT_ID_SIZE: Final = 28
PLACEMENT_GROUP_ID_SIZE: Final = 18
LEASE_ID_SIZE: Final = 16

# The actor part of the id of a task that is not an actor's.
NO_ACTOR: Final = b"\xff" * (ACTOR_ID_SIZE - JOB_ID_SIZE)


def new_node_id() -> NodeId:
    """Draw a node id, 28 random bytes."""
    return NodeId(os.urandom(NODE_ID_SIZE))


def new_worker_id() -> WorkerId:
    """Draw a worker id, 28 random bytes."""
    return WorkerId(os.urandom(WORKER_ID_SIZE))


def new_lease_id() -> LeaseId:
    """Draw a lease id, 16 random bytes."""
    return LeaseId(os.urandom(LEASE_ID_SIZE))


def job_id(number: int) -> JobId:
    """The id of the cluster's `number`th job, 1 <= number < 2**32."""
    return JobId(number.to_bytes(JOB_ID_SIZE, "big"))


def new_actor_id(job: JobId) -> ActorId:
    """Draw the id of an actor of `job`: 12 random bytes, then the job id."""
    return ActorId(os.urandom(ACTOR_ID_SIZE - JOB_ID_SIZE) + job)


def job_of_actor(actor: ActorId) -> JobId:
    """The job that created the actor."""
    return JobId(actor[-JOB_ID_SIZE:])


def job_of_object(object_id: ObjectId) -> JobId:
    """The job whose task returned or put the object."""
    return JobId(object_id[TASK_ID_SIZE - JOB_ID_SIZE : TASK_ID_SIZE])


def object_of_task(task: TaskId, index: int) -> ObjectId:
    """The id of the `index`th (from 1) object that a task makes."""
    return ObjectId(task + index.to_bytes(OBJECT_ID_SIZE - TASK_ID_SIZE, "little"))


def short(identity: bytes) -> str:
    """The first 8 hex digits: names of sockets, and lines for people; not unique in a large cluster."""
    return identity[:4].hex()
