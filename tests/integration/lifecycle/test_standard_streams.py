"""Drivers without standard descriptors, as daemons and cron jobs are, or with streams that are no files."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.lifecycle.processes import of_session, wait_for

DRIVER = """
import os, sys
how = sys.argv[1]
if how == "none":
    sys.stdin = sys.stdout = sys.stderr = None
elif how == "no files":
    class Stream:
        def write(self, text): return len(text)
        def flush(self): pass
    sys.stdout = sys.stderr = Stream()
import ray
ray.init(num_cpus=1, object_store_memory=100 << 20)

@ray.remote
def f():
    print("out")
    print("err", file=sys.stderr)
    os.write(1, b"raw")
    return sys.stdin.read()

assert ray.get(f.remote(), timeout=60) == ""
kinds = [os.readlink(f"/proc/self/fd/{number}").partition(":")[0] for number in range(3)]
ray.shutdown()
with open(sys.argv[2], "w") as file:
    file.write(" ".join(kinds))
"""


@pytest.mark.parametrize("how", ["0<&-", "0<&- 1>&-", "1>&- 2>&-", "0<&- 1>&- 2>&-", "none", "no files"])
def test_a_driver_needs_no_standard_streams(root: Path, how: str) -> None:
    redirections = how if "&" in how else ""
    mark = root / "mark"
    command = f"exec {shlex.join([sys.executable, '-c', DRIVER, how, str(mark)])} {redirections}"
    subprocess.run(["bash", "-c", command], stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
    assert mark.exists(), "the driver did not come to its end"
    assert "socket" not in mark.read_text()
    wait_for(lambda: of_session(str(root)) == {}, "all processes are gone")


def test_ray_start_needs_no_standard_streams(root: Path) -> None:
    ray = str(Path(sys.executable).with_name("ray"))
    start = f"exec {shlex.join([ray, 'start', '--head', '--port=0', '--num-cpus=1'])} 0<&- 1>&- 2>&-"
    try:
        assert subprocess.run(["bash", "-c", start], timeout=120).returncode == 0
        assert any("manta-raylet" in command for command in of_session(str(root)).values())
    finally:
        subprocess.run([ray, "stop"], env=os.environ, capture_output=True, timeout=120, check=True)


def test_a_supervisor_that_says_nothing_is_ended(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray._node.local_node as local_node
    from ray._node import NodeOptions, NodeStartError, start_local

    # It closes what it is to write to, is deaf to SIGTERM, and lives on.
    deaf = (
        "import os, signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print(sys.argv[1:], file=open('/dev/null', 'w'));"
        "spec = __import__('json').load(open(int(sys.argv[-1])));"
        "os.close(spec['ready_fd']); signal.pause()"
    )
    monkeypatch.setattr(local_node, "_BOOTSTRAP", deaf)
    monkeypatch.setattr(local_node, "_CLEAN_UP_S", 0.1)
    with pytest.raises(NodeStartError, match="without a word"):
        start_local(NodeOptions(num_cpus=1, object_store_memory=100 << 20, stop_grace_s=0.1))
