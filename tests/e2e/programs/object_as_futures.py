import ray


@ray.remote
def some_task():
    return 1


ray.get(some_task.remote())
ray.wait([some_task.remote()])

# the second fragment
import asyncio


async def await_obj_ref():
    await some_task.remote()
    await asyncio.wait([some_task.remote()])


asyncio.run(await_obj_ref())


# the third
async def convert_to_asyncio_future():
    ref = some_task.remote()
    fut: asyncio.Future = asyncio.wrap_future(ref.future())
    print(await fut)


asyncio.run(convert_to_asyncio_future())

# the fourth
import concurrent

refs = [some_task.remote() for _ in range(4)]
futs = [ref.future() for ref in refs]
for fut in concurrent.futures.as_completed(futs):
    assert fut.done()
    print(fut.result())
