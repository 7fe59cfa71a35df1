# prelude
import ray

ray.init(num_cpus=8, num_gpus=4)


# the fragment
async def f():
    pass


@ray.remote
def wrapper():
    import asyncio

    asyncio.run(f())


# epilogue
print(ray.get(wrapper.remote()))
