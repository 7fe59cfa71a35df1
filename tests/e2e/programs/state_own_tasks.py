import time

import ray
from ray.util.state import get_actor, list_actors, list_nodes, list_tasks, summarize_actors, summarize_tasks

ray.init(num_cpus=2)


@ray.remote
def square(x):
    return x * x


@ray.remote
def fails():
    raise RuntimeError("on purpose")


@ray.remote
class Counter:
    def __init__(self):
        self.value = 0

    def increment(self):
        self.value += 1
        return self.value


counter = Counter.options(name="counter").remote()
ray.get([square.remote(i) for i in range(4)] + [counter.increment.remote() for _ in range(3)])
try:
    ray.get(fails.remote())
except RuntimeError:
    pass

# Processes tell of their tasks once a second.
deadline = time.monotonic() + 30
while len(list_tasks(filters=[("state", "!=", "RUNNING")])) < 9 and time.monotonic() < deadline:
    time.sleep(0.1)

for task in sorted(list_tasks(detail=True), key=lambda task: (task.func_or_class_name, task.state)):
    print(task.name, task.type, task.state, task.attempt_number, task.error_type)

for actor in list_actors(filters=[("state", "=", "ALIVE")]):
    detailed = get_actor(actor.actor_id)
    print(actor.class_name, actor.state, actor.name, detailed.is_detached, detailed.num_restarts, detailed.death_cause)

print(summarize_tasks()["cluster"]["summary"]["square"]["state_counts"])
print(summarize_actors()["cluster"]["summary"]["Counter"]["state_counts"])
print([node.state for node in list_nodes()])
