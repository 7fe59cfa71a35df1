"""Results that cannot be packed: nothing of them stays behind."""

import threading
from typing import Any

import numpy as np
import pytest
import ray
from ray.exceptions import RayTaskError

from tests.integration.conditions import wait_for

pytestmark = pytest.mark.usefixtures("session")


def test_a_result_stored_before_another_failed_is_freed() -> None:
    from ray._runtime import current

    @ray.remote(num_returns=2)
    def half() -> Any:
        return np.zeros(20_000_000, dtype=np.uint8), threading.Lock()

    def used() -> int:
        return current.runtime().arena.describe().used  # type: ignore[attr-defined,no-any-return]

    before = used()
    first, second = half.remote()
    for ref in (first, second):
        with pytest.raises(RayTaskError):
            ray.get(ref, timeout=20)
    del first, second, ref
    wait_for(lambda: used() <= before, "the stored half is freed")
