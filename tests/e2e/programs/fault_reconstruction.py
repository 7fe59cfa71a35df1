import numpy as np
import ray
from ray.cluster_utils import Cluster
from ray.exceptions import ObjectLostError, ObjectReconstructionFailedError

cluster = Cluster(initialize_head=True, connect=True, head_node_args={"num_cpus": 2})
spot_node = cluster.add_node(num_cpus=2, resources={"spot": 1})


@ray.remote(resources={"spot": 0.1})
def load(part):
    return np.full(200_000, part)


@ray.remote(resources={"spot": 0.1})
def double(array):
    return 2 * array


@ray.remote
def total(arrays):
    return int(sum(array.sum() for array in ray.get(arrays)))


# Only the last link of each chain is referenced, and only on the spot node.
doubled = [double.remote(load.remote(part)) for part in range(3)]
unrepeatable = load.options(max_retries=0).remote(1)
ray.wait([*doubled, unrepeatable], num_returns=4, fetch_local=False)

cluster.remove_node(spot_node)
cluster.add_node(num_cpus=2, resources={"spot": 1})

print(ray.get(total.remote(doubled)), [int(array[0]) for array in ray.get(doubled)])

try:
    ray.get(unrepeatable)
except ObjectLostError as error:
    assert isinstance(error, ObjectReconstructionFailedError)
    print(error.reason)

ray.shutdown()
cluster.shutdown()
