"""Tasks by state and function, read from the table when the metrics page is asked for."""

from __future__ import annotations

from collections.abc import Iterator

from manta_proto.gcs.v1 import task_pb2
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from manta_gcs.tasks.task_table import TaskTable


class TaskCollector(Collector):
    """Follows the table of the present term; without one there is nothing to show."""

    def __init__(self) -> None:
        self.table: TaskTable | None = None

    def collect(self) -> Iterator[Metric]:
        """cost: O(functions)."""
        tasks = GaugeMetricFamily(
            "ray_tasks", "Task attempts by state and function; those that ended, ever", labels=["State", "Name"]
        )
        kept = GaugeMetricFamily("manta_gcs_task_rows", "Task attempts of which details are kept")
        dropped = GaugeMetricFamily("manta_gcs_task_rows_dropped", "Task attempts of which details were dropped")
        reconstructed = CounterMetricFamily(
            "manta_gcs_tasks_reconstructed", "Tasks that were submitted again because results of theirs were lost"
        )
        unrecovered = CounterMetricFamily(
            "manta_gcs_objects_unrecovered", "Lost objects that could not be computed again"
        )
        if self.table is not None:
            reconstructed.add_metric([], self.table.reconstructed)
            unrecovered.add_metric([], self.table.unrecovered)
            for key, count in self.table.counts().items():
                tasks.add_metric([task_pb2.TaskStatus.Name(key.status), key.function], count)
            kept.add_metric([], len(self.table))
            dropped.add_metric([], self.table.dropped)
        yield from (tasks, kept, dropped, reconstructed, unrecovered)
