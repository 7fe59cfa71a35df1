"""Small programs after what users reported; cases/README.md says what each of them shows."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CASES = Path(__file__).with_name("cases")
# Long enough for the slowest case on a machine with other work beside it; a hang is what it ends.
LIMIT_S = 300


@pytest.mark.timeout(LIMIT_S + 30)
@pytest.mark.parametrize("name", sorted(path.name for path in CASES.glob("*.py")))
def test_a_case_ends_with_0(name: str, tmp_path: Path) -> None:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "MANTA_"))}
    # Sessions of its own, so that nothing of another test is found; the root's path is short, for sockets lie below it.
    environment = {**clean, "MANTA_TMPDIR": str(tmp_path / "root")}
    (tmp_path / "root").mkdir(mode=0o700)
    empty = tmp_path / "empty"
    empty.mkdir()
    program = subprocess.run(
        [sys.executable, str(CASES / name)],
        cwd=empty,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert program.returncode == 0, program.stdout


def test_every_case_is_described() -> None:
    described = (CASES / "README.md").read_text()
    assert [path.name for path in CASES.glob("*.py") if f"| {path.name} |" not in described] == []
