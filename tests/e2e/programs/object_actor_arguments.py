# prelude
import ray

ray.init(num_cpus=8, num_gpus=4)


# the fragment, with prints so that one sees what came
@ray.remote
class Actor:
    def __init__(self, arg):
        print("init:", arg)

    def method(self, arg):
        print("method:", arg)


obj = ray.put(2)

# Examples of passing objects to actor constructors.
actor_handle = Actor.remote(obj)  # by-value
by_value = actor_handle
actor_handle = Actor.remote([obj])  # by-reference

# Examples of passing objects to actor method calls.
actor_handle.method.remote(obj)  # by-value
actor_handle.method.remote([obj])  # by-reference

# epilogue: the reader closes this program's input once the output is there
import sys

sys.stdin.read()
