"""What type checkers see of the public API."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
PROGRAM = Path(__file__).with_name("typed_program.py")


def check(program: Path) -> str:
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(program)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False).stdout


def test_types_go_through_remote_and_get() -> None:
    assert check(PROGRAM) == ""


def test_a_wrong_use_of_a_result_is_found(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong_program.py"
    wrong.write_text(PROGRAM.read_text() + "\nwrong: str = ray.get(double.remote(1))\n")
    assert "Incompatible types in assignment" in check(wrong)
