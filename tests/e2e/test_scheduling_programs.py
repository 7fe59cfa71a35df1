"""The programs of the spec's Scheduling and Resources chapters."""

from pathlib import Path

import pytest

from tests.e2e.user_program import PROGRAMS, run

DRIVER_LINES = {
    "default": ["1 1", "3"],
    "spread": ["[2, 2, 2] 4"],
    "node_affinity": ["True"] * 7,
    "locality": ["[1048576, 1]", "True", "True", "True"],
    "resources": [
        "{'CPU': 3.0, 'GPU': 4.0, 'special_hardware': 1.0, 'custom_label': 1.0}",
        "True True 1.0",
        "1 1",
        "{'custom_label': 0.001}",
        *["refused"] * 4,
        "[]",
    ],
    "cluster_start": ['{"CPU": 3.0, "GPU": 4.0, "special_hardware": 1.0, "custom_label": 1.0}'],
}
OF_THEIR_OWN = {"fractions"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir(mode=0o700)
    return folder


def test_every_program_here_is_run() -> None:
    assert {path.stem for path in (PROGRAMS / "scheduling").glob("*.py")} == {*DRIVER_LINES, *OF_THEIR_OWN}


@pytest.mark.parametrize("name", DRIVER_LINES)
def test_a_program_prints_what_follows_from_the_spec(name: str, root: Path) -> None:
    output = run(f"scheduling/{name}", root)
    assert output.own == DRIVER_LINES[name]
    assert output.workers == []


def test_two_actors_of_half_a_gpu_share_one(root: Path) -> None:
    output = run("scheduling/fractions", root, until=lambda output: len(output.workers) >= 2)
    assert [name for name, _ in output.workers] == ["IOActor", "IOActor"]
    first, second = [text for _, text in output.workers]
    assert first == second and first in ("CUDA_VISIBLE_DEVICES: 0", "CUDA_VISIBLE_DEVICES: 1")
    assert len(set(output.pids)) == 2
