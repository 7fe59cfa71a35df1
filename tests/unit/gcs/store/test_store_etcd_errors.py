"""What failed etcd calls mean; the texts are those that servers of 3.4 and 3.5 send."""

from __future__ import annotations

import random
from typing import Any

import pytest
from grpc import StatusCode
from manta_gcs.store.errors import LeaseEnded, OutcomeUnknown, StoreConfigError, StoreUnavailable
from manta_gcs.store.etcd_channel import CallFailed, EtcdChannel
from manta_gcs.store.etcd_errors import Verdict, verdict_of
from manta_gcs.store.etcd_methods import TXN
from manta_gcs.store.url import EtcdUrl
from manta_proto.etcd.v3 import rpc_pb2 as pb

S, V = StatusCode, Verdict


@pytest.mark.parametrize(
    ("code", "details", "verdict"),
    [
        (S.UNAVAILABLE, "failed to connect to all addresses; last error: UNKNOWN: ... refused", V.NOT_SENT),
        (S.UNAVAILABLE, "DNS resolution failed for nowhere:2379", V.NOT_SENT),
        (S.UNAVAILABLE, "etcdserver: no leader", V.REFUSED),
        (S.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded", V.REFUSED),
        (S.RESOURCE_EXHAUSTED, "etcdserver: too many requests", V.REFUSED),
        (S.RESOURCE_EXHAUSTED, "CLIENT: Received message larger than max (1 vs. 0)", V.TOO_LARGE_TO_RECEIVE),
        (S.UNAVAILABLE, "Socket closed", V.UNKNOWN),
        (S.UNAVAILABLE, "Stream removed (ping timeout)", V.UNKNOWN),
        (S.UNAVAILABLE, "etcdserver: request timed out", V.UNKNOWN),
        (S.UNAVAILABLE, "etcdserver: leader changed", V.UNKNOWN),
        (S.UNAVAILABLE, "etcdserver: server stopped", V.UNKNOWN),
        (S.UNKNOWN, "context deadline exceeded", V.UNKNOWN),
        (S.DEADLINE_EXCEEDED, "Deadline Exceeded", V.UNKNOWN),
        (S.INTERNAL, "Received RST_STREAM with error code 2", V.UNKNOWN),
        (S.CANCELLED, "", V.UNKNOWN),
        (S.UNAUTHENTICATED, "etcdserver: invalid auth token", V.REAUTHENTICATE),
        (S.INVALID_ARGUMENT, "etcdserver: revision of auth store is old", V.REAUTHENTICATE),
        (S.UNKNOWN, "auth: revision in header is old", V.REAUTHENTICATE),
        (S.INVALID_ARGUMENT, "etcdserver: authentication failed, invalid user ID or password", V.CONFIG),
        (S.INVALID_ARGUMENT, "etcdserver: user name is empty", V.CONFIG),
        (S.INVALID_ARGUMENT, "etcdserver: request is too large", V.BUG),
        (S.INVALID_ARGUMENT, "etcdserver: duplicate key given in txn request", V.BUG),
        (S.FAILED_PRECONDITION, "etcdserver: authentication is not enabled", V.AUTH_OFF),
        (S.PERMISSION_DENIED, "etcdserver: permission denied", V.CONFIG),
        (S.UNIMPLEMENTED, "", V.CONFIG),
        (S.OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted", V.COMPACTED),
        (S.OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision", V.BUG),
        (S.NOT_FOUND, "etcdserver: requested lease not found", V.LEASE_GONE),
    ],
)
def test_what_a_status_means(code: StatusCode, details: str, verdict: Verdict) -> None:
    assert verdict_of(code, details) is verdict


@pytest.mark.parametrize("code", list(StatusCode))
def test_an_unheard_of_failure_is_never_taken_for_unapplied(code: StatusCode) -> None:
    harmless = {V.NOT_SENT, V.REFUSED, V.COMPACTED, V.LEASE_GONE, V.AUTH_OFF, V.TOO_LARGE_TO_RECEIVE}
    assert verdict_of(code, "something new") not in harmless


@pytest.mark.parametrize("verdict", list(Verdict))
def test_every_verdict_has_an_error_for_the_caller(verdict: Verdict) -> None:
    error = CallFailed("Txn", verdict, "why").as_store_error("etcd://h:2379")
    expected: dict[Verdict, type[Exception]] = {
        V.UNKNOWN: OutcomeUnknown,
        V.CONFIG: StoreConfigError,
        V.AUTH_OFF: StoreConfigError,
        V.BUG: ValueError,
        V.LEASE_GONE: LeaseEnded,
    }
    assert type(error) is expected.get(verdict, StoreUnavailable)


class LongestDelays(random.Random):
    def uniform(self, a: float, b: float) -> float:
        return b


async def test_a_change_that_is_refused_is_not_sent_again_without_time_for_its_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[float] = []

    async def refuse(_endpoint: Any, method: Any, _request: Any, timeout_s: float, _metadata: Any) -> Any:
        given.append(timeout_s)
        raise CallFailed(method.name, V.REFUSED, "database space exceeded")

    # The fourth pause would end 0.3 s after the beginning, with less than a quarter of the time left.
    channel = EtcdChannel(EtcdUrl(("127.0.0.1:1",), timeout_s=0.38), LongestDelays())
    monkeypatch.setattr(channel, "_attempt", refuse)
    with pytest.raises(CallFailed, match="space exceeded") as caught:
        await channel.change(TXN, pb.TxnRequest())
    assert caught.value.verdict is V.NOT_SENT
    assert given and min(given) > 0.095
    await channel.close()
