import json
import subprocess
import sys
from pathlib import Path

import ray._node.local_node
import ray._supervisor

PACKAGE = str(Path(ray._supervisor.__file__).parents[1])


def modules_after(code: str, *options: str) -> set[str]:
    command = [sys.executable, *options, "-c", f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"]
    return set(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))


def test_the_supervisor_needs_nothing_but_the_standard_library() -> None:
    code = f"import sys; sys.path.append({PACKAGE!r}); import _supervisor.main"
    roots = {name.partition(".")[0] for name in modules_after(code, "-I", "-S")}
    assert "_supervisor" in roots
    assert roots - {"_supervisor", "__main__"} <= sys.stdlib_module_names


def test_the_supervisor_leaves_out_what_makes_a_start_slow() -> None:
    code = f"import sys; sys.path.append({PACKAGE!r}); import _supervisor.main"
    assert not {"asyncio", "subprocess", "dataclasses", "inspect", "ctypes", "logging"} & modules_after(
        code, "-I", "-S"
    )


def test_starting_a_node_imports_no_heavy_module_into_the_driver() -> None:
    assert not {"grpc", "numpy", "pyarrow", "google.protobuf", "rich", "psutil", "asyncio"} & modules_after(
        "import ray._node"
    )


def test_the_node_starts_the_supervisor_by_the_folder_that_holds_it() -> None:
    assert Path(ray._node.local_node.__file__).parents[1] == Path(PACKAGE)
