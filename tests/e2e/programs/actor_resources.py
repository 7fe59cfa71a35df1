# prelude
import ray

ray.init(num_cpus=8, num_gpus=4)


# Specify required resources for an actor.
@ray.remote(num_cpus=2, num_gpus=0.5)
class Actor:
    pass


# epilogue: four of them fill the CPUs, and half a GPU each is what they see
actors = [Actor.remote() for _ in range(4)]
held = ray.get([actor.__ray_call__.remote(lambda self: ray.get_gpu_ids()) for actor in actors])
print([len(gpus) for gpus in held], len({gpu for gpus in held for gpu in gpus}) <= 4)
