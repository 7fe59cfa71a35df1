"""Run the test suites one after the other, each with its time, and end with the totals.

python tools/run_tests.py [--soak] [suite ...]; suites are the folders of tests/. The last line is "N passed, N failed".
"""

import argparse
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUITES = ("unit", "sim", "integration", "e2e", "soak")
# By file: a file's tests share a cluster, and each cluster has folders and ports of its own. Integration tests mostly
# wait for processes, so they pay little for their neighbours.
SIDE_BY_SIDE = {
    "unit": ("-n", "2", "--dist", "loadfile"),
    "sim": ("-n", "2", "--dist", "load"),
    "integration": ("-n", "3", "--dist", "loadfile"),
    "e2e": ("-n", "2", "--dist", "load"),
}
NO_TESTS = 5  # pytest's exit code when it collected nothing
PASSING = (0, NO_TESTS)


@dataclass(frozen=True, slots=True)
class Result:
    """What a suite came to. An error outside of any test counts as one failure."""

    suite: str
    passed: int
    failed: int
    skipped: int
    seconds: float
    exit_code: int


def run(suite: str, marker: str, report: Path) -> Result:
    """Run one suite with pytest; its output goes to the terminal."""
    command = [sys.executable, "-m", "pytest", "-q", f"tests/{suite}", "-m", marker, f"--junitxml={report}"]
    started = time.monotonic()
    exit_code = subprocess.run([*command, *SIDE_BY_SIDE.get(suite, ())], cwd=ROOT, check=False).returncode
    return count(suite, report, time.monotonic() - started, exit_code)


def count(suite: str, report: Path, seconds: float, exit_code: int) -> Result:
    """Read pytest's own report. A run that wrote none, or failed without a failed test, is a failure too."""
    total = failed = skipped = 0
    if report.exists():
        for part in ElementTree.parse(report).getroot().iter("testsuite"):
            total += int(part.get("tests", 0))
            failed += int(part.get("failures", 0)) + int(part.get("errors", 0))
            skipped += int(part.get("skipped", 0))
    # A test whose teardown fails is reported twice, as a test and as an error, but counted once in "tests".
    passed = max(0, total - failed - skipped)
    if exit_code not in PASSING and failed == 0:
        failed = 1
    return Result(suite, passed, failed, skipped, seconds, exit_code)


def summary(results: Sequence[Result]) -> list[str]:
    """A line for each suite; the totals come last, for CI reads them."""
    lines = [
        f"{result.suite:<12} {result.seconds:6.1f} s  {result.passed:5} passed  {result.failed:3} failed  "
        f"{result.skipped:3} skipped"
        for result in results
    ]
    skipped = sum(result.skipped for result in results)
    totals = f"{sum(result.passed for result in results)} passed, {sum(result.failed for result in results)} failed"
    return [*lines, totals + (f", {skipped} skipped" if skipped else "")]


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suites", nargs="*", default=SUITES, metavar="suite")
    parser.add_argument("--soak", action="store_true", help="the long counts instead of the usual tests")
    arguments = parser.parse_args(argv)
    present = [suite for suite in arguments.suites if any((ROOT / "tests" / suite).rglob("test_*.py"))]
    with tempfile.TemporaryDirectory(prefix="manta-tests-") as folder:
        marker = "soak" if arguments.soak else "not soak"
        results = [run(suite, marker, Path(folder) / f"{suite}.xml") for suite in present]
    print("\n" + "\n".join(summary(results)), flush=True)
    return 1 if not results or any(result.failed for result in results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
