"""The SQLite driver's file: kept over kill -9, locked, checked, private."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from manta_gcs.store import (
    Leadership,
    Put,
    Resync,
    StoreConfigError,
    StoreHeldError,
    open_store,
)

from tests.integration.store.waiting import Watcher

WRITER = """
import asyncio, sys
from manta_gcs.store import Leadership, Put, open_store

async def main() -> None:
    store = await open_store(sys.argv[1], holder="127.0.0.1:4711")
    leadership = Leadership(store, b"/leader", b"first")
    print("epoch", await leadership.campaign(), flush=True)
    number = 0
    while True:
        await store.write([[Put(b"/row/%06d" % number, b"x" * 100), Put(b"/last", b"%d" % number)]], leadership.fence)
        print(number, flush=True)
        number += 1

asyncio.run(main())
"""


@pytest.mark.parametrize("synchronous", ["off", "full"])
async def test_what_was_acknowledged_survives_kill_9_and_the_next_epoch_is_higher(
    tmp_path: Path, synchronous: str
) -> None:
    url = f"sqlite://{tmp_path}/gcs.db?synchronous={synchronous}"
    writer = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, url, stdout=asyncio.subprocess.PIPE, env=dict(os.environ)
    )
    assert writer.stdout is not None
    async with asyncio.timeout(20):
        epoch = int((await writer.stdout.readline()).split()[1])
        for _ in range(200):
            line = await writer.stdout.readline()
        with pytest.raises(StoreHeldError, match="4711") as caught:
            await open_store(url)
        assert caught.value.pid == writer.pid
        writer.send_signal(signal.SIGKILL)
        rest = await writer.stdout.read()
        await writer.wait()
    acknowledged = int((rest.split() or [line])[-1])
    store = await open_store(url)
    rows, _ = await store.range(b"/row/")
    last = await store.get(b"/last")
    assert last is not None and len(rows) == int(last.value) + 1 >= acknowledged + 1
    leadership = Leadership(store, b"/leader", b"second")
    async with asyncio.timeout(1):  # the dead process's lease is not waited for: its lock is proof enough
        assert await leadership.campaign() > epoch
    await store.close()


async def test_a_second_store_on_the_same_file_is_refused_until_the_first_is_closed(tmp_path: Path) -> None:
    url = f"sqlite://{tmp_path}/gcs.db"
    first = await open_store(url, holder="10.0.0.1:6379")
    with pytest.raises(StoreHeldError, match=rf"pid {os.getpid()} at 10\.0\.0\.1:6379"):
        await open_store(url)
    await first.close()
    await (await open_store(url)).close()


async def test_revisions_records_and_their_compares_survive_a_restart_and_watches_list_anew(tmp_path: Path) -> None:
    url = f"sqlite://{tmp_path}/gcs.db"
    store = await open_store(url)
    first = await store.put_if(b"/a", b"1", 0)
    lease = await store.grant_lease(60)
    await store.txn([], [Put(b"/leased", b"", lease.id)])
    await store.close()
    store = await open_store(url)
    record = await store.get(b"/a")
    assert record is not None and record.revision == first.revision
    assert await store.get(b"/leased") is None, "the lease ended with its process"
    async with Watcher(store.watch(b"/", first.revision)) as watcher:
        await watcher.wait_for(lambda: watcher.resyncs != [])
        second = await store.put_if(b"/a", b"2", first.revision)
        assert second.succeeded and second.revision > first.revision
        await watcher.wait_for(lambda: watcher.events != [])
    assert [r.key for r in watcher.resyncs[0].records] == [b"/a"]
    await store.close()


async def test_a_slow_watch_that_falls_out_of_the_kept_history_lists_anew(tmp_path: Path) -> None:
    store = await open_store("sqlite:memory")
    first = await store.txn([], [Put(b"/k", b"0")])
    batches = store.watch(b"/k", first.revision)
    await anext(batches)
    for i in range(50):
        await store.txn([], [Put(b"/k", b"%d" % i + b"x" * 1_000_000)])
    batch = await anext(batches)
    assert isinstance(batch, Resync) and batch.records[0].value.startswith(b"49x")
    await batches.aclose()
    await store.close()


async def test_the_files_are_for_their_owner_only(tmp_path: Path) -> None:
    store = await open_store(f"sqlite://{tmp_path}/gcs.db")
    await store.txn([], [Put(b"/a", b"")])
    modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in os.scandir(tmp_path)}
    assert {"gcs.db", "gcs.db-wal", "gcs.db.lock"} <= modes.keys() and set(modes.values()) == {0o600}
    await store.close()


async def test_a_file_that_is_no_sound_store_is_refused_by_name(tmp_path: Path) -> None:
    text = tmp_path / "text.db"
    text.write_text("not a database, but long enough to be taken for one " * 50)
    foreign = tmp_path / "foreign.db"
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE users (name TEXT)")
    connection.commit()
    connection.close()
    newer = tmp_path / "newer.db"
    await (await open_store(f"sqlite://{newer}")).close()
    connection = sqlite3.connect(newer)
    connection.execute("PRAGMA user_version = 99")
    connection.commit()
    connection.close()
    damaged = tmp_path / "damaged.db"
    store = await open_store(f"sqlite://{damaged}")
    for i in range(50):
        await store.txn([], [Put(b"/%d" % i, b"x" * 5000)])
    await store.close()
    content = bytearray(damaged.read_bytes())
    content[4096 * 3 :] = os.urandom(len(content) - 4096 * 3)
    damaged.write_bytes(content)
    for path, message in ((text, "damaged"), (foreign, "another program"), (newer, "format 99"), (damaged, "damaged")):
        for _ in range(2):  # the lock of the failed attempt must be free again
            with pytest.raises(StoreConfigError, match=message) as caught:
                await open_store(f"sqlite://{path}")
            assert not isinstance(caught.value, StoreHeldError) and str(path) in str(caught.value)
    with pytest.raises(StoreConfigError, match="folder"):
        await open_store(f"sqlite://{tmp_path}/nowhere/gcs.db")


async def test_sqlite_calls_do_not_hold_the_event_loop(tmp_path: Path) -> None:
    store = await open_store(f"sqlite://{tmp_path}/gcs.db?synchronous=off")
    for i in range(60):
        await store.txn([], [Put(b"/big/%d" % i, b"x" * 1_000_000)])
    listing = asyncio.create_task(store.range(b"/big/"))
    turns = 0
    while not listing.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 10 and len(listing.result()[0]) == 60
    await store.close()


async def test_a_closed_store_leaves_no_thread_and_no_lock(tmp_path: Path) -> None:
    script = (
        "import asyncio, sys, threading\n"
        "from manta_gcs.store import open_store\n"
        "async def main():\n"
        "    store = await open_store(sys.argv[1])\n"
        "    await store.close()\n"
        "    print(sorted(t.name for t in threading.enumerate()))\n"
        "asyncio.run(main())\n"
    )
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", script, f"sqlite://{tmp_path}/gcs.db"],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert done.stdout.strip() == "['MainThread']", done.stderr
