"""How a log server may start, given what the cluster believes of it and what it finds on its disk.

    storage state    no marker                 own marker        marker of another node
    provisioning     provision: write marker   make read-write   refuse
    read-write       DATA LOSS                 serve             refuse
    read-only        DATA LOSS                 serve             refuse
    gone, disabled   serve nothing new         serve             refuse
    data-loss        refuse                    refuse            refuse

An operator who wants the server repaired says so beforehand (`log-server.repair-after-data-loss`):
then data loss does not end the start. The state still turns to data-loss, but the server stays up,
takes nothing but repairs and promises nothing, until a repair has made it whole.

The texts are what operators search for: they are part of the contract.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from restate_node.types.ids import PlainNodeId
from restate_node.types.nodes import StorageState
from restate_node.types.storage_marker import StorageMarker


@dataclass(frozen=True, slots=True)
class Serve:
    """Everything is as it should be."""


@dataclass(frozen=True, slots=True)
class Provision:
    """Write the marker (when there is none), then turn the state to read-write, then serve."""

    write_marker: bool


@dataclass(frozen=True, slots=True)
class LostData:
    """Turn the state to data-loss, then stop with this error; await a repair if there is none."""

    error: str | None


@dataclass(frozen=True, slots=True)
class AwaitRepair:
    """Take repairs and nothing else."""


@dataclass(frozen=True, slots=True)
class RefuseStart:
    """Stop with this error; change nothing."""

    error: str


StartDecision: TypeAlias = Serve | Provision | LostData | AwaitRepair | RefuseStart


def decide_start(
    me: PlainNodeId,
    name: str,
    state: StorageState,
    marker: StorageMarker | None,
    *,
    repairable: bool = False,
) -> StartDecision:
    """What to do when the role starts; `repairable`: the operator wants to repair lost data."""
    if marker is not None and marker.id != me:
        return RefuseStart(
            f"the log store in this data directory belongs to N{marker.id}, this is N{me} "
            f"('{name}'): correct base-dir or node-name"
        )
    match state:
        case StorageState.PROVISIONING:
            return Provision(write_marker=marker is None)
        case StorageState.DATA_LOSS:
            return AwaitRepair() if repairable else RefuseStart(data_loss_text(me))
        case StorageState.READ_WRITE | StorageState.READ_ONLY if marker is None:
            return LostData(None if repairable else data_loss_text(me))
        case _:
            return Serve()


def data_loss_text(me: PlainNodeId) -> str:
    """The line of the operations page."""
    return (
        f"Node cannot start a log-server on N{me}, it has detected that it has lost its data. "
        "storage-state is `data-loss`"
    )
