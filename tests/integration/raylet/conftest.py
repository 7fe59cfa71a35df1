import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from manta_common.credentials import Token

from tests.integration.raylet.node_process import TestNode


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[TestNode]:
    """One node with 2 CPUs."""
    one = TestNode(tmp_path, Token(secrets.token_hex(16).encode()))
    try:
        await one.start()
        yield one
    finally:
        await one.stop()
