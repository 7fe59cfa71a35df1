# prelude: three nodes, and the chapter's imports
import ray
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
cluster.add_node(num_cpus=2)
cluster.add_node(num_cpus=2)
ray.init(address=cluster.address)

import ray.util.scheduling_strategies  # noqa: E402


@ray.remote
def node_affinity_func():
    return ray.get_runtime_context().get_node_id()


@ray.remote(num_cpus=1)
class NodeAffinityActor:
    pass


# Only run the task on the local node.
node_affinity_func.options(
    scheduling_strategy=ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        node_id=ray.get_runtime_context().get_node_id(),
        soft=False,
    )
).remote()

# Run the two node_affinity_func tasks on the same node if possible.
node_affinity_func.options(
    scheduling_strategy=ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        node_id=ray.get(node_affinity_func.remote()),
        soft=True,
    )
).remote()

# Only run the actor on the local node.
actor = NodeAffinityActor.options(
    scheduling_strategy=ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        node_id=ray.get_runtime_context().get_node_id(),
        soft=False,
    )
).remote()

# epilogue: they are where they were sent; a node that never was fails a hard affinity only
here = ray.get_runtime_context().get_node_id()
Affinity = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
print(ray.get(actor.__ray_call__.remote(lambda self: ray.get_runtime_context().get_node_id())) == here)
for node in ray.nodes():
    strategy = Affinity(node["NodeID"], soft=False)
    print(ray.get(node_affinity_func.options(scheduling_strategy=strategy).remote()) == node["NodeID"])
nowhere = "ab" * 28
print(ray.get(node_affinity_func.options(scheduling_strategy=Affinity(nowhere, soft=True)).remote()) != nowhere)
try:
    ray.get(node_affinity_func.options(scheduling_strategy=Affinity(nowhere, soft=False)).remote())
except ray.exceptions.TaskUnschedulableError as error:
    print(nowhere in str(error))
lost = NodeAffinityActor.options(scheduling_strategy=Affinity(nowhere, soft=False)).remote()
try:
    ray.get(lost.__ray_ready__.remote())
except ray.exceptions.ActorUnschedulableError as error:
    print(nowhere in str(error))
