"""The programs that the README and examples/ show do what is said of them."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 90
# The census of a few small packages; main() is the example's own.
SMALL_CENSUS = """
import stdlib_census as census
everything = census.library_files()
census.library_files = lambda: [path for path in everything if path.parent.name in ("json", "email", "asyncio")]
{tampering}
raise SystemExit(census.main())
"""
TAMPERING = """
honest = census.one_by_one
def one_by_one(files, progress):
    found, together = honest(files, progress)
    found.functions += 1
    return found, together
census.one_by_one = one_by_one
"""


def run(code: str, root: Path, folder: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "MANTA_"))}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**environment, "MANTA_TMPDIR": str(root), "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def test_the_readme_program_prints_what_the_readme_says(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text()
    found = re.search(r"```python\n(.*?)```\n\nIt prints `([^`]+)`", readme, re.DOTALL)
    assert found is not None
    program, expected = found.groups()
    assert len([line for line in program.splitlines() if line.strip()]) <= 20
    result = run(program, tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == expected


def test_the_census_agrees_with_itself(tmp_path: Path) -> None:
    result = run(SMALL_CENSUS.format(tampering=""), tmp_path, ROOT / "examples")
    assert result.returncode == 0, result.stdout + result.stderr
    for shown in ("files", "functions", "longest function", "one by one", "in parallel", "the same counts"):
        assert shown in result.stdout


def test_a_census_that_differs_fails(tmp_path: Path) -> None:
    result = run(SMALL_CENSUS.format(tampering=TAMPERING), tmp_path, ROOT / "examples")
    assert result.returncode == 1, result.stdout + result.stderr
    assert "The results differ" in result.stdout
    assert "Traceback" not in result.stderr
