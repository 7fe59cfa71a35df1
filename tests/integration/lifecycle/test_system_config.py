"""ray.init(_system_config=): the keys reach who obeys them."""

from __future__ import annotations

import os
import signal
import time
import warnings
from pathlib import Path

import pytest
import ray
from ray._runtime import current
from ray.util import state

from tests.integration.conditions import wait_for


@pytest.fixture(autouse=True)
def _own_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path_factory.mktemp("root")
    os.chmod(root, 0o700)
    monkeypatch.setenv("MANTA_TMPDIR", str(root))


def call_sites(*names: str) -> list[str]:
    return [
        row.call_site or "" for row in state.list_tasks(detail=True, limit=1000) if row.name.rpartition(".")[2] in names
    ]


def test_keys_are_obeyed_by_driver_and_workers(tmp_path: Path) -> None:
    config = {
        "max_direct_call_object_size": 1000,
        "task_retry_delay_ms": 400,
        "record_task_actor_creation_sites": True,
        "metrics_report_interval_ms": 500,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ray.init(num_cpus=1, log_to_driver=False, _system_config=config)
    try:
        arena = current.runtime().arena  # type: ignore[attr-defined]
        before = arena.describe().objects_count
        ref = ray.put(bytes(5000))
        assert arena.describe().objects_count == before + 1

        @ray.remote
        def make() -> bytes:
            return bytes(5000)

        made = make.remote()
        assert len(ray.get(made)) == 5000
        assert arena.describe().objects_count == before + 2
        del ref, made

        @ray.remote(max_retries=1)
        def dies_once() -> float:
            died = tmp_path / "died"
            if not died.exists():
                died.write_text(str(time.time()))
                os.kill(os.getpid(), signal.SIGKILL)
            return time.time() - float(died.read_text())

        assert ray.get(dies_once.remote(), timeout=60) >= 0.4

        @ray.remote
        def parent() -> int:
            return len(ray.get(make.options(name="child").remote()))

        assert ray.get(parent.remote()) == 5000
        wait_for(lambda: len(call_sites("make", "child")) == 2, "tasks of driver and worker are told of")
        for site in call_sites("make", "child"):
            assert "test_system_config.py" in site or "<dynamic-code>" in site
            assert "_runtime" not in site
    finally:
        ray.shutdown()


def test_keys_of_what_is_not_there_are_warned_about() -> None:
    with pytest.warns(UserWarning, match="object_spilling_threshold has no effect: spilling is not supported yet"):
        ray.init(num_cpus=1, log_to_driver=False, _system_config={"object_spilling_threshold": 0.5})
    ray.shutdown()
