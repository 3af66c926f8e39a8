"""Replaces the whole state of one object, if nobody changed it since the caller looked.

The version of a state is a hash of its entries in the order of their names. It is computed when it
is asked for, so it costs nothing to keep, and equal states have equal versions on all replicas.
"""

from __future__ import annotations

import hashlib
import struct
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from typing import Final

from restate_node.protocol.partition import tables
from restate_node.protocol.partition.effects import PatchRejected, StatePatched
from restate_node.protocol.partition.machine import Machine
from restate_node.protocol.partition.tables import StateEntry, StateOwner
from restate_node.types.wal import PatchState

_INDEX: Final = struct.Struct(">Q")


def patch_state(machine: Machine, partition_key: int, command: PatchState) -> None:
    """The new state, or a rejection that changes nothing."""
    owner = StateOwner(partition_key, command.service, command.key)
    present = list(tables.state_of(machine.rows, owner))
    expected = command.expected_version
    if expected is not None and (found := state_version(present)) != expected:
        machine.effects.append(PatchRejected(command.service, command.key, expected, found))
        return
    gone = [entry.name for entry in present if entry.name not in command.new_state]
    machine.put(*(tables.write_state(owner, name, None) for name in gone))
    for name, value in command.new_state.items():
        machine.put(tables.write_state(owner, name, value))
    machine.effects.append(StatePatched(command.service, command.key))


def state_version(entries: Iterable[StateEntry]) -> str:
    """The version of a state whose entries come in the order of their names.

    Contract: Restate's command-line tool computes the same from what it has read, SHA-256 of

        index u64 | 01 | name | 02 | value | 03      for each entry, in base64 for URLs
    """
    digest = hashlib.sha256()
    for index, entry in enumerate(entries):
        digest.update(_INDEX.pack(index))
        digest.update(b"\x01" + entry.name.encode() + b"\x02" + entry.value + b"\x03")
    return urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()
