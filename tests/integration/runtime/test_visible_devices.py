"""The GPUs of a node whose processes may see only some devices."""

from pathlib import Path

import pytest

from tests.integration.runtime.driver_program import DriverProgram


@pytest.mark.parametrize(("override", "without"), [("0", "3,5 []"), ("1", "none []")])
def test_the_devices_of_a_node_are_those_that_it_may_see(tmp_path: Path, override: str, without: str) -> None:
    body = """
import os, ray
ray.init(num_cpus=1, num_gpus=2, object_store_memory=100 << 20)
@ray.remote(num_cpus=0)
def seen():
    return os.environ["CUDA_VISIBLE_DEVICES"] or "none", ray.get_gpu_ids()
print("one", *ray.get(seen.options(num_gpus=1).remote()), flush=True)
print("without", *ray.get(seen.remote()), flush=True)
print("both", *ray.get(seen.options(num_gpus=2).remote()), flush=True)
"""
    variables = {"CUDA_VISIBLE_DEVICES": "3,5", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": override}
    with DriverProgram(body, tmp_path / "root", **variables) as driver:
        assert driver.line_after("one") in ("3 [3]", "5 [5]")
        assert driver.line_after("without") == without
        assert driver.line_after("both") == "3,5 [3, 5]"
        driver.end()
