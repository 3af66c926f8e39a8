"""Find-tail, seal and repair of a replicated loglet, by anybody, with or without its sequencer.

Each is one round of questions to the nodeset that feeds a pure tally (`protocol.tail`, `seal`,
`repair`), and can be repeated, interrupted, and run by several nodes at once. What a round cannot
decide is an exception that says "later".

    seal      Seal to all ─▶ f-majority sealed ─▶ find_tail
    find_tail GetLogletInfo to all ─▶ Open | Sealed | repair, then Sealed | seal first | wait
    repair    GetDigest to all ─▶ plan ─▶ per step: GetRecords from one, Store to others

Who counts is the nodes configuration's to say, which may change meanwhile. A round and the repair
that it asks for go by one configuration; if that is the past when the repair is done, look again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Final, assert_never

import structlog

from restate_node.bifrost.loglet import LogletUnavailable
from restate_node.bifrost.replicated.loglet_nodes import LogletNodes
from restate_node.fabric.fabric import Fabric
from restate_node.fabric.fanout import ask_each
from restate_node.protocol.loglet_runs import span
from restate_node.protocol.quorum import NodesetChecker
from restate_node.protocol.repair import (
    DataUnavailable,
    RepairPlan,
    RepairScope,
    RepairStep,
    TooFewTargets,
    plan_repair,
)
from restate_node.protocol.seal import SealDone, SealImpossible, SealTally
from restate_node.protocol.tail import (
    NeedsRepair,
    Open,
    Sealed,
    SealFirst,
    TailDecision,
    TailTally,
    Undecided,
    WaitFor,
)
from restate_node.types.fabric import RpcFailure
from restate_node.types.ids import PlainNodeId, loglet_text
from restate_node.types.log_messages import (
    Digest,
    DigestEntry,
    GetDigest,
    GetLogletInfo,
    GetRecords,
    LogletHeader,
    LogletInfo,
    Records,
    Seal,
    Status,
    Store,
    StoredRun,
    TrimLoglet,
    Trimmed,
    WaitForTail,
)
from restate_node.types.offsets import OLDEST_OFFSET, LogletOffset, LogletTail, TailState

logger = structlog.get_logger(__name__)

ROUND_TIMEOUT_S: Final = 1.0
SEAL_ATTEMPTS_MAX: Final = 3
TAIL_ROUNDS_MAX: Final = 20
WAIT_ROUNDS_MAX: Final = 2
"""Rounds of waiting for stores in flight before the loglet of a silent sequencer is sealed."""
REPAIR_READ_BYTES: Final = 1024 * 1024


class Procedures:
    """Quorum procedures on one loglet."""

    def __init__(self, nodes: LogletNodes, fabric: Fabric, rng: random.Random) -> None:
        self._nodes = nodes
        self._fabric = fabric
        self._rng = rng
        self._loglet = nodes.params.loglet_id

    async def find_tail(self, *, sequencer_is_gone: bool) -> LogletTail:
        """The tail that the quorums prove; raises LogletUnavailable."""
        waited = 0
        for _ in range(TAIL_ROUNDS_MAX):
            checker = self._nodes.checker
            decision = await self._tail_round(checker)
            match decision:
                case Open(tail):
                    return LogletTail(TailState.OPEN, tail)
                case Sealed(tail):
                    return LogletTail(TailState.SEALED, tail)
                case NeedsRepair():
                    await self._repair(checker, decision)
                    if self._nodes.checker is checker:
                        return LogletTail(TailState.SEALED, decision.tail)
                case SealFirst():
                    await self.seal()
                case WaitFor(tail):
                    waited += 1
                    if sequencer_is_gone or waited > WAIT_ROUNDS_MAX:
                        await self.seal()
                    else:
                        await self._wait_for(tail)
                case Undecided():
                    raise LogletUnavailable(
                        f"too few log servers of loglet {self._name} answer to find its tail"
                    )
                case _:
                    assert_never(decision)
        raise LogletUnavailable(f"the tail of loglet {self._name} does not settle")

    async def seal(self) -> None:
        """Bring an f-majority to promise to take nothing more; raises LogletUnavailable."""
        request = Seal(self._loglet, self._nodes.params.sequencer)
        reason = "no answer"
        for _ in range(SEAL_ATTEMPTS_MAX):
            members = self._nodes.members
            tally = SealTally(self._nodes.checker, members)
            async for node, answer in ask_each(
                self._fabric, members, request, LogletHeader, timeout_s=ROUND_TIMEOUT_S
            ):
                if isinstance(answer, RpcFailure):
                    progress = tally.failed(node, str(answer.code.name.lower()))
                else:
                    progress = tally.add(node, answer)
                if isinstance(progress, SealDone):
                    return
            outcome = tally.progress()
            reason = outcome.reason if isinstance(outcome, SealImpossible) else "no answer"
        raise LogletUnavailable(f"loglet {self._name} cannot be sealed: {reason}")

    async def trim(self, trim_point: LogletOffset, known_tail: LogletOffset) -> LogletOffset:
        """Trim on a write quorum, or on all that can be written if they make none; raises
        LogletUnavailable.
        """
        trimmed: set[PlainNodeId] = set()
        request = TrimLoglet(self._loglet, trim_point, known_tail)
        async for node, answer in ask_each(
            self._fabric, self._nodes.members, request, Trimmed, timeout_s=ROUND_TIMEOUT_S
        ):
            if isinstance(answer, Trimmed) and answer.trim_point >= trim_point:
                trimmed.add(node)
        checker = self._nodes.checker
        if not checker.write_quorum(trimmed) and not (trimmed and checker.exhausted_by(trimmed)):
            raise LogletUnavailable(f"too few log servers of loglet {self._name} could trim")
        return trim_point

    async def trim_point(self) -> LogletOffset:
        """The highest trim point that an f-majority knows of; raises LogletUnavailable."""
        heard: set[PlainNodeId] = set()
        highest = LogletOffset(0)
        async for node, answer in ask_each(
            self._fabric,
            self._nodes.members,
            GetLogletInfo(self._loglet),
            LogletInfo,
            timeout_s=ROUND_TIMEOUT_S,
        ):
            if isinstance(answer, LogletInfo):
                heard.add(node)
                highest = max(highest, answer.trim_point)
            if self._nodes.checker.f_majority(heard).passed:
                return highest
        raise LogletUnavailable(f"too few log servers of loglet {self._name} answer")

    # ------------------------------------------------------------ tail

    async def _tail_round(self, checker: NodesetChecker) -> TailDecision:
        """One round; leaves early on what more answers cannot change for the worse."""
        nodes = self._nodes
        tally = TailTally(checker, nodes.all_provisioning, nodes.under_repair)
        decision = tally.decide()
        if isinstance(decision, Open):
            return decision
        async for node, answer in ask_each(
            self._fabric,
            self._nodes.members,
            GetLogletInfo(self._loglet),
            LogletInfo,
            timeout_s=ROUND_TIMEOUT_S,
        ):
            if isinstance(answer, LogletInfo):
                decision = tally.add(node, answer)
            if isinstance(decision, Open | Sealed):
                return decision
        return decision

    async def _wait_for(self, tail: LogletOffset) -> None:
        """Until a write quorum has reached the tail, or the round is over."""
        reached: set[PlainNodeId] = set()
        async for node, answer in ask_each(
            self._fabric,
            self._nodes.members,
            WaitForTail(self._loglet, tail),
            LogletHeader,
            timeout_s=ROUND_TIMEOUT_S,
        ):
            if isinstance(answer, LogletHeader) and _has_reached(answer, tail):
                reached.add(node)
            if self._nodes.checker.write_quorum(reached):
                return

    # ------------------------------------------------------------ repair

    async def _repair(self, checker: NodesetChecker, needed: NeedsRepair) -> None:
        first, tail = needed.first, needed.tail
        logger.info("repairing the tail of a loglet", loglet=self._name, first=first, tail=tail)
        digests = await self._digests(first, tail)
        order = tuple(self._nodes.reading_order(self._rng))
        nodeset = self._nodes.params.nodeset
        writable = (*(n for n in nodeset if n in checker.writable), *self._nodes.under_repair)
        scope = RepairScope(checker, order, writable, needed.is_proven)
        decision = plan_repair(scope, digests, first, tail)
        match decision:
            case RepairPlan(steps):
                for step in steps:
                    await self._copy(step)
            case DataUnavailable(start, stop, unheard):
                missing = ", ".join(f"N{node}" for node in unheard) or "none"
                raise LogletUnavailable(
                    f"nobody who answers holds {start}..{stop} of loglet {self._name}; "
                    f"not heard from: {missing}"
                )
            case TooFewTargets(start, stop):
                raise LogletUnavailable(
                    f"{start}..{stop} of loglet {self._name} cannot be replicated: "
                    "too few writable log servers"
                )
            case _:
                assert_never(decision)

    async def _digests(
        self, first: LogletOffset, tail: LogletOffset
    ) -> dict[PlainNodeId, list[DigestEntry]]:
        request = GetDigest(self._loglet, first, LogletOffset(tail - 1))
        digests: dict[PlainNodeId, list[DigestEntry]] = {}
        async for node, answer in ask_each(
            self._fabric, self._nodes.members, request, Digest, timeout_s=ROUND_TIMEOUT_S
        ):
            if isinstance(answer, Digest):
                digests[node] = answer.entries
        return digests

    async def _copy(self, step: RepairStep) -> None:
        position = step.first
        while position < step.tail:
            runs, position = await self._read_step(step, position)
            for run in runs:
                await asyncio.gather(*(self._store_repaired(node, run) for node in step.targets))

    async def _read_step(
        self, step: RepairStep, position: LogletOffset
    ) -> tuple[list[StoredRun], LogletOffset]:
        request = GetRecords(
            self._loglet, position, step.tail, REPAIR_READ_BYTES, beyond_global_tail=True
        )
        for source in step.sources:
            try:
                answer = await self._fabric.call(
                    source, request, Records, timeout_s=ROUND_TIMEOUT_S
                )
            except RpcFailure:
                continue
            runs = contiguous(answer.runs, position)
            if runs:
                return runs, span(runs[-1]).tail
        raise LogletUnavailable(f"offset {position} of loglet {self._name} cannot be read now")

    async def _store_repaired(self, node: PlainNodeId, run: StoredRun) -> None:
        request = Store(
            self._loglet,
            self._nodes.params.sequencer,
            OLDEST_OFFSET,
            run.first_offset,
            run.count,
            run.body,
            repair=True,
        )
        try:
            answer = await self._fabric.call(node, request, LogletHeader, timeout_s=ROUND_TIMEOUT_S)
        except RpcFailure as failure:
            raise LogletUnavailable(f"N{node} could not be repaired: {failure}") from None
        if answer.status is not Status.OK:
            raise LogletUnavailable(f"N{node} refused a repair: {answer.status.name.lower()}")

    @property
    def _name(self) -> str:
        return loglet_text(self._loglet)


def contiguous(runs: Sequence[StoredRun], first: LogletOffset) -> list[StoredRun]:
    """The runs from `first` on up to the first hole; none when `first` itself is missing."""
    found: list[StoredRun] = []
    for run in runs:
        if run.first_offset != first:
            break
        first = span(run).tail
        found.append(run)
    return found


def _has_reached(header: LogletHeader, tail: LogletOffset) -> bool:
    """An early answer has not: the log server gave up waiting."""
    return max(header.local_tail, header.known_global_tail) >= tail
