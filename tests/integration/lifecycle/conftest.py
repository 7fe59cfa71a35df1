from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.lifecycle.processes import expect_memory_files_within, memory_files, of_session, wait_for


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temp root of the test's own; afterwards no process, socket or shared memory of it may be left."""
    folder = tmp_path / "root"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("MANTA_TMPDIR", str(folder))
    for name in ("RAY_ADDRESS", "MANTA_TOKEN", "MANTA_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    before = memory_files()
    yield folder
    wait_for(lambda: not of_session(str(folder)), f"all processes are gone, but: {of_session(str(folder))}")
    expect_memory_files_within(before)
