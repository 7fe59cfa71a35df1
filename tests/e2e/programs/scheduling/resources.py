# This will start a Ray node with 3 logical cpus, 4 logical gpus,
# 1 special_hardware resource and 1 custom_label resource.
import ray

ray.init(num_cpus=3, num_gpus=4, resources={"special_hardware": 1, "custom_label": 1})


# Specify the default resource requirements for this remote function.
@ray.remote(num_cpus=2, num_gpus=2, resources={"special_hardware": 1})
def func():
    return 1


# You can override the default resource requirements.
func.options(num_cpus=3, num_gpus=1, resources={"special_hardware": 0}).remote()


@ray.remote(num_cpus=0, num_gpus=1)
class Actor:
    pass


# You can override the default resource requirements for actors as well.
actor = Actor.options(num_cpus=1, num_gpus=0).remote()

# epilogue: the node has what was said, and tasks and actors get what they ask for
total = ray.cluster_resources()
print({name: total[name] for name in ("CPU", "GPU", "special_hardware", "custom_label")})
print(total["memory"] > 0, total["object_store_memory"] > 0, total["node:__internal_head__"])
ray.kill(actor)
print(ray.get(func.remote()), ray.get(func.options(num_cpus=3, num_gpus=1, resources={"special_hardware": 0}).remote()))


@ray.remote(num_cpus=0, resources={"custom_label": 0.001})
def labelled():
    return ray.get_runtime_context().get_assigned_resources()


print(ray.get(labelled.remote()))
for wrong in ({"num_gpus": 1.5}, {"num_cpus": -1}, {"resources": {"CPU": 1}}, {"resources": {"custom_label": 0.00001}}):
    try:
        func.options(**wrong).remote()
    except ValueError:
        print("refused")
ready, _ = ray.wait([func.options(resources={"nobody_has_it": 1}).remote()], timeout=1)
print(ready)
