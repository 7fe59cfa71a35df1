"""What runs a driver or a worker, in packages that import downwards only.

From the lowest: loop, values, arena, transport, references, specs, objects, generators, tasks, actors, execution,
process. Each says in its docstring what lives there. `api` is the seam to the public modules of `ray`, `current` the
runtime that this process is connected with; both may be imported from anywhere.
"""
