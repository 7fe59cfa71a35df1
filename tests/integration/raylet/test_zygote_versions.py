"""A zygote of another protocol version: one minor behind works, two are refused and both versions named."""

import sys
from pathlib import Path

import pytest
from manta_common.version import PROTOCOL
from manta_proto.raylet.v1 import raylet_pb2

from tests.integration.raylet.node_process import ZYGOTE, running_node


def speaking(behind: int) -> dict[str, object]:
    return {"flags": ("--zygote-command", f"{sys.executable} {ZYGOTE} --behind {behind}")}


@pytest.mark.parametrize("behind", [0, 1])
async def test_a_zygote_at_most_one_minor_behind_is_used(tmp_path: Path, behind: int) -> None:
    async with running_node(tmp_path, **speaking(behind)) as node:
        driver = await node.driver()
        driver.want(1)
        assert (await driver.granted()).pid > 0


async def test_a_zygote_two_minors_behind_is_refused_with_both_versions(tmp_path: Path) -> None:
    async with running_node(tmp_path, **speaking(2)) as node:
        driver = await node.driver()
        driver.want(1)
        refused = await driver.take(raylet_pb2.LEASE_REFUSED)
        assert refused.reason == raylet_pb2.LeaseRefused.WORKER_START_FAILED
        for text in (refused.message, node.raylet.log.read_text()):
            assert f"{PROTOCOL.major}.{PROTOCOL.minor - 2}" in text and str(PROTOCOL) in text
