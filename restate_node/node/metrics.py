"""The metrics of a node, under Restate's names, read from the components when somebody asks.

Nothing is counted on the append path for the sake of this page: the components keep the few numbers
that they need anyway, and a scrape every few seconds reads them. What this release does not have,
such as invocations, has no metric here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from restate_node.node.node import Node
from restate_node.types.processor_messages import ProcessorStatus, ReplayStatus, RunMode

_LABELS = ("cluster_name", "node_name")


def registry_of(node: Node) -> CollectorRegistry:
    """All metrics of the node and of its process."""
    registry = CollectorRegistry()
    registry.register(_NodeCollector(node))
    ProcessCollector(registry=registry)
    return registry


class _NodeCollector(Collector):
    """Asks each component that exists."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._values = (node.options.cluster_name, str(node.options.node_name))

    def collect(self) -> Iterator[Metric]:
        yield self._gauge("restate_uptime_seconds", "Age of this process.", self._node.uptime_s)
        yield from self._metadata_versions()
        yield from self._metadata_server()
        yield from self._membership()
        yield from self._log()
        yield from self._partitions()

    def _metadata_versions(self) -> Iterator[Metric]:
        versions = self._node.cache.versions()._asdict()
        yield self._labelled(
            "restate_metadata_version", "Version of each object held here.", "kind", versions
        )

    def _metadata_server(self) -> Iterator[Metric]:
        if self._node.metadata_server is None:
            return
        status = self._node.metadata_server.status()
        prefix = "restate_metadata_server_replicated_"
        yield self._gauge(f"{prefix}term", "Raft term.", status.term)
        yield self._gauge(f"{prefix}applied_lsn", "Last applied index.", status.applied)
        yield self._gauge(f"{prefix}committed_lsn", "Last committed index.", status.committed)
        yield self._gauge(f"{prefix}first_index", "First index in the log.", status.first_index)
        yield self._gauge(f"{prefix}last_index", "Last index in the log.", status.last_index)
        yield self._gauge(f"{prefix}leader_id", "Leader, 0 if unknown.", status.leader or 0)
        yield self._gauge(
            f"{prefix}snapshot_size_bytes", "Size of the last image.", status.snapshot_bytes
        )

    def _membership(self) -> Iterator[Metric]:
        if self._node.membership is None:
            return
        states = Counter(state.value for state in self._node.membership.states.value.values())
        yield self._labelled(
            "restate_failure_detector_nodes", "Members by state.", "state", dict(states)
        )

    def _log(self) -> Iterator[Metric]:
        logs = self._node.cache.logs.value
        yield self._gauge("restate_bifrost_logs", "Logs of the cluster.", len(logs.chains))
        if self._node.bifrost is not None:
            yield self._counter(
                "restate_bifrost_sequencer_committed_records",
                "Records committed by the sequencers of this process.",
                self._node.provider.committed_records,
            )
        if self._node.log_server is not None:
            yield self._gauge(
                "restate_log_server_ready",
                "1 while the log server accepts records.",
                int(self._node.log_server.is_ready),
            )

    def _partitions(self) -> Iterator[Metric]:
        table = self._node.cache.partition_table.value
        yield self._gauge("restate_num_partitions", "Of the cluster.", len(table.partitions))
        if self._node.worker is None:
            return
        statuses = self._node.worker.statuses()
        active = [s for s in statuses if s.replay_status is ReplayStatus.ACTIVE]
        leaders = [s for s in statuses if s.effective_mode is RunMode.LEADER]
        yield self._gauge("restate_num_active_partitions", "Caught up, here.", len(active))
        yield self._gauge("restate_num_active_partition_leaders", "Led here.", len(leaders))
        stores = len(self._node.worker.stores())
        yield self._gauge("restate_partition_store_num_open", "Open stores.", stores)
        lags = {str(s.partition): lag for s in statuses if (lag := _lag(s)) is not None}
        yield self._labelled(
            "restate_partition_applied_lsn_lag", "Records not yet applied.", "partition", lags
        )
        yield from self._applied(statuses)

    def _applied(self, statuses: Sequence[ProcessorStatus]) -> Iterator[Metric]:
        applied = {str(s.partition): s.applied_lsn for s in statuses if s.applied_lsn is not None}
        yield self._labelled(
            "restate_partition_applied_lsn", "Last applied record.", "partition", applied
        )

    def _gauge(self, name: str, text: str, value: float) -> Metric:
        family = GaugeMetricFamily(name, text, labels=_LABELS)
        family.add_metric(self._values, value)
        return family

    def _counter(self, name: str, text: str, value: float) -> Metric:
        family = CounterMetricFamily(name, text, labels=_LABELS)
        family.add_metric(self._values, value)
        return family

    def _labelled(self, name: str, text: str, label: str, values: Mapping[str, int]) -> Metric:
        family = GaugeMetricFamily(name, text, labels=(*_LABELS, label))
        for key, value in values.items():
            family.add_metric((*self._values, key), value)
        return family


def _lag(status: ProcessorStatus) -> int | None:
    if status.target_tail_lsn is None or status.applied_lsn is None:
        return None
    return max(0, status.target_tail_lsn - status.applied_lsn - 1)
