"""What a node says of itself to those who choose by labels."""

from manta_common.ids import NodeId
from manta_raylet.server.node_info import labels_of
from manta_raylet.server.settings import RayletSettings


def test_every_node_has_its_id_as_a_label_beside_those_that_were_set() -> None:
    settings = RayletSettings.__new__(RayletSettings)
    object.__setattr__(settings, "labels", '{"zone": "a", "ray.io/node-id": "somebody else"}')
    assert labels_of(settings, NodeId(b"N" * 28)) == {"zone": "a", "ray.io/node-id": "4e" * 28}
