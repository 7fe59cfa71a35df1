# prelude: three nodes, and the chapter's imports
import ray
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
cluster.add_node(num_cpus=2)
cluster.add_node(num_cpus=2)
ray.init(address=cluster.address)


@ray.remote(scheduling_strategy="SPREAD")
def spread_func():
    return 2


@ray.remote(num_cpus=1)
class SpreadActor:
    pass


# Spread tasks across the cluster.
[spread_func.remote() for _ in range(10)]
# Spread actors across the cluster.
actors = [SpreadActor.options(scheduling_strategy="SPREAD").remote() for _ in range(10)]

# epilogue: six of the ten actors find a CPU, two on each node; the first are the ones that do
places = [
    actor.__ray_call__.remote(lambda self: ray.get_runtime_context().get_node_id()) for actor in actors
]
ready, waiting = ray.wait(places, num_returns=6, timeout=60)
counts = [ray.get(ready).count(node) for node in set(ray.get(ready))]
print(counts, len(waiting))
