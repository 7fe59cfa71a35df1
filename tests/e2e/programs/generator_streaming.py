import asyncio

import numpy as np
import ray
from ray.util.multiprocessing import Pool

ray.init(num_cpus=4)


@ray.remote
def split(size, chunk):
    for start in range(0, size, chunk):
        yield np.arange(start, min(start + chunk, size))


@ray.remote
def total(part):
    return int(part.sum())


@ray.remote
class Tokens:
    async def generate(self, text):
        for token in text.split():
            await asyncio.sleep(0)
            yield token
        raise ValueError("out of text")


# Each part is worked on while the next one is made.
print(sum(ray.get([total.remote(ref) for ref in split.remote(1_000_000, 50_000)])))

# A large part goes to shared memory, and at most two are there unread.
limited = split.options(_generator_backpressure_num_objects=2).remote(1_000_000, 250_000)
print([len(ray.get(ref)) for ref in limited])


async def read():
    async for ref in Tokens.remote().generate.remote("to be or not"):
        try:
            print(await ref)
        except ValueError as error:
            print("error:", str(error).splitlines()[-1])


asyncio.run(read())

# Only what is read is waited for.
slow, fast = split.remote(10, 5), split.remote(1, 1)
ready, _ = ray.wait([slow, fast], num_returns=2, timeout=30)
print(len(ready), [ray.get(ref).tolist() for ref in fast])

print([ray.get(ref).tolist() for ref in ray.get(split.options(num_returns="dynamic").remote(4, 2))])

with Pool() as pool:
    print(pool.map(abs, [-1, 2, -3]), sorted(pool.imap_unordered(abs, [-3, -2])))
