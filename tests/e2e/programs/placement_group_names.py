"""The chapter's first_driver.py, second_driver.py and driver_1.py, as processes of their own on one cluster."""

import subprocess
import sys

import ray
from ray.cluster_utils import Cluster

PRELUDE = """
import ray
from ray.util.placement_group import placement_group, placement_group_table
ray.init(address={address!r}, _node_ip_address=None, log_to_driver=False)
"""
FIRST = """
# Create a placement group with a global name.
pg = placement_group([{"CPU": 1}], name="global_name")
ray.get(pg.ready())
print("made", flush=True)
input()
"""
SECOND = """
# Retrieve a placement group with a global name.
pg = ray.util.get_placement_group("global_name")
print("found", pg.bundle_specs, placement_group_table(pg)["state"])
"""
DETACHED = """
# Create a detached placement group that survives even after
# the job terminates.
pg = placement_group([{"CPU": 1}], lifetime="detached", name="detached_name")
ray.get(pg.ready())
"""
LATER = """
print(sorted((row["name"], row["state"]) for row in placement_group_table().values()))
"""

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
prelude = PRELUDE.replace(", _node_ip_address=None", "").format(address=cluster.address)


def start(program):
    return subprocess.Popen(
        [sys.executable, "-c", prelude + program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


first = start(FIRST)
print(first.stdout.readline().strip())
print(start(SECOND).communicate()[0].strip())
first.communicate("\n")  # it ends, and its group with it
start(DETACHED).communicate()
print(start(LATER).communicate()[0].strip())
cluster.shutdown()
