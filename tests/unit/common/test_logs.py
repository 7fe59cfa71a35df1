import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from manta_common import logs
from manta_common.channel.connection import log_connection


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root, manta = logging.getLogger(), logging.getLogger("manta")
    handlers, level, manta_level = list(root.handlers), root.level, manta.level
    yield
    logs.configure("", "warning")
    root.handlers[:] = handlers
    root.setLevel(level)
    manta.setLevel(manta_level)


def lines(file: Path) -> list[str]:
    return file.read_text().splitlines()


def test_an_event_is_one_line_with_ids_in_full(tmp_path: Path) -> None:
    log = logs.get("lease")
    logs.configure("raylet", "info", str(tmp_path / "log"))
    log.info("lease_granted", lease_id=b"\xab" * 16, waited_s=0.0181234567, reason='a "b"\nc=d', hops=1)
    [line] = lines(tmp_path / "log")
    assert re.match(r"ts=20\d\d-\d\d-\d\dT[\d:.]+Z level=info part=raylet logger=lease event=lease_granted ", line)
    assert f"lease_id={'ab' * 16} waited_s=0.0181235 " in line
    assert r'reason="a \"b\"\nc=d" hops=1' in line


def test_levels_below_the_configured_one_are_dropped_also_when_it_changes(tmp_path: Path) -> None:
    log = logs.get("x")
    logs.configure("gcs", "warning", str(tmp_path / "log"))
    log.info("dropped")
    log.warning("kept")
    logs.configure("gcs", "debug", str(tmp_path / "log"))
    log.debug("kept_too")
    assert [re.search(r"event=(\w+)", line)[1] for line in lines(tmp_path / "log")] == ["kept", "kept_too"]  # type: ignore[index]


def test_an_exception_stays_in_its_line(tmp_path: Path) -> None:
    logs.configure("gcs", "info", str(tmp_path / "log"))
    try:
        raise LookupError("gone")
    except LookupError:
        logs.get("x").exception("load_failed", key=b"\x01")
    [line] = lines(tmp_path / "log")
    assert "level=error" in line and "key=01" in line and "LookupError: gone" in line


def test_bound_fields_are_in_each_event(tmp_path: Path) -> None:
    logs.configure("gcs", "info", str(tmp_path / "log"))
    log = logs.get("x").bind(cause_id="c1")
    log.info("a")
    log.info("b")
    assert all("cause_id=c1" in line for line in lines(tmp_path / "log"))


def test_the_standard_librarys_records_come_along(tmp_path: Path) -> None:
    logs.configure("gcs", "info", str(tmp_path / "log"))
    logging.getLogger("asyncio").warning("slow %s", "callback")
    logging.getLogger("asyncio").info("its inner life")
    log_connection("connection_refused", path="/s", reason="no token")
    library, ours = lines(tmp_path / "log")
    assert 'event=library_logged message="slow callback"' in library and "logger=asyncio" in library
    assert 'event=connection_refused path=/s reason="no token"' in ours


def test_an_unknown_level_and_an_unwritable_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'loud'"):
        logs.configure("gcs", "loud")
    with pytest.raises(FileNotFoundError):
        logs.configure("gcs", "info", str(tmp_path / "nowhere" / "log"))


def test_a_full_disk_ends_nobody_and_the_loss_is_told(tmp_path: Path) -> None:
    log = logs.get("x")
    logs.configure("gcs", "info", "/dev/full")
    log.info("lost")
    log.info("lost")
    logs._OUTPUT.redirect(str(tmp_path / "log"))
    log.info("kept")
    [line] = lines(tmp_path / "log")
    assert line.endswith("event=kept lines_lost_before=2")


def test_the_log_goes_to_stderr_and_a_broken_pipe_ends_nobody() -> None:
    code = (
        "import sys; from manta_common import logs; log = logs.get('x'); logs.configure('gcs', 'info');"
        "log.info('first'); sys.stdin.readline(); log.info('second'); log.info('third'); print('alive')"
    )
    reader, writer = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=writer
    ) as child:
        os.close(writer)
        assert b"event=first" in os.read(reader, 4096)
        os.close(reader)
        out, _ = child.communicate(b"\n", timeout=10)
    assert out == b"alive\n" and child.returncode == 0
