"""What the client's hot path and every forked worker import must stay light."""

import subprocess
import sys

import pytest

HEAVY = {"asyncio", "click", "structlog", "grpc", "prometheus_client", "numpy", "pyarrow"}
LIGHT = [
    "manta_common.ids",
    "manta_common.resources",
    "manta_common.version",
    "manta_common.credentials",
    "manta_common.process",
    "manta_common.channel.framing",
    "manta_common.channel.hello",
    "manta_common.channel.paths",
]


def loaded_by(module: str) -> set[str]:
    code = f"import {module}, sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=30, check=True)
    return {name.partition(".")[0] for name in run.stdout.split()}


@pytest.mark.parametrize("module", LIGHT)
def test_a_light_module_loads_nothing_heavy(module: str) -> None:
    assert loaded_by(module) & HEAVY == set()


def test_a_unix_channel_loads_no_logging_library_and_no_grpc() -> None:
    assert loaded_by("manta_common.channel.unix_asyncio") & (HEAVY - {"asyncio"}) == set()
