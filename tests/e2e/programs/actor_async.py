import ray
import asyncio


@ray.remote
class AsyncActor:
    # multiple invocation of this method can be running in
    # the event loop at the same time
    async def run_concurrent(self):
        print("started")
        await asyncio.sleep(0.5)  # concurrent workload here
        print("finished")


actor = AsyncActor.remote()

# regular ray.get
ray.get([actor.run_concurrent.remote() for _ in range(4)])


# async ray.get
async def async_get():
    await actor.run_concurrent.remote()


asyncio.run(async_get())

# epilogue: the reader closes this program's input once the output is there
import sys

sys.stdin.read()
