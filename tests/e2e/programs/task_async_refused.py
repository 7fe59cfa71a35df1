# prelude
import ray

ray.init(num_cpus=8, num_gpus=4)

# the fragment, which fails
try:

    @ray.remote
    async def f():
        pass

except ValueError as error:
    print(f"{type(error).__name__}: {error}")
