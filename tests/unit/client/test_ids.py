"""Typed ids: sizes, parts, equality, pickling."""

import copy
import pickle

import pytest
import ray
from ray._ids import BaseID

ALL = [ray.UniqueID, ray.NodeID, ray.WorkerID, ray.JobID, ray.ActorID, ray.TaskID, ray.PlacementGroupID]


@pytest.mark.parametrize("kind", ALL)
def test_an_id_comes_back_from_its_bytes_its_digits_and_a_pickle(kind: type[BaseID]) -> None:
    raw = bytes(range(1, kind.size() + 1))
    made = kind.from_binary(raw)
    assert made.binary() == raw
    assert kind.from_hex(made.hex()) == made
    assert pickle.loads(pickle.dumps(made)) == made
    assert copy.deepcopy(made) == made
    assert hash(kind(raw)) == hash(made)
    assert repr(made) == f"{kind.__name__}({raw.hex()})"


@pytest.mark.parametrize("kind", ALL)
def test_nil_is_of_the_right_size_and_only_nil_is_nil(kind: type[BaseID]) -> None:
    assert kind.nil().is_nil()
    assert len(kind.nil().binary()) == kind.size()
    assert not kind(b"\x00" * kind.size()).is_nil()


@pytest.mark.parametrize("kind", ALL)
def test_bytes_of_another_size_or_type_are_refused(kind: type[BaseID]) -> None:
    with pytest.raises(ValueError, match=str(kind.size())):
        kind(b"\x00" * (kind.size() + 1))
    with pytest.raises(TypeError, match="str"):
        kind("00" * kind.size())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="non-hexadecimal"):
        kind.from_hex("zz")


def test_ids_of_two_types_differ_though_their_bytes_are_equal() -> None:
    raw = b"x" * 28
    assert ray.NodeID(raw) != ray.WorkerID(raw)
    assert ray.NodeID(raw) != raw


def test_random_ids_differ() -> None:
    assert ray.NodeID.from_random() != ray.NodeID.from_random()


def test_the_job_is_part_of_the_ids_made_for_it() -> None:
    job = ray.JobID.from_int(7)
    assert job.int() == 7
    driver = ray.TaskID.for_driver_task(job)
    actor = ray.ActorID.of(job, driver, 1)
    assert actor.job_id == job
    assert driver.job_id() == job
    assert ray.TaskID.for_actor_task(job, driver, 2, actor).actor_id() == actor
    assert ray.TaskID.for_actor_creation_task(actor).actor_id() == actor
    assert ray.PlacementGroupID.of(job).job_id() == job


def test_derived_ids_are_the_same_when_repeated_and_differ_by_counter() -> None:
    job = ray.JobID.from_int(1)
    driver = ray.TaskID.for_driver_task(job)
    assert ray.TaskID.for_normal_task(job, driver, 1) == ray.TaskID.for_normal_task(job, driver, 1)
    assert ray.TaskID.for_normal_task(job, driver, 1) != ray.TaskID.for_normal_task(job, driver, 2)
    assert ray.ActorID.of(job, driver, 1) != ray.ActorID.of(job, driver, 2)


def test_the_shard_hash_is_the_same_in_every_process() -> None:
    assert ray.NodeID(b"x" * 28).redis_shard_hash() == ray.NodeID(b"x" * 28).redis_shard_hash() != 0
