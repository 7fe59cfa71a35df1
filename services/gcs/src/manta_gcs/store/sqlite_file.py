"""The SQLite file: how it is made, recognised and checked."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Final

from manta_gcs.store.errors import StoreConfigError, StoreUnavailable
from manta_gcs.store.sqlite_thread import FAILURES, damaged
from manta_gcs.store.url import SqliteUrl

APPLICATION_ID: Final = 0x4D4E5441  # "MNTA", in the file's header
SCHEMA_VERSION: Final = 1

_SCHEMA: Final = f"""
BEGIN;
CREATE TABLE records (key BLOB PRIMARY KEY, value BLOB NOT NULL, revision INTEGER NOT NULL, lease INTEGER NOT NULL);
CREATE INDEX records_by_lease ON records (lease) WHERE lease != 0;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
INSERT INTO counters VALUES ('revision', 0);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""


def connect(url: SqliteUrl) -> sqlite3.Connection:
    """Open the file, or make it with mode 0600.

    raises: StoreConfigError for one that is not a sound store; StoreUnavailable when it cannot be read or written now.
    cost: reads the whole file once, to check its pages.
    """
    if url.path is None:
        connection = sqlite3.connect(":memory:", isolation_level=None)
    else:
        path = Path(url.path)
        if not path.parent.is_dir():
            raise StoreConfigError(url.shown, f"the folder {path.parent} does not exist", "make it first")
        try:
            # SQLite would make it readable for all; its log files take the mode of this one.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            connection = sqlite3.connect(path, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise StoreConfigError(
                url.shown, f"cannot be opened: {error}", "check the path and its permissions"
            ) from error
    try:
        _prepare(connection, url)
    except (sqlite3.OperationalError, MemoryError) as error:
        _give_up(connection)
        raise StoreUnavailable("open", f"SQLite: {error or 'out of memory'}") from error
    except sqlite3.DatabaseError as error:
        _give_up(connection)
        raise damaged(url.shown, error) from error
    except StoreConfigError:
        _give_up(connection)
        raise
    return connection


def _give_up(connection: sqlite3.Connection) -> None:
    with contextlib.suppress(*FAILURES):
        connection.close()


def _prepare(connection: sqlite3.Connection, url: SqliteUrl) -> None:
    application_id, version = _pragma(connection, "application_id"), _pragma(connection, "user_version")
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if tables == 0 and application_id == 0:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(_SCHEMA)
    elif application_id != APPLICATION_ID:
        raise StoreConfigError(url.shown, "is an SQLite file of another program", "name another file")
    elif version != SCHEMA_VERSION:
        raise StoreConfigError(
            url.shown, f"has the format {version}, this GCS reads {SCHEMA_VERSION}", "use the GCS version that wrote it"
        )
    else:
        verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {url.synchronous.name}")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value = connection.execute(f"PRAGMA {name}").fetchone()[0]
    assert isinstance(value, int)
    return value


def revision_of(connection: sqlite3.Connection) -> int:
    """The store's revision as this connection sees it."""
    revision = connection.execute("SELECT value FROM counters WHERE name = 'revision'").fetchone()[0]
    assert isinstance(revision, int)
    return revision


def set_revision(connection: sqlite3.Connection, revision: int) -> None:
    connection.execute("UPDATE counters SET value = ? WHERE name = 'revision'", (revision,))
