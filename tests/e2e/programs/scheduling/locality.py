# prelude: three nodes, and the chapter's imports
import ray
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
cluster.add_node(num_cpus=2)
cluster.add_node(num_cpus=2)
ray.init(address=cluster.address)


@ray.remote
def large_object_func():
    # Large object is stored in the local object store
    # and available in the distributed memory,
    # instead of returning inline directly to the caller.
    return [1] * (1024 * 1024)


@ray.remote
def small_object_func():
    # Small object is returned inline directly to the caller,
    # instead of storing in the distributed memory.
    return [1]


@ray.remote
def consume_func(data):
    return len(data)


large_object = large_object_func.remote()
small_object = small_object_func.remote()

# Ray will try to run consume_func on the same node
# where large_object_func runs.
consume_func.remote(large_object)

# Ray will try to spread consume_func across the entire cluster
# instead of only running on the node where large_object_func runs.
[
    consume_func.options(scheduling_strategy="SPREAD").remote(large_object)
    for i in range(10)
]

# Ray won't consider locality for scheduling consume_func
# since the argument is small and will be sent to the worker node inline directly.
consume_func.remote(small_object)

# epilogue: on each node in turn, a large result made there is consumed there
print(ray.get([consume_func.remote(large_object), consume_func.remote(small_object)]))


# Without CPUs, so that no node is too busy for it.
@ray.remote(num_cpus=0)
def where(data):
    return ray.get_runtime_context().get_node_id()


for node in ray.nodes():
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    made = large_object_func.options(scheduling_strategy=there).remote()
    print(ray.get(where.remote(made)) == node["NodeID"])
