"""A real Prometheus that scrapes pages of the tests' clusters."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conditions import wait_for

_CONFIG = """\
global:
  scrape_interval: 2s
  scrape_timeout: 2s
scrape_configs:
  - job_name: ray
    honor_labels: true
    static_configs:
      - targets: {targets}
"""
_LISTENS = re.compile(r'msg="Listening on" address=(\S+)')
# Until it has read its empty data folder, on a busy machine.
START_S = 60.0


class Prometheus:
    """One server; `query` asks it as a person would."""

    def __init__(self, address: str) -> None:
        self.address = address

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The present series of an expression: labels and value."""
        asked = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"http://{self.address}/api/v1/query?{asked}", timeout=20) as answer:
            found = json.load(answer)
        assert found["status"] == "success", found
        return [{**series["metric"], "value": float(series["value"][1])} for series in found["data"]["result"]]


@contextmanager
def prometheus(folder: Path, targets: Sequence[str]) -> Iterator[Prometheus]:
    """Scrape these host:port every other second; the test is skipped where there is no Prometheus.

    A page that does not come within that takes its series away until the next one does: wait for what is to be seen.
    """
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("no prometheus on PATH: apt-get install prometheus")
    config, said = folder / "prometheus.yml", folder / "prometheus.log"
    config.write_text(_CONFIG.format(targets=json.dumps(list(targets))))
    arguments = [f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    with said.open("wb") as log:
        process = subprocess.Popen(
            [binary, *arguments, "--web.listen-address=127.0.0.1:0"], stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
    try:
        wait_for(lambda: _LISTENS.search(said.read_text()) or process.poll() is not None, "Prometheus serves", START_S)
        listens = _LISTENS.search(said.read_text())
        assert listens is not None, said.read_text()
        yield Prometheus(listens[1])
    finally:
        process.kill()
        process.wait()
