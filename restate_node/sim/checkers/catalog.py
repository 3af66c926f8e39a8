"""All checkers, in the order of the invariants' names."""

from __future__ import annotations

from typing import Final

from restate_node.sim.checkers import (
    acknowledged_readable,
    applied_once,
    applied_reaches_tail,
    chains_contiguous,
    leader_after_heal,
    one_leader_per_epoch,
    one_raft_leader,
    one_value_per_lsn,
    raft_leader_complete,
    raft_logs_match,
    raft_state_machine,
    registers_linearizable,
    replicas_agree,
    sealed_final,
    tail_monotone,
)
from restate_node.sim.checkers.checker import Checker

CHECKERS: Final[tuple[Checker, ...]] = (
    acknowledged_readable.CHECKER,
    one_value_per_lsn.CHECKER,
    tail_monotone.CHECKER,
    sealed_final.CHECKER,
    chains_contiguous.CHECKER,
    one_raft_leader.CHECKER,
    raft_logs_match.CHECKER,
    raft_leader_complete.CHECKER,
    raft_state_machine.CHECKER,
    registers_linearizable.CHECKER,
    replicas_agree.CHECKER,
    one_leader_per_epoch.CHECKER,
    applied_once.CHECKER,
    leader_after_heal.CHECKER,
    applied_reaches_tail.CHECKER,
)
