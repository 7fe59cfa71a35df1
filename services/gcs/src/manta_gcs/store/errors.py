"""The store's error tree, split by what the caller can do next.

StoreError
 +- StoreConfigError     fix the URL, the file or the server's settings; a retry cannot help
 |   +- StoreHeldError   another GCS serves from this SQLite file
 +- StoreUnavailable     surely not applied: retry, or wait for the store
 +- OutcomeUnknown       may have been applied, now or later: step down and load again
 +- LeaseEnded           surely not applied: the lease of a put is gone; grant a new one
 +- Fenced               another replica leads: step down
 +- ChunksDamaged        a stored value's chunks are missing or altered

A malformed request (an operation over the limits, a key written twice) is a ValueError: a bug of the caller.
"""

from __future__ import annotations


class StoreError(Exception):
    """Root of what a store raises."""

    next_step = ""


class StoreConfigError(StoreError):
    """The store's URL, file or server settings cannot work as given."""

    def __init__(self, subject: str, problem: str, remedy: str) -> None:
        super().__init__(subject, problem, remedy)
        self.subject, self.problem, self.remedy = subject, problem, remedy

    def __str__(self) -> str:
        return f"store {self.subject}: {self.problem}; {self.remedy}"


class StoreHeldError(StoreConfigError):
    """Another process holds this SQLite file; a second GCS on it must not serve."""

    def __init__(self, path: str, pid: int | None, address: str) -> None:
        Exception.__init__(self, path, pid, address)
        self.path, self.pid, self.address = path, pid, address
        self.subject = f"sqlite://{path}"
        self.problem = f"is held by the GCS with pid {pid or 'unknown'} at {address or 'an unknown address'}"
        self.remedy = "stop that one first, give this one its own file, or use etcd:// to run several replicas"


class StoreUnavailable(StoreError):
    """The store cannot be reached or refuses to work; the request was surely not applied."""

    next_step = "nothing was changed: try again once the store answers"

    def __init__(self, operation: str, reason: str) -> None:
        super().__init__(operation, reason)
        self.operation, self.reason = operation, reason

    def __str__(self) -> str:
        return f"{self.operation}: {self.reason}; {self.next_step}"


class OutcomeUnknown(StoreError):
    """The request was sent and no answer came; it may have been applied, or may still be."""

    next_step = "it may have been applied: step down, and read again before anything is repeated"

    def __init__(self, operation: str, reason: str) -> None:
        super().__init__(operation, reason)
        self.operation, self.reason = operation, reason

    def __str__(self) -> str:
        return f"{self.operation}: {self.reason}; {self.next_step}"


class LeaseEnded(StoreError):
    """A put named a lease that has ended or never was; nothing was written."""

    next_step = "nothing was changed: grant a new lease"

    def __init__(self, lease_id: int) -> None:
        super().__init__(lease_id)
        self.lease_id = lease_id

    def __str__(self) -> str:
        return f"lease {self.lease_id:x} has ended; {self.next_step}"


class Fenced(StoreError):
    """The leader key is not the one this replica wrote: it was deposed, and nothing was written.

    found_revision: 0 when the key is gone; holder: its value, which tells who leads now.
    """

    next_step = "another replica leads or will: step down"

    def __init__(self, key: bytes, expected_revision: int, found_revision: int, holder: bytes) -> None:
        super().__init__(key, expected_revision, found_revision, holder)
        self.key, self.expected_revision = key, expected_revision
        self.found_revision, self.holder = found_revision, holder

    def __str__(self) -> str:
        found = f"revision {self.found_revision}" if self.found_revision else "no such key"
        return f"leader key {self.key!r}: expected revision {self.expected_revision}, found {found}; {self.next_step}"


class ChunksDamaged(StoreError):
    """The chunks of a value are incomplete or do not match their hash."""

    def __init__(self, digest: str, problem: str) -> None:
        super().__init__(digest, problem)
        self.digest, self.problem = digest, problem

    def __str__(self) -> str:
        return f"chunks of {self.digest}: {self.problem}; save the value again or restore the store from a backup"
