# prelude: three nodes, and the chapter's imports
import ray
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
cluster.add_node(num_cpus=2)
cluster.add_node(num_cpus=2)
ray.init(address=cluster.address)


@ray.remote
def func():
    return 1


@ray.remote(num_cpus=1)
class Actor:
    pass


# If unspecified, "DEFAULT" scheduling strategy is used.
func.remote()
actor = Actor.remote()
# Explicitly set scheduling strategy to "DEFAULT".
func.options(scheduling_strategy="DEFAULT").remote()
actor = Actor.options(scheduling_strategy="DEFAULT").remote()

# Zero-CPU (and no other resources) actors are randomly assigned to nodes.
actor = Actor.options(num_cpus=0).remote()

# epilogue: all of them run, and many actors without CPUs are on every node
print(ray.get(func.remote()), ray.get(func.options(scheduling_strategy="DEFAULT").remote()))
anywhere = [Actor.options(num_cpus=0).remote() for _ in range(24)]
places = ray.get([actor.__ray_call__.remote(lambda self: ray.get_runtime_context().get_node_id()) for actor in anywhere])
print(len(set(places)))
