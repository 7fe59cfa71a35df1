# prelude
import ray

ray.init(num_cpus=8, num_gpus=4)


@ray.remote
class Counter:
    def __init__(self):
        self.counter = 0

    def increment(self):
        self.counter += 1

    def get_counter(self):
        return self.counter


# the fragments
import time


@ray.remote
def f(counter):
    for _ in range(10):
        time.sleep(0.1)
        counter.increment.remote()


counter = Counter.remote()

# Start some tasks that use the actor.
started = [f.remote(counter) for _ in range(3)]

# Print the counter value.
for _ in range(10):
    time.sleep(0.1)
    print(ray.get(counter.get_counter.remote()))

# epilogue: all increments of ended tasks were made
ray.get(started)
print("total", ray.get(counter.get_counter.remote()))
