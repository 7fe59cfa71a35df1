# prelude
import ray

# the fragment
import asyncio


@ray.remote
class AsyncActor:
    async def run_task(self):
        print("started")
        await asyncio.sleep(0.5)  # Network, I/O task here
        print("ended")


actor = AsyncActor.remote()
# All 5 tasks should start at once. After 2 second they should all finish.
# they should finish at the same time
ray.get([actor.run_task.remote() for _ in range(5)])

# epilogue: the reader closes this program's input once the output is there
import sys

sys.stdin.read()
