"""What the raylet's settings make of the devices of its machine."""

import json

import pytest
from manta_common.settings import SettingsError
from manta_raylet.server.settings import RayletSettings


def settings(gpus: float) -> RayletSettings:
    return RayletSettings(
        listen="127.0.0.1:0", gcs=("127.0.0.1:1",), node_dir="/nowhere", resources=json.dumps({"CPU": 1, "GPU": gpus})
    )


@pytest.mark.parametrize(
    ("visible", "gpus", "ids"),
    [
        ("3,5", 2, ("3", "5")),
        ("3, 5,7", 2, ("3", "5")),
        ("GPU-ab,GPU-cd", 1, ("GPU-ab",)),
        (None, 2, ()),
        ("", 0, ()),
        ("3", 0, ()),
    ],
)
def test_gpus_are_the_first_devices_that_are_visible(
    visible: str | None, gpus: int, ids: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert settings(gpus).gpu_ids == ids


def test_more_gpus_than_visible_devices_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    with pytest.raises(SettingsError, match="CUDA_VISIBLE_DEVICES lists 1"):
        settings(2)
