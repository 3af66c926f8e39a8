"""A new leader enters. That everything of former leaders is dropped from here on is the doing of
`dedup`; what remains is to remember who leads.
"""

from __future__ import annotations

from restate_node.protocol.partition import tables
from restate_node.protocol.partition.effects import Effect, LeaderAnnounced
from restate_node.protocol.partition.tables import Mutation
from restate_node.types.ids import PartitionId
from restate_node.types.wal import AnnounceLeader


def announce_leader(
    partition: PartitionId, command: AnnounceLeader
) -> tuple[list[Mutation], list[Effect]]:
    """Remember the leader."""
    leader = tables.LeaderRecord(
        command.epoch, command.node, command.metadata_version, command.current, command.next
    )
    announced = LeaderAnnounced(command.node, command.epoch)
    return [tables.write_leader(partition, leader)], [announced]
