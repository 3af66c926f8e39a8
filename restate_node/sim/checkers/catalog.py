"""All checkers, in the order of the invariants' names."""

from __future__ import annotations

from typing import Final

from restate_node.sim.checkers import (
    acknowledged_ends,
    acknowledged_readable,
    applied_once,
    applied_reaches_tail,
    chains_contiguous,
    damage_never_read,
    drained_owns_nothing,
    effects_once,
    ended_acts_no_more,
    invocations_end,
    journal_immutable,
    leader_after_heal,
    leaders_spread,
    leaders_wanted,
    no_change_when_quiet,
    nodesets_satisfy,
    one_leader_per_epoch,
    one_raft_leader,
    one_result,
    one_value_per_lsn,
    one_writer_per_key,
    operators_obeyed,
    outcomes_agree,
    raft_leader_complete,
    raft_logs_match,
    raft_state_machine,
    registers_linearizable,
    replicas_agree,
    sealed_final,
    snapshot_and_replay,
    snapshots_only_rise,
    status_honest,
    tail_monotone,
    timers,
    trim_below_durable,
)
from restate_node.sim.checkers.checker import Checker

CONTROL_CHECKERS: Final[tuple[Checker, ...]] = (
    nodesets_satisfy.CHECKER,
    no_change_when_quiet.CHECKER,
    drained_owns_nothing.CHECKER,
    leaders_spread.CHECKER,
    leaders_wanted.CHECKER,
)
"""What a cluster at rest owes; a run waits for it, as long as V2 allows."""

TRUTH_CHECKERS: Final[tuple[Checker, ...]] = (
    acknowledged_readable.CHECKER,
    one_value_per_lsn.CHECKER,
    tail_monotone.CHECKER,
    sealed_final.CHECKER,
    chains_contiguous.CHECKER,
    trim_below_durable.CHECKER,
    damage_never_read.CHECKER,
    snapshots_only_rise.CHECKER,
    one_raft_leader.CHECKER,
    raft_logs_match.CHECKER,
    raft_leader_complete.CHECKER,
    raft_state_machine.CHECKER,
    registers_linearizable.CHECKER,
    replicas_agree.CHECKER,
    one_leader_per_epoch.CHECKER,
    applied_once.CHECKER,
    journal_immutable.CHECKER,
    one_writer_per_key.CHECKER,
    one_result.CHECKER,
    timers.NEVER_EARLY,
    snapshot_and_replay.CHECKER,
    effects_once.CHECKER,
    ended_acts_no_more.CHECKER,
    outcomes_agree.CHECKER,
    operators_obeyed.CHECKER,
    status_honest.CHECKER,
)
"""What holds whatever happens: a cluster may refuse, it may never lie."""

CHECKERS: Final[tuple[Checker, ...]] = (
    *TRUTH_CHECKERS,
    leader_after_heal.CHECKER,
    applied_reaches_tail.CHECKER,
    timers.ALL_RING,
    acknowledged_ends.CHECKER,
    invocations_end.CHECKER,
    *CONTROL_CHECKERS,
)
"""What a cluster owes that has lost nothing, or no more than it tolerates."""
