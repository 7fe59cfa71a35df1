from manta_common.resources import ResourceSet
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import gcs_pb2, placement_group_pb2
from ray.scripts.status_text import bytes_text, status_text

GROUP = "ab" * 18


def item(
    number: int,
    total: dict[str, float],
    available: dict[str, float],
    state: common_pb2.NodeInfo.State = common_pb2.NodeInfo.ALIVE,
    **info: object,
) -> gcs_pb2.NodeList.Item:
    node = common_pb2.NodeInfo(
        node_id=bytes([number]) * 28,
        state=state,
        total=ResourceSet.from_floats(total).to_proto(),
        **info,  # type: ignore[arg-type]
    )
    return gcs_pb2.NodeList.Item(info=node, available=ResourceSet.from_floats(available).to_proto())


def test_usage_is_summed_over_the_nodes_that_are_alive() -> None:
    dead = item(3, {"CPU": 8}, {}, common_pb2.NodeInfo.DEAD)
    dead.info.death_cause.message = "no heartbeat for 5 s"
    nodes = [
        item(1, {"CPU": 2, "memory": 1 << 30, "node:1.2.3.4": 1}, {"CPU": 0.5, "memory": 1 << 30, "node:1.2.3.4": 1}),
        item(2, {"CPU": 4}, {"CPU": 4}, node_name="big"),
        dead,
    ]
    lines = status_text(gcs_pb2.ClusterStatus(nodes=nodes, at=0.0)).splitlines()
    assert f" 1 node_{'01' * 28}" in lines
    assert " 1 big" in lines
    assert f" node_{'03' * 28}: no heartbeat for 5 s" in lines
    assert " 1.5/6.0 CPU" in lines
    assert " 0B/1.00GiB memory" in lines
    assert not any("node:" in line for line in lines)
    assert lines[lines.index("Pending Demands:") + 1] == " (no resource demands)"


def test_the_object_store_is_used_by_objects() -> None:
    nodes = [item(number, {"object_store_memory": 1 << 30}, {"object_store_memory": 1 << 30}) for number in (1, 2)]
    nodes[0].arena_used = 1 << 29
    lines = status_text(gcs_pb2.ClusterStatus(nodes=nodes)).splitlines()
    assert " 512.00MiB/2.00GiB object_store_memory" in lines


def bundle(resources: dict[str, float], available: dict[str, float] | None = None) -> placement_group_pb2.HeldBundle:
    held = placement_group_pb2.HeldBundle(resources=ResourceSet.from_floats(resources).to_proto(), committed=True)
    if available is not None:
        held.available.CopyFrom(ResourceSet.from_floats(available).to_proto())
    return held


def test_what_a_placement_group_reserves_is_told_apart_from_what_it_uses() -> None:
    node = item(1, {"CPU": 2, "GPU": 2}, {"CPU": 1, "GPU": 1})
    node.bundles.append(bundle({"CPU": 1, "GPU": 1}))
    lines = status_text(gcs_pb2.ClusterStatus(nodes=[node])).splitlines()
    assert " 0.0/2.0 CPU (0.0 used of 1.0 reserved in placement groups)" in lines
    node.bundles[0].CopyFrom(bundle({"CPU": 1, "GPU": 1}, {"CPU": 0, "GPU": 1}))
    lines = status_text(gcs_pb2.ClusterStatus(nodes=[node])).splitlines()
    assert " 1.0/2.0 CPU (1.0 used of 1.0 reserved in placement groups)" in lines
    assert " 0.0/2.0 GPU (0.0 used of 1.0 reserved in placement groups)" in lines


def test_demands_of_the_same_shape_are_counted_together_and_say_why_they_wait() -> None:
    demand = gcs_pb2.ResourceDemand(
        resources=ResourceSet.from_floats({"GPU": 1, "CPU": 2}).to_proto(), count=3, reason="no node has a GPU"
    )
    node = item(1, {"CPU": 2}, {"CPU": 2})
    node.demands.append(demand)
    lines = status_text(gcs_pb2.ClusterStatus(nodes=[node], pending_actors=[demand])).splitlines()
    at = lines.index(" {'CPU': 2.0, 'GPU': 1.0}: 6+ pending tasks/actors")
    assert lines[at + 1 :] == ["   no node has a GPU"]


def test_a_demand_tells_how_many_of_it_want_a_placement_group() -> None:
    shape = ResourceSet.from_floats({"CPU": 1}).to_proto()
    plain = gcs_pb2.ResourceDemand(resources=shape, count=3)
    in_groups = gcs_pb2.ResourceDemand(resources=shape, count=2, in_placement_groups=2)
    lines = status_text(gcs_pb2.ClusterStatus(pending_actors=[plain, in_groups])).splitlines()
    assert " {'CPU': 1.0}: 5+ pending tasks/actors (2+ using placement groups)" in lines


def test_pending_placement_groups_are_shown_by_their_bundles() -> None:
    bundles = [ResourceSet.from_floats(amounts).to_proto() for amounts in ({"CPU": 1}, {"GPU": 2}, {"GPU": 2})]
    demand = placement_group_pb2.PlacementGroupDemand(bundles=bundles, count=1)
    lines = status_text(gcs_pb2.ClusterStatus(pending_placement_groups=[demand])).splitlines()
    assert " {'CPU': 1.0} * 1, {'GPU': 2.0} * 2 (PACK): 1+ pending placement groups" in lines


def test_an_empty_cluster_says_so() -> None:
    assert " (no active nodes)" in status_text(gcs_pb2.ClusterStatus())


def test_bytes_are_shown_in_the_largest_whole_unit() -> None:
    assert [bytes_text(count) for count in (0, 512, 2048, 3 << 30)] == ["0B", "512B", "2.00KiB", "3.00GiB"]
