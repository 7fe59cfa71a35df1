import gc
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import ray

from tests.integration.conditions import wait_for
from tests.integration.lifecycle.processes import expect_memory_files_within, memory_files, of_session

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A local cluster of 4 CPUs and 2 GPUs that the module's tests share; nothing of it is left afterwards."""
    root = tmp_path_factory.mktemp("root")
    os.chmod(root, 0o700)
    files, threads = memory_files(), set(threading.enumerate())
    context = ray.init(
        num_cpus=4,
        num_gpus=2,
        resources={"slot": 3},
        object_store_memory=512 * MIB,
        _temp_dir=str(root),
        log_to_driver=False,
    )
    yield context
    ray.shutdown()
    wait_for(lambda: not of_session(str(root)), f"no process is left, but: {of_session(str(root))}", 5.0)
    expect_memory_files_within(files)

    def left() -> set[threading.Thread]:
        # gRPC's poller ends with the last of its objects, and one may be in a cycle: a traceback's, say.
        gc.collect()
        return {thread for thread in threading.enumerate() if thread.is_alive()} - threads

    wait_for(lambda: not left(), f"no thread is left, but: {left()}", 5.0)
