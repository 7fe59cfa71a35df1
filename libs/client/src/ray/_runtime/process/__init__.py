"""A driver or worker as a whole: `process` joins the parts, `connect` and `worker_main` start it.

What concerns all parts at once (failures of peers, retirement, system config) lives here.

Imports: everything else of the runtime.
"""
