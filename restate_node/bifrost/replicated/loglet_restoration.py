"""Restores one loglet on one log server: compares it with its peers, window by window, and copies
what is missing.

    GetChecksums to all ─▶ judge_window ─▶ GetRecords from one, Store to the target ─▶ once more

A window is left behind when the sums show nothing to do; that copies have arrived is never taken
for granted. A peer that falls silent is not asked again in this loglet, unless a record is missed
that it might have.

Bounds: one read of `READ_BYTES_MAX` under way, stored in pieces of `STORE_BYTES_MAX` (a single
larger record is one read and one piece).
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import Final, assert_never

from restate_node.bifrost.repair_progress import PlannedCopy, Refused, RepairProgress
from restate_node.bifrost.replicated.procedures import contiguous
from restate_node.fabric.fabric import Fabric
from restate_node.fabric.fanout import ask_each
from restate_node.protocol.loglet_runs import joined, span
from restate_node.protocol.server_repair import (
    CopyStep,
    Differing,
    LogletWork,
    NoCopy,
    Window,
    WindowVerdict,
    judge_window,
)
from restate_node.types.fabric import RpcCode, RpcFailure
from restate_node.types.ids import PlainNodeId, loglet_text, plain_text
from restate_node.types.log_messages import (
    Checksums,
    GetChecksums,
    GetLogletInfo,
    GetRecords,
    LogletHeader,
    LogletInfo,
    Records,
    Status,
    Store,
    StoredRun,
)
from restate_node.types.nodes import NodesConfiguration
from restate_node.types.offsets import OLDEST_OFFSET, LogletOffset, to_lsn

ANSWER_TIMEOUT_S: Final = 3.0
PAUSE_S: Final = 0.5
ATTEMPTS_MAX: Final = 12
"""Without progress; a peer that restarts needs a few seconds."""
READ_BYTES_MAX: Final = 1024 * 1024
STORE_BYTES_MAX: Final = 256 * 1024


class TargetFailed(Exception):
    """The repaired server takes no more records, of whatever loglet."""


class _Later(Exception):
    """Nothing is wrong yet; says what is waited for."""


class LogletRestoration:
    """One loglet of one repair."""

    def __init__(
        self,
        work: LogletWork,
        target: PlainNodeId,
        nodes: NodesConfiguration,
        fabric: Fabric,
        rng: Random,
        progress: RepairProgress,
    ) -> None:
        self._work = work
        self._target = target
        self._fabric = fabric
        self._progress = progress
        nodeset = work.params.nodeset
        peers = [n for n in nodeset if n != target and nodes.storage_state(n).readable]
        rng.shuffle(peers)
        self._peers = peers
        self._silent: dict[PlainNodeId, str] = {}
        self._trim_point = LogletOffset(0)
        self._copied = 0

    async def to_known_tail(self) -> LogletWork:
        """The same work, up to what is committed for certain of a loglet that stays open."""
        tail = OLDEST_OFFSET
        request = GetLogletInfo(self._work.params.loglet_id)
        async for _, answer in ask_each(
            self._fabric, self._peers, request, LogletInfo, timeout_s=ANSWER_TIMEOUT_S
        ):
            if isinstance(answer, LogletInfo):
                tail = max(tail, answer.header.known_global_tail)
        work = self._work
        return LogletWork(work.log, work.base_lsn, work.params, tail)

    async def run(self) -> LogletOffset:
        """The trim point that was heard of. Raises Refused, TargetFailed."""
        position, attempts = OLDEST_OFFSET, 0
        while position < self._work.end:
            copied = self._copied
            try:
                tail = await self._advance(position)
            except _Later as later:
                attempts = 1 if self._copied > copied else attempts + 1
                if attempts >= ATTEMPTS_MAX:
                    raise Refused(str(later)) from None
                await asyncio.sleep(PAUSE_S)
                continue
            attempts = 0
            self._progress.records_checked += tail - position
            position = tail
        return self._trim_point

    async def _advance(self, position: LogletOffset) -> LogletOffset:
        """Where the next window begins. Raises _Later, Refused, TargetFailed."""
        for _ in range(2):
            verdict = await self._judge(position)
            match verdict:
                case Window(tail, steps, trim_point):
                    self._trim_point = max(self._trim_point, trim_point)
                    if not steps or self._progress.dry_run:
                        self._plan(steps)
                        return tail
                    for step in steps:
                        await self._copy(step)
                case NoCopy(first, tail):
                    self._nobody_has(first, tail)
                case Differing(offset, nodes):
                    names = ", ".join(plain_text(node) for node in nodes)
                    where = self._where(offset, LogletOffset(offset + 1))
                    raise Refused(
                        f"{where}: {names} hold different records; find out which of them is "
                        "damaged, nothing was overwritten"
                    )
                case _:
                    assert_never(verdict)
        raise _Later(f"{self._where(position, position)}: copies do not stay; repeat the repair")

    def _plan(self, steps: tuple[CopyStep, ...]) -> None:
        for step in steps:
            self._progress.plan(PlannedCopy(self._work.log, self._work.params.loglet_id, step))

    def _nobody_has(self, first: LogletOffset, tail: LogletOffset) -> None:
        """Raises Refused when everybody was heard, else _Later, and everybody is asked again."""
        where = self._where(first, tail)
        if not self._silent:
            raise Refused(
                f"{where}: no log server has a copy; bring one back that has, or trim the log "
                "beyond it to accept the loss"
            )
        silent = sorted(self._silent.items())
        names = ", ".join(f"{plain_text(node)} ({reason})" for node, reason in silent)
        self._silent.clear()
        raise _Later(
            f"{where}: no log server that answers has a copy; not heard from {names}: bring it "
            "back, then repeat the repair"
        )

    # ------------------------------------------------------------ asking

    async def _judge(self, position: LogletOffset) -> WindowVerdict:
        asked = [*(node for node in self._peers if node not in self._silent), self._target]
        request = GetChecksums(self._work.params.loglet_id, position, self._work.end)
        heard: dict[PlainNodeId, Checksums] = {}
        async for node, answer in ask_each(
            self._fabric, asked, request, Checksums, timeout_s=ANSWER_TIMEOUT_S
        ):
            if isinstance(answer, Checksums):
                heard[node] = answer
            elif node == self._target:
                self._target_unreadable(position, answer)
            else:
                self._silent[node] = str(answer)
        answers = {node: heard[node] for node in asked if node in heard}
        return judge_window(self._target, position, self._work.end, answers)

    def _target_unreadable(self, position: LogletOffset, failure: RpcFailure) -> None:
        name = plain_text(self._target)
        if failure.code is not RpcCode.FAILED:
            raise _Later(f"the log server of {name} does not answer: {failure}")
        raise Refused(
            f"{self._where(position, position)}: {name} cannot read its own copy "
            f"({failure.message}); delete its log-store directory and repair it from its peers"
        )

    # ------------------------------------------------------------ copying

    async def _copy(self, step: CopyStep) -> None:
        position = step.first
        while position < step.tail:
            runs = await self._read(step, position)
            await asyncio.gather(*(self._store(run) for run in joined(runs, STORE_BYTES_MAX)))
            position = span(runs[-1]).tail

    async def _read(self, step: CopyStep, position: LogletOffset) -> list[StoredRun]:
        """At least one run, from `position` on."""
        request = GetRecords(
            self._work.params.loglet_id,
            position,
            step.tail,
            READ_BYTES_MAX,
            beyond_global_tail=True,
        )
        for source in step.sources:
            try:
                answer = await self._fabric.call(
                    source, request, Records, timeout_s=ANSWER_TIMEOUT_S
                )
            except RpcFailure as failure:
                self._silent[source] = str(failure)
                continue
            runs = contiguous(answer.runs, position)
            if runs:
                return runs
        names = ", ".join(plain_text(node) for node in step.sources)
        where = self._where(position, step.tail)
        raise _Later(f"{where}: cannot be read from {names} now; repeat the repair")

    async def _store(self, run: StoredRun) -> None:
        params, name = self._work.params, plain_text(self._target)
        request = Store(
            params.loglet_id,
            params.sequencer,
            self._work.end,
            run.first_offset,
            run.count,
            run.body,
            repair=True,
        )
        try:
            answer = await self._fabric.call(
                self._target, request, LogletHeader, timeout_s=ANSWER_TIMEOUT_S
            )
        except RpcFailure as failure:
            raise _Later(f"the log server of {name} does not answer: {failure}") from None
        match answer.status:
            case Status.OK:
                self._copied += run.count
                self._progress.records_copied += run.count
                self._progress.bytes_copied += len(run.body)
            case Status.DROPPED | Status.SEALING:
                raise _Later(f"the log server of {name} is busy; repeat the repair")
            case Status.DISABLED:
                raise TargetFailed(
                    f"the log server of {name} takes no records: its disk failed or is full. See "
                    "its log, make room, restart it, then repeat the repair"
                )
            case _:
                where = self._where(run.first_offset, span(run).tail)
                raise Refused(f"{where}: {name} answers {answer.status.name.lower()}")

    def _where(self, first: LogletOffset, tail: LogletOffset) -> str:
        """`log 0, LSN 42-44 (loglet 0_1, offset 17-19)`."""
        base, last = self._work.base_lsn, LogletOffset(max(first, tail - 1))
        lsn, offset = str(to_lsn(base, first)), str(first)
        if last > first:
            lsn, offset = f"{lsn}-{to_lsn(base, last)}", f"{offset}-{last}"
        loglet = loglet_text(self._work.params.loglet_id)
        return f"log {self._work.log}, LSN {lsn} (loglet {loglet}, offset {offset})"
