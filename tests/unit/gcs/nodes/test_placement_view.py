"""The view that actors are placed on follows the nodes, what runs there and what was promised."""

from manta_common.ids import NodeId
from manta_common.resources import ResourceSet
from manta_common.scheduling import NodeView
from manta_gcs.actors.actor_table import ActorTable
from manta_gcs.kernel.events import Moment, SessionId
from manta_gcs.kernel.promise import Promises
from manta_gcs.nodes.node import NodeTable
from manta_gcs.nodes.placement_view import PlacementView
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import gcs_pb2

AT = Moment(1.0, 1.0)
CPUS = ResourceSet.from_floats({"CPU": 4})


def node_id(number: int) -> NodeId:
    return NodeId(bytes([number]) * 28)


class Tables:
    def __init__(self) -> None:
        self.nodes = NodeTable(death_timeout_s=5)
        self.promises: Promises[NodeId] = Promises(self.nodes.changed.add)
        self.view = PlacementView(self.nodes, ActorTable(changed=self.nodes.changed.add).count_on, self.promises)

    def attach(self, number: int, **labels: str) -> None:
        info = common_pb2.NodeInfo(node_id=node_id(number), total=CPUS.to_proto(), labels=labels)
        self.nodes.attach(gcs_pb2.AttachNode(info=info, available=CPUS.to_proto()), SessionId(number), AT)

    def heartbeat(self, number: int, cpus: float) -> None:
        node = self.nodes.get(node_id(number))
        assert node is not None
        available = ResourceSet.from_floats({"CPU": cpus}).to_proto()
        self.nodes.heartbeat(node, gcs_pb2.Heartbeat(available=available))

    def seen(self, number: int) -> NodeView:
        return self.view.current()[node_id(number)]


def test_news_promises_and_labels_are_taken_in_and_the_rest_is_left_alone() -> None:
    tables = Tables()
    tables.attach(1)
    tables.attach(2, zone="a")
    first, second = tables.seen(1), tables.seen(2)
    assert second.labels == {"zone": "a"} and first.schedulable
    tables.heartbeat(1, cpus=3)
    assert tables.seen(1).available.to_floats() == {"CPU": 3}
    assert tables.seen(2) is second, "what did not change is not made anew"
    tables.promises.make(b"actor", node_id(2), ResourceSet.from_floats({"CPU": 1}))  # type: ignore[arg-type]
    assert tables.seen(2).available.to_floats() == {"CPU": 3}
    tables.promises.keep(b"actor")  # type: ignore[arg-type]
    assert tables.seen(2).available.to_floats() == {"CPU": 4}
    tables.attach(1, zone="b")
    assert tables.seen(1).labels == {"zone": "b"}
    tables.nodes.detach(node_id(1), SessionId(1))
    assert not tables.seen(1).schedulable


def test_a_dead_node_is_gone_also_when_another_comes_in_its_place() -> None:
    tables = Tables()
    tables.attach(1)
    tables.attach(2)
    assert set(tables.view.current()) == {node_id(1), node_id(2)}
    node = tables.nodes.get(node_id(1))
    assert node is not None
    tables.nodes.bury(node, common_pb2.DeathCause(), AT)
    tables.attach(3)
    assert set(tables.view.current()) == {node_id(2), node_id(3)}


def test_its_version_rises_when_something_may_fit_that_did_not_and_not_with_the_contrary() -> None:
    tables = Tables()
    versions = [tables.view.version]

    def rose() -> bool:
        versions.append(tables.view.version)
        return versions[-1] > versions[-2]

    tables.attach(1)
    assert rose() and not rose()
    tables.heartbeat(1, cpus=3)
    assert not rose()
    tables.heartbeat(1, cpus=4)
    assert rose()
    one = ResourceSet.from_floats({"CPU": 1})
    tables.promises.make(b"actor", node_id(1), one)  # type: ignore[arg-type]
    assert not rose()
    tables.promises.keep(b"actor")  # type: ignore[arg-type]
    assert rose()
    tables.view.take(node_id(1), one)
    assert not rose(), "it was only set aside for a moment"
    tables.view.take(node_id(1), one)
    tables.promises.make(b"actor", node_id(1), one)  # type: ignore[arg-type]
    assert not rose()
    node = tables.nodes.get(node_id(1))
    assert node is not None
    tables.nodes.distrust(node)
    assert not rose()
    tables.heartbeat(1, cpus=3)
    assert rose(), "it may be asked again"
    tables.attach(1, zone="a")
    assert rose()
    tables.nodes.bury(node, common_pb2.DeathCause(), AT)
    assert rose(), "who could run only there need not wait any longer"


def test_its_changes_rise_with_less_room_too() -> None:
    tables = Tables()
    tables.attach(1)
    version, changes = tables.view.version, tables.view.changes
    tables.heartbeat(1, cpus=3)
    assert tables.view.changes > changes and tables.view.version == version
