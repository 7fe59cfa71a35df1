"""A request for a node that the raylet has not heard of waits for the GCS's word."""

from manta_common.ids import NodeId
from manta_proto.common.v1 import common_pb2
from manta_raylet.kernel.commands import AskForNodes, RefuseLease, SpillLease
from manta_raylet.leases.node_inquiry import ANSWERS_KEPT, NodeInquiry

from tests.unit.raylet.core_driver import THERE, CoreDriver

HARD = common_pb2.SchedulingStrategy(node_affinity=common_pb2.NodeAffinity(node_id=THERE))
SOFT = common_pb2.SchedulingStrategy(node_affinity=common_pb2.NodeAffinity(node_id=THERE, soft=True))


def asked(driver: CoreDriver) -> list[bytes]:
    return [node_id for c in driver.commands if isinstance(c, AskForNodes) for node_id in c.message.node_ids]


def test_the_gcs_is_asked_once_and_nothing_is_refused_meanwhile() -> None:
    driver = CoreDriver(cpu=1)
    driver.want(strategy=HARD)
    assert asked(driver) == [THERE] and len(driver.commands) == 1
    driver.want(request_id=2, strategy=SOFT)
    assert driver.commands == []
    assert all("is asked" in demand.reason for demand in driver.core.demands())


def test_a_node_whose_news_come_with_the_answer_gets_the_request() -> None:
    driver = CoreDriver(cpu=1)
    driver.want(strategy=HARD)
    driver.node(CPU=1)
    driver.core.spillback.inquiry.answered([THERE])
    (spill,) = driver.settle()
    assert isinstance(spill, SpillLease) and spill.node_id == THERE


def test_a_node_that_is_unheard_of_after_the_answer_is_none() -> None:
    driver = CoreDriver(cpu=1)
    driver.want(strategy=HARD)
    driver.core.spillback.inquiry.answered([THERE])
    (refusal,) = driver.settle()
    assert isinstance(refusal, RefuseLease) and THERE.hex() in refusal.message
    driver.want(request_id=2, strategy=HARD)
    assert asked(driver) == [], "the answer is remembered"


def test_a_gcs_that_accepts_the_node_has_answered_everything() -> None:
    inquiry = NodeInquiry()
    assert not inquiry.is_answered(THERE)
    inquiry.attached()
    assert inquiry.is_answered(THERE) and inquiry.take() is None


def test_answers_are_bounded_and_asked_for_again() -> None:
    inquiry = NodeInquiry()
    inquiry.answered(NodeId(number.to_bytes(28, "big")) for number in range(ANSWERS_KEPT + 1))
    first, last = NodeId(bytes(28)), NodeId(ANSWERS_KEPT.to_bytes(28, "big"))
    assert inquiry.is_answered(last) and not inquiry.is_answered(first)
    message = inquiry.take()
    assert message is not None and list(message.node_ids) == [first]
