"""A configuration with some values replaced, and the difference as the operations page shows it.

⚙️ Cluster Configuration
 Number of partitions: 4
-├ Partition replication: {node: 1}        what it was
+├ Partition replication: {node: 2}        what it will be
 Logs Provider: replicated
- Log replication: {node: 1}
+ Log replication: {node: 2}
"""

from __future__ import annotations

from dataclasses import dataclass

from restate_node.ctl.configuration_rows import configuration_lines
from restate_node.ctl.errors import CtlError, UsageError
from restate_node.types.replication import ReplicationProperty
from restate_node.wire.pb.cluster_pb2 import ClusterConfiguration

PROVIDERS = ("replicated", "local")
_BRANCHES = (" Number of partitions", " Partition replication")
"""The page draws these two as branches of a tree where they change."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The values to replace; None keeps what there is."""

    num_partitions: int | None = None
    partition_replication: ReplicationProperty | None = None
    log_replication: ReplicationProperty | None = None
    log_provider: str | None = None
    nodeset_size: int | None = None

    @property
    def is_nothing(self) -> bool:
        return self == Wanted()


def parse_replication(option: str, text: str | None) -> ReplicationProperty | None:
    """UsageError names the option."""
    if text is None:
        return None
    try:
        return ReplicationProperty.parse(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None


def edited(current: ClusterConfiguration, wanted: Wanted) -> ClusterConfiguration:
    """The whole configuration as it shall be; CtlError for what can never be."""
    result = ClusterConfiguration()
    result.CopyFrom(current)
    if wanted.num_partitions is not None:
        _check_partitions(current.num_partitions, wanted.num_partitions)
        result.num_partitions = wanted.num_partitions
    if wanted.partition_replication is not None:
        text = str(wanted.partition_replication)
        result.partition_replication.replication_property = text
    _edit_provider(result, wanted)
    return result


def difference(before: ClusterConfiguration, after: ClusterConfiguration) -> tuple[str, ...]:
    """All lines, those that change twice; empty if nothing changes."""
    old, new = configuration_lines(before), configuration_lines(after)
    if old == new:
        return ()
    return tuple(line for pair in _paired(old, new) for line in _line(*pair))


def _check_partitions(present: int, wanted: int) -> None:
    if present and wanted != present:
        raise CtlError(
            f"the cluster has {present} partitions already: repartitioning to {wanted} is not "
            "supported, leave out --num-partitions"
        )


def _edit_provider(result: ClusterConfiguration, wanted: Wanted) -> None:
    provider = result.bifrost_provider
    if wanted.log_provider is not None:
        provider.provider = wanted.log_provider
    if wanted.log_replication is not None:
        provider.replication_property.replication_property = str(wanted.log_replication)
    if wanted.nodeset_size is not None:
        provider.target_nodeset_size = wanted.nodeset_size
    if provider.provider != "replicated":
        if wanted.log_replication is not None or wanted.nodeset_size is not None:
            raise CtlError(
                f"log provider {provider.provider} has no replication: add --log-provider "
                "replicated, or leave out the options of replicated logs"
            )
    elif not provider.HasField("replication_property"):
        raise CtlError("log provider replicated needs --log-replication")


def _paired(old: tuple[str, ...], new: tuple[str, ...]) -> list[tuple[str | None, str | None]]:
    """Lines of the same name side by side."""
    before, after = ({_name(line): line for line in lines} for lines in (old, new))
    names = dict.fromkeys([*before, *after])
    return [(before.get(name), after.get(name)) for name in names]


def _line(old: str | None, new: str | None) -> list[str]:
    if old == new and new is not None:
        return [new]
    signed = [("-", old), ("+", new)]
    return [f"{sign}{_branch(line)}{line}" for sign, line in signed if line is not None]


def _branch(line: str) -> str:
    return "├" if line.startswith(_BRANCHES) else ""


def _name(line: str) -> str:
    return line.partition(":")[0]
