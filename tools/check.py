"""Run the unit tests that belong to the changed files: the loop between two edits, see CONTRIBUTING.md.

python tools/check.py [--since COMMIT] [arguments for pytest]. Changed is what differs from COMMIT (default: HEAD), and
what git does not know yet. A test belongs to a changed file when it is that file, or imports its module. A change of
anything else that tests share (conftest.py, helpers of tests) runs all of tests/unit.
"""

import ast
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UNIT = ROOT / "tests/unit"


def changed(since: str) -> list[Path]:
    """The files that differ from the commit, and the new ones; relative to the root."""
    tracked = _git("diff", "--name-only", "--diff-filter=d", since)
    return [Path(name) for name in [*tracked, *_git("ls-files", "--others", "--exclude-standard")]]


def _git(*arguments: str) -> list[str]:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()


def module_of(path: Path) -> str | None:
    """libs/client/src/ray/actor.py -> ray.actor; None for what is no module of ours."""
    parts = path.with_suffix("").parts
    if path.suffix != ".py" or "src" not in parts:
        return None
    inner = parts[parts.index("src") + 1 :]
    return ".".join(inner[:-1] if inner[-1] == "__init__" else inner)


def imports(test: Path) -> set[str]:
    """The modules that a test names in its imports, and the packages and names in them."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(test.read_bytes())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def tests_for(paths: Iterable[Path]) -> list[Path]:
    """The test files of tests/unit to run for the changed paths; the folder itself where all of it is meant."""
    paths = list(paths)
    shared = [path for path in paths if path.parts[0] == "tests" and not path.name.startswith("test_")]
    if any(path.suffix == ".py" and path.parts[1] in ("unit", "conftest.py") for path in shared):
        return [UNIT]
    modules = {module_of(path) for path in paths} - {None}
    own = {ROOT / path for path in paths if path.parts[:2] == ("tests", "unit")}
    return sorted(test for test in UNIT.rglob("test_*.py") if test in own or imports(test) & modules)


def main(argv: Sequence[str]) -> int:
    arguments = list(argv)
    since = "HEAD"
    if arguments[:1] == ["--since"]:
        since, arguments = arguments[1], arguments[2:]
    tests = tests_for(changed(since))
    if not tests:
        print("no unit test belongs to what has changed; see make test")
        return 0
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not soak", "-n", "2", "--dist", "loadfile", *arguments]
    return subprocess.run([*command, *map(str, tests)], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
