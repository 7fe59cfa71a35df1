# prelude
import ray

ray.init(num_cpus=8, num_gpus=4)


@ray.remote(num_cpus=4, num_gpus=2)
def my_function():
    return 1


# the fragment
@ray.remote
def function_with_an_argument(value):
    return value + 1


obj_ref1 = my_function.remote()
assert ray.get(obj_ref1) == 1

# You can pass an object ref as an argument to another Ray task.
obj_ref2 = function_with_an_argument.remote(obj_ref1)
assert ray.get(obj_ref2) == 2

# epilogue
print("passed", ray.get([obj_ref1, obj_ref2]))
