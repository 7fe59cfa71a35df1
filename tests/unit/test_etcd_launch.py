"""Which etcd the tests run with; the engine is a stand-in, for the choice alone is looked at."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.integration import etcd_launch as launch


class Engine:
    """Has the image, or pulls it, or cannot."""

    def __init__(self, has: bool, pulls: bool = False) -> None:
        self.has, self.pulls = has, pulls
        self.asked: list[str] = []
        self.closed = False
        self.api = SimpleNamespace(timeout=0)
        self.images = self

    def list(self, name: str) -> list[str]:
        return [name] if self.has else []

    def pull(self, image: str) -> None:
        self.asked.append(image)
        if not self.pulls:
            raise ConnectionError("no network")

    def close(self) -> None:
        self.closed = True

    def __call__(self) -> Engine:
        return self


def no_engine() -> Any:
    raise FileNotFoundError("/var/run/docker.sock")


@pytest.fixture(autouse=True)
def _a_binary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary = tmp_path / "etcd"
    binary.write_text("#!/bin/sh\necho 'etcd Version: 9.9'\n")
    binary.chmod(0o755)
    monkeypatch.setattr(launch, "find_binary", lambda _env: str(binary))


def test_an_engine_with_the_image_is_used() -> None:
    engine = Engine(has=True)
    assert launch.choose({}, engine).told == f"container of {launch.IMAGE}"
    assert not engine.asked and engine.closed


def test_an_engine_that_can_pull_the_image_is_used() -> None:
    engine = Engine(has=False, pulls=True)
    assert launch.choose({"MANTA_TEST_ETCD_IMAGE": "here/etcd:1"}, engine).told == "container of here/etcd:1"
    assert engine.asked == ["here/etcd:1"] and engine.api.timeout == launch.PULL_TIMEOUT_S


@pytest.mark.parametrize(
    ("engine", "why"), [(Engine(has=False), "cannot pull"), (no_engine, "no Docker engine answers")]
)
def test_else_the_machines_own_is_used_and_the_run_says_why(engine: Any, why: str) -> None:
    told = launch.choose({}, engine).told
    assert "etcd Version: 9.9" in told and why in told


def test_the_environment_forces_a_choice() -> None:
    assert "MANTA_TEST_ETCD=process" in launch.choose({"MANTA_TEST_ETCD": "process"}, Engine(has=True)).told
    with pytest.raises(RuntimeError, match="no Docker engine answers"):
        launch.choose({"MANTA_TEST_ETCD": "container"}, no_engine)
    with pytest.raises(RuntimeError, match="give process or container"):
        launch.choose({"MANTA_TEST_ETCD": "mock"}, no_engine)


def test_the_folders_of_all_files_that_are_named_are_mounted(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    arguments = [f"--data-dir={tmp_path}/data", "--cert-file=/certs/a.pem", "--name=x", "--key-file=/certs/b.pem"]
    assert launch.folders_of(arguments, Path("/logs/etcd.log")) == sorted([f"{tmp_path}/data", "/certs", "/logs"])
