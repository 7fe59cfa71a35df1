# prelude
import ray

ray.init(num_cpus=8, num_gpus=4)


# Specify required resources.
@ray.remote(num_cpus=4, num_gpus=2)
def my_function():
    return 1


# Override the default resource requirements.
my_function.options(num_cpus=3).remote()

# epilogue: what the fragment's calls give
print(ray.get(my_function.remote()), ray.get(my_function.options(num_cpus=3).remote()))
