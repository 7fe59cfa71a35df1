"""Jobs, KV, recent deaths, and the queues around the core."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from manta_gcs.jobs.job import Jobs
from manta_gcs.jobs.kv import MAX_KEY_BYTES, KeyValues
from manta_gcs.kernel.commands import Forget, Persist
from manta_gcs.kernel.events import Moment, TimePassed
from manta_gcs.kernel.record import Table
from manta_gcs.kernel.refusal import RequestRefused
from manta_gcs.nodes.worker_death import WorkerDeaths
from manta_gcs.records.record_writer import split
from manta_gcs.server.batch_encoding import BatchEncoding
from manta_gcs.server.inbox import Inbox
from manta_gcs.server.outbox import Outbox
from manta_gcs.store import Delete, Op, Put
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import gcs_pb2

from tests.unit.gcs.core_driver import CoreDriver, address, worker_id


def test_a_job_is_recognised_by_its_driver_and_numbers_never_repeat() -> None:
    gcs = CoreDriver()
    gcs.attach(1)
    assert gcs.job(driver=1) == gcs.job(driver=1) == bytes([0, 0, 0, 1])
    gcs.ask(finish_job=gcs_pb2.FinishJob(job_id=bytes([0, 0, 0, 1])))
    assert gcs.job(driver=2) == bytes([0, 0, 0, 2])
    assert len(gcs.take_told(1, "job_started")) == 2
    listed = gcs.ask(list_jobs=gcs_pb2.ListJobs()).job_list.items
    assert [job.finished for job in listed] == [True, False]


def test_a_driver_that_is_gone_ends_its_job_however_that_is_told() -> None:
    gcs = CoreDriver()
    gcs.attach(1)
    first, second, third = (gcs.job(driver=n) for n in (1, 2, 3))
    gcs.say(1, driver_gone=gcs_pb2.DriverGone(job_id=first))
    gcs.say(1, workers_died=gcs_pb2.WorkersDiedReport(workers=[common_pb2.DeadWorker(address=address(1, 2))]))
    assert [gcs.core.jobs.is_running(job) for job in (first, second, third)] == [False, False, True]
    gcs.say(1, drain_done=gcs_pb2.DrainDone())
    assert not gcs.core.jobs.is_running(third)


def test_a_driver_declared_dead_cannot_register() -> None:
    gcs = CoreDriver()
    gcs.attach(1)
    gcs.say(1, workers_died=gcs_pb2.WorkersDiedReport(workers=[common_pb2.DeadWorker(address=address(1, 2))]))
    job = gcs_pb2.JobRecord(driver=address(1, 2))
    assert "declared dead" in gcs.ask(register_job=gcs_pb2.RegisterJob(job=job)).error.message


def test_old_finished_jobs_are_forgotten() -> None:
    jobs = Jobs(finished_limit=2)
    for number in range(3):
        job, _ = jobs.register(gcs_pb2.JobRecord(driver=address(1, number)), wall=1.0)
        commands = jobs.finish(job.job_id, wall=2.0)
    assert [type(command) for command in commands] == [Persist, Forget]
    assert len(jobs.all()) == 2 and jobs.of_driver(worker_id(0)) is None


def test_kv_puts_overwrites_lists_and_deletes_by_prefix() -> None:
    kv = KeyValues()
    assert kv.put(gcs_pb2.KvPut(ray_namespace="a", key=b"x1", value=b"1"))[0] == 1
    assert kv.put(gcs_pb2.KvPut(ray_namespace="a", key=b"x1", value=b"2")) == (0, [])
    assert kv.get(gcs_pb2.KvGet(ray_namespace="a", key=b"x1")) == b"1"
    assert kv.put(gcs_pb2.KvPut(ray_namespace="a", key=b"x1", value=b"3", overwrite=True))[0] == 0
    assert kv.get(gcs_pb2.KvGet(ray_namespace="b", key=b"x1")) is None
    kv.put(gcs_pb2.KvPut(ray_namespace="a", key=b"x2", value=b""))
    kv.put(gcs_pb2.KvPut(ray_namespace="a", key=b"y", value=b""))
    assert kv.keys(gcs_pb2.KvKeys(ray_namespace="a", prefix=b"x")) == [b"x1", b"x2"]
    count, commands = kv.delete(gcs_pb2.KvDelete(ray_namespace="a", key=b"x", by_prefix=True))
    assert count == 2 and {type(command) for command in commands} == {Forget}
    assert kv.get(gcs_pb2.KvGet(ray_namespace="a", key=b"y")) == b""
    with pytest.raises(RequestRefused, match="1 to 4096 bytes"):
        kv.put(gcs_pb2.KvPut(key=b"k" * (MAX_KEY_BYTES + 1)))


def test_finished_jobs_are_bounded_in_bytes_and_found_by_their_drivers_until_they_are_forgotten() -> None:
    jobs = Jobs()
    size = 100_000
    forgotten = 0
    for number in range(100):
        wanted = gcs_pb2.JobRecord(driver=address(1, number), runtime_env="x" * size)
        job, _ = jobs.register(wanted, wall=1.0)
        assert jobs.is_running(job.job_id) and jobs.running_count == 1
        forgotten += sum(isinstance(command, Forget) for command in jobs.finish(job.job_id, wall=2.0))
    assert len(jobs.all()) == 100 - forgotten == 8 * 1024 * 1024 // size
    assert jobs.of_driver(worker_id(0)) is None
    last = jobs.of_driver(worker_id(99))
    assert last is not None and last.finished and not jobs.is_running(last.job_id)


def test_recent_deaths_are_bounded_and_told_once() -> None:
    deaths = WorkerDeaths(limit=2)
    dead = [common_pb2.DeadWorker(address=address(1, n)) for n in range(3)]
    assert deaths.add(dead) == dead
    assert deaths.add(dead[1:]) == []
    assert deaths.recent() == dead[1:]
    assert deaths.get(worker_id(0)) is None


def test_a_request_without_a_known_body_is_refused() -> None:
    assert CoreDriver().ask().error.code == gcs_pb2.Error.INVALID


def test_every_request_of_the_protocol_has_an_answer() -> None:
    gcs = CoreDriver()
    for field in gcs_pb2.ClientRequest.DESCRIPTOR.oneofs_by_name["body"].fields:
        if field.name != "hello":
            assert gcs.ask(**{field.name: {}}).WhichOneof("body") is not None, field.name


def test_a_group_over_the_limits_of_a_txn_is_cut() -> None:
    operations: list[Op] = [Delete(b"%d" % n) for n in range(250)]
    assert [len(part) for part in split(operations)] == [100, 100, 50]
    large: list[Op] = [Put(b"%d" % n, bytes(400_000)) for n in range(5)]
    assert [len(part) for part in split(large)] == [2, 2, 1]
    assert Table.KV.value == "kv"


async def test_an_outbox_sends_all_that_waits_at_once_and_ends_after_its_last_item() -> None:
    outbox = Outbox()
    for number in range(3):
        outbox.put(b"%d" % number)
    outbox.close("done")
    outbox.put(b"9")
    assert [batch async for batch in outbox.batches()] == [[b"0", b"1", b"2"]]


async def test_an_outbox_cuts_batches_by_size_and_drops_a_reader_that_is_too_slow() -> None:
    outbox = Outbox(limit_bytes=1000, batch_bytes=250)
    item = bytes(104)
    for _ in range(5):
        outbox.put(item)
    batches = outbox.batches()
    assert len(await anext(batches)) == 2
    for _ in range(9):
        outbox.put(item)
    assert "too slow" in (outbox.closed_because or "")
    assert [batch async for batch in batches] == []


async def test_a_full_inbox_refuses_offers_and_lets_puts_wait() -> None:
    inbox = Inbox(limit=2)
    event = TimePassed(Moment(1, 1))
    assert inbox.offer(event) and inbox.offer(event) and not inbox.offer(event)
    waiting = asyncio.create_task(inbox.put(event))
    assert len(await inbox.batch(10, None)) == 2
    assert len(await inbox.batch(10, None)) == 1
    await waiting
    assert await inbox.batch(10, 0.01) == []


@given(st.lists(st.binary(max_size=400), max_size=5), st.integers(0, 2**63))
def test_a_batch_of_encoded_items_reads_as_one_that_was_made_of_messages(values: list[bytes], epoch: int) -> None:
    items = [gcs_pb2.GcsToNode(declared_dead=gcs_pb2.DeclaredDead(reason=value.hex())) for value in values]
    encoding = BatchEncoding(gcs_pb2.GcsToNodeBatch(epoch=epoch), "messages")
    read = gcs_pb2.GcsToNodeBatch.FromString(encoding.join(item.SerializeToString() for item in items))
    assert read == gcs_pb2.GcsToNodeBatch(epoch=epoch, messages=items)
