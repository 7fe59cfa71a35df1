import ray

# Put an object in Ray's object store.
y = 1
object_ref = ray.put(y)

# epilogue
print(ray.get(object_ref), type(object_ref) is ray.ObjectRef)
