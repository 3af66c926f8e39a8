"""All clients that every ready node gets."""

from __future__ import annotations

from typing import Final

from restate_node.sim.workloads import (
    chain_watch,
    invocations,
    log_appends,
    log_reads,
    log_tails,
    log_trims,
    meddling,
    partition_watch,
    registers,
    registration,
    state_writes,
)
from restate_node.sim.workloads.workload import Client

CLIENTS: Final[tuple[Client, ...]] = (
    chain_watch.CLIENT,
    partition_watch.CLIENT,
    log_appends.CLIENT,
    log_reads.CLIENT,
    log_tails.CLIENT,
    log_trims.CLIENT,
    registers.CLIENT,
    state_writes.CLIENT,
)

INVOKING: Final[tuple[Client, ...]] = (
    registration.CLIENT,
    invocations.CLIENT,
    meddling.CLIENT,
)
"""In runs with a load."""
