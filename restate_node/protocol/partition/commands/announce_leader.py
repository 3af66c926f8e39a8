"""A new leader enters. That everything of former leaders is dropped from here on is the doing of
`dedup`; what remains is to remember who leads.
"""

from __future__ import annotations

from restate_node.protocol.partition import tables
from restate_node.protocol.partition.effects import LeaderAnnounced
from restate_node.protocol.partition.machine import Machine
from restate_node.types.wal import AnnounceLeader


def announce_leader(machine: Machine, command: AnnounceLeader) -> None:
    """Remember the leader."""
    leader = tables.LeaderRecord(
        command.epoch, command.node, command.metadata_version, command.current, command.next
    )
    machine.put(tables.write_leader(machine.partition.id, leader))
    machine.effects.append(LeaderAnnounced(command.node, command.epoch))
