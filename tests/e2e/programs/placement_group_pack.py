import ray
from ray.util.placement_group import placement_group, placement_group_table

ray.init(num_cpus=2, num_gpus=2)

# Reserve a placement group of 2 bundles
# that have to be packed on the same node.
pg = placement_group([{"CPU": 1}, {"GPU": 1}], strategy="PACK")
ray.get(pg.ready())
print(len(set(placement_group_table(pg)["bundles_to_node_id"].values())), pg.bundle_count, pg.bundle_specs)
