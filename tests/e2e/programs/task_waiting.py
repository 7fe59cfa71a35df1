# prelude
import time

import ray

ray.init(num_cpus=8, num_gpus=4)
started = time.monotonic()


@ray.remote
def slow_function():
    time.sleep(0.5)
    return 1


# the fragment
object_refs = [slow_function.remote() for _ in range(2)]
# Return as soon as one of the tasks finished execution.
ready_refs, remaining_refs = ray.wait(object_refs, num_returns=1, timeout=None)

# epilogue
print(len(ready_refs), len(remaining_refs), set(ready_refs + remaining_refs) == set(object_refs))
print(ray.get(ready_refs[0]), time.monotonic() - started >= 0.5)
