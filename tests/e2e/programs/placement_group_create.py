from pprint import pprint
import time

# Import placement group APIs.
from ray.util.placement_group import (
    placement_group,
    placement_group_table,
    remove_placement_group,
)
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

# Initialize Ray.
import ray

# Create a single node Ray cluster with 2 CPUs and 2 GPUs.
ray.init(num_cpus=2, num_gpus=2)

# Reserve a placement group of 1 bundle that reserves 1 CPU and 1 GPU.
pg = placement_group([{"CPU": 1, "GPU": 1}])

# Wait until the placement group is created.
ray.get(pg.ready(), timeout=10)

# You can also use ray.wait.
ready, unready = ray.wait([pg.ready()], timeout=10)
print(len(ready), len(unready))

table = placement_group_table(pg)
print(table["state"], table["bundles"], table["strategy"], sorted(table))

# Cannot create this placement group because we cannot create a {"GPU": 2} bundle.
pending_pg = placement_group([{"CPU": 1}, {"GPU": 2}])
# This raises the timeout exception!
try:
    ray.get(pending_pg.ready(), timeout=1)
except Exception as e:
    print("Cannot create a placement group because {'GPU': 2} bundle cannot be created.")
    print(type(e).__name__)
print(placement_group_table(pending_pg)["state"], ray.available_resources()["GPU"])


@ray.remote(num_cpus=1)
class Actor:
    def __init__(self):
        pass

    def ready(self):
        pass


# Create an actor to a placement group.
actor = Actor.options(
    scheduling_strategy=PlacementGroupSchedulingStrategy(
        placement_group=pg,
    )
).remote()

# Verify the actor is scheduled.
print(ray.get(actor.ready.remote(), timeout=10))


@ray.remote(num_cpus=0, num_gpus=1)
class GpuActor:
    def __init__(self):
        pass

    def ready(self):
        return ray.get_gpu_ids()


# Create a GPU actor on the first bundle of index 0.
actor2 = GpuActor.options(
    scheduling_strategy=PlacementGroupSchedulingStrategy(
        placement_group=pg,
        placement_group_bundle_index=0,
    )
).remote()

# Verify that the GPU actor is scheduled.
print(len(ray.get(actor2.ready.remote(), timeout=10)))

# This API is asynchronous.
remove_placement_group(pg)

# Wait until the placement group is killed.
time.sleep(1)
# Check that the placement group has died.
pprint(placement_group_table(pg)["state"])
for dead in (actor, actor2):
    try:
        ray.get(dead.ready.remote(), timeout=10)
    except ray.exceptions.ActorPlacementGroupRemoved:
        print("its placement group was removed")
