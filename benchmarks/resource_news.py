"""What it costs the GCS to tell every node what is free on all others: `python benchmarks/resource_news.py`.

Each line is a cluster in which every node has changed. One share goes through the node table, is encoded as the term
does it, and is taken from each node's outbox as one message; the bytes are what would go to the network.
"""

from __future__ import annotations

import argparse
import asyncio
import time

from manta_common.ids import NodeId
from manta_common.resources import ResourceSet
from manta_gcs.kernel.commands import Tell
from manta_gcs.kernel.events import Moment, SessionId
from manta_gcs.nodes.node import NodeTable
from manta_gcs.server.batch_encoding import BatchEncoding
from manta_gcs.server.outbox import Outbox
from manta_proto.common.v1 import common_pb2
from manta_proto.gcs.v1 import gcs_pb2

FREE = ResourceSet.from_floats({"CPU": 63.5, "memory": 2.0**37, "object_store_memory": 2.0**36, "GPU": 3})


def cluster(nodes: int) -> NodeTable:
    table = NodeTable(death_timeout_s=1e9)
    for number in range(nodes):
        info = common_pb2.NodeInfo(node_id=NodeId(number.to_bytes(28, "big")), total=FREE.to_proto())
        attach = gcs_pb2.AttachNode(info=info, available=FREE.to_proto())
        table.attach(attach, SessionId(number), Moment(0.0, 0.0))
    return table


async def share(table: NodeTable, at: float) -> tuple[float, float, float]:
    """One share of all nodes' changes. returns: CPU seconds, bytes to all, seconds until the next is allowed."""
    beat = gcs_pb2.Heartbeat(available=FREE.to_proto())
    for node in table:
        table.heartbeat(node, beat)
    outboxes = {SessionId(number): Outbox() for number in range(len(table))}
    encoding = BatchEncoding(gcs_pb2.GcsToNodeBatch(epoch=7), "messages")
    began = time.process_time()
    last: tuple[gcs_pb2.GcsToNode, bytes] | None = None
    for command in table.share_resources(Moment(at, at)):
        assert isinstance(command, Tell)
        if last is None or last[0] is not command.message:
            last = command.message, command.message.SerializeToString()
        outboxes[command.session].put(last[1])
    size = 0
    for outbox in outboxes.values():
        size += len(encoding.join(await anext(outbox.batches())))
    spent = time.process_time() - began
    for node in table:
        table.heartbeat(node, beat)
    return spent, size, (table.deadline() or at) - at


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", default="100,500,1000,2000", help="sizes of the clusters, separated by commas")
    arguments = parser.parse_args()
    print("nodes   CPU ms a share   MB to all   interval s   CPU share")
    for nodes in map(int, arguments.nodes.split(",")):
        table = cluster(nodes)
        runs = [asyncio.run(share(table, 10.0 * number)) for number in range(1, 6)]
        spent, size, interval = min(runs)
        print(f"{nodes:5d} {spent * 1e3:16.1f} {size / 1e6:11.1f} {interval:12.2f} {spent / interval:10.1%}")


if __name__ == "__main__":
    main()
