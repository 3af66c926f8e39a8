"""A replicated loglet as one node sees it: appends go to its sequencer, reads to its log servers.

    append  ─▶ LocalSequencer, when this process is the sequencer, else Append to the node that is
    read    ─▶ record cache ─▶ this node's log server ─▶ the sequencer's ─▶ any other member
    tail    ─▶ the live sequencer's word, else what the quorums prove

What is known of the tail only ever moves forward, whoever told it: each is a committed prefix. The
tail that a search of a sealed loglet proves is none: until the chain has taken it, another search
may prove, and the chain take, a lower one. So it is answered to whoever asks for it, and no reader
is led by it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Final

import msgspec

from restate_node.bifrost.loglet import AppendResult, LogletUnavailable, OnAppended
from restate_node.bifrost.replicated.local_sequencer import LocalSequencer
from restate_node.bifrost.replicated.loglet_nodes import LogletNodes
from restate_node.bifrost.replicated.procedures import Procedures, contiguous
from restate_node.bifrost.replicated.record_cache import RecordCache
from restate_node.fabric.fabric import Fabric
from restate_node.protocol.loglet_runs import Span, part, span
from restate_node.runtime.watch import Watch
from restate_node.types.fabric import RpcCode, RpcFailure
from restate_node.types.ids import (
    GenerationalNodeId,
    LogletId,
    PlainNodeId,
    loglet_log,
    loglet_segment,
    loglet_text,
)
from restate_node.types.log_messages import (
    Append,
    Appended,
    AppendStatus,
    GetRecords,
    GetSequencerState,
    LogletHeader,
    Records,
    SequencerState,
    Status,
    WaitForTail,
)
from restate_node.types.offsets import OLDEST_OFFSET, LogletOffset, LogletTail, TailState
from restate_node.types.records import RecordBatch

APPEND_TIMEOUT_S: Final = 10.0
SEQUENCER_TIMEOUT_S: Final = 0.5
READ_TIMEOUT_S: Final = 2.0
TAIL_POLL_S: Final = 1.0
OWN_POLL_SHARE: Final = 0.75

IsAlive = Callable[[GenerationalNodeId], bool]
"""The failure detector's opinion."""


class ReplicatedLoglet:
    """Implements `bifrost.loglet.Loglet`."""

    def __init__(
        self,
        nodes: LogletNodes,
        fabric: Fabric,
        rng: Random,
        cache: RecordCache,
        is_alive: IsAlive,
        sequencer: LocalSequencer | None,
    ) -> None:
        self._nodes = nodes
        self._fabric = fabric
        self._rng = rng
        self._cache = cache
        self._is_alive = is_alive
        self._sequencer = sequencer
        self._procedures = Procedures(nodes, fabric, rng)
        self._remote_tail = Watch(LogletTail(TailState.OPEN, OLDEST_OFFSET))
        self._proven_end: LogletTail | None = None
        self._prefer_own = True

    @property
    def id(self) -> LogletId:
        return self._nodes.params.loglet_id

    @property
    def keeps_order(self) -> bool:
        return self._sequencer is not None

    @property
    def tells_tail(self) -> bool:
        return self._sequencer is not None

    @property
    def known_tail(self) -> Watch[LogletTail]:
        return self._sequencer.known_tail if self._sequencer is not None else self._remote_tail

    # ------------------------------------------------------------ append

    def append(self, batch: RecordBatch, on_appended: OnAppended) -> bool:
        if self._sequencer is not None:
            return self._sequencer.append(batch, on_appended)
        loglet = self.id
        log, segment = loglet_log(loglet), loglet_segment(loglet)
        request = Append(log, segment, loglet, batch.count, batch.body)
        self._fabric.submit(
            self._nodes.params.sequencer,
            request,
            lambda reply: self._appended(reply, on_appended),
            timeout_s=APPEND_TIMEOUT_S,
        )
        return True

    def _appended(self, reply: msgspec.Struct | RpcFailure, on_appended: OnAppended) -> None:
        match reply:
            case Appended(status=AppendStatus.OK):
                self._learned(reply.known_global_tail)
                on_appended(AppendResult(AppendStatus.OK, reply.first_offset))
            case Appended():
                on_appended(AppendResult(reply.status, maybe_written=True))
            case RpcFailure():
                overloaded = reply.code in (RpcCode.OVERLOADED, RpcCode.NOT_READY)
                status = AppendStatus.OVERLOADED if overloaded else AppendStatus.NOT_SEQUENCER
                on_appended(AppendResult(status, maybe_written=reply.maybe_executed))
            case _:
                on_appended(AppendResult(AppendStatus.MALFORMED, maybe_written=True))

    # ------------------------------------------------------------ tail

    async def find_tail(self) -> LogletTail:
        if self._proven_end is not None:
            return self._proven_end
        if self._sequencer is not None and not self._sequencer.is_sealed:
            return self._sequencer.known_tail.value
        tail = None if self._sequencer is not None else await self._ask_sequencer()
        if tail is None:
            alive = self._sequencer is None and self._is_alive(self._nodes.params.sequencer)
            tail = await self._procedures.find_tail(sequencer_is_gone=not alive)
        self._found(tail)
        return tail

    async def seal(self) -> LogletTail:
        if self._sequencer is not None:
            self._sequencer.seal()
        await self._procedures.seal()
        tail = await self._procedures.find_tail(sequencer_is_gone=True)
        if not tail.is_sealed:
            raise LogletUnavailable(f"loglet {loglet_text(self.id)} is not sealed yet")
        self._found(tail)
        return tail

    async def wait_for_tail(self, offset: LogletOffset) -> None:
        """One round of waiting: may also return early, for the caller to look and come again."""
        if self._sequencer is not None:
            await self._sequencer.known_tail.until(lambda t: t.offset >= offset or t.is_sealed)
            return
        if self._remote_tail.value.offset >= offset or self._remote_tail.value.is_sealed:
            return
        node = self._poll_target()
        self._prefer_own = True
        request = WaitForTail(self.id, offset, committed=True)
        try:
            header = await self._fabric.call(
                node, request, LogletHeader, timeout_s=TAIL_POLL_S + self._rng.random()
            )
        except RpcFailure as failure:
            if not failure.maybe_executed:
                self._prefer_own = False
                raise LogletUnavailable(f"N{node}: {failure}") from None
            await self._hear_sequencer()
            return
        self._learned(header.known_global_tail)
        if header.known_global_tail >= offset:
            return
        self._prefer_own = False
        await self._hear_sequencer()
        if self._remote_tail.value.offset < offset:
            raise LogletUnavailable(f"N{node} answers early for loglet {loglet_text(self.id)}")

    async def _ask_sequencer(self) -> LogletTail | None:
        """The live sequencer's word; None when there is none to be had."""
        sequencer = self._nodes.params.sequencer
        if not self._is_alive(sequencer):
            return None
        request = GetSequencerState(loglet_log(self.id), loglet_segment(self.id), self.id)
        try:
            state = await self._fabric.call(
                sequencer, request, SequencerState, timeout_s=SEQUENCER_TIMEOUT_S
            )
        except RpcFailure:
            return None
        if state.status is not AppendStatus.OK:
            return None
        return LogletTail(TailState.OPEN, state.known_global_tail)

    def _poll_target(self) -> PlainNodeId:
        """Preferably this node's own log server, but now and then another: it may be cut off, or
        sealed alone.
        """
        order = self._nodes.reading_order(self._rng)
        if not order:
            raise LogletUnavailable(f"loglet {loglet_text(self.id)} has no readable log server")
        own = self._prefer_own and self._rng.random() < OWN_POLL_SHARE
        return order[0] if own else self._rng.choice(order)

    async def _hear_sequencer(self) -> None:
        """The log servers have nothing new: a last release may have been lost, and an idle
        sequencer does not repeat it.
        """
        tail = await self._ask_sequencer()
        if tail is not None:
            self._learned(tail.offset)

    def _found(self, tail: LogletTail) -> None:
        """A search has ended. Its word is kept, so that this node says one thing."""
        if tail.is_sealed:
            self._proven_end = self._proven_end or tail
            known = self._remote_tail.value.offset
            self._remote_tail.set(LogletTail(TailState.SEALED, known))
        else:
            self._learned(tail.offset)

    def _learned(self, committed: LogletOffset) -> None:
        known = self._remote_tail.value
        if committed > known.offset:
            self._remote_tail.set(LogletTail(known.state, committed))

    # ------------------------------------------------------------ read, trim

    async def read(
        self, from_offset: LogletOffset, to_offset: LogletOffset, bytes_max: int
    ) -> Records:
        window = Span(from_offset, to_offset)
        cached = self._cache.read(self.id, from_offset, to_offset, bytes_max)
        if cached:
            runs = [part(run, window) for run in cached]
            last = runs[-1]
            tail = LogletOffset(last.first_offset + last.count)
            header = LogletHeader(Status.OK, tail, self.known_tail.value.offset, False)
            return Records(header, LogletOffset(0), tail, runs)
        return await self._read_remote(window, bytes_max)

    async def _read_remote(self, window: Span, bytes_max: int) -> Records:
        request = GetRecords(self.id, window.first, window.tail, bytes_max, beyond_global_tail=True)
        for node in self._nodes.reading_order(self._rng):
            try:
                answer = await self._fabric.call(node, request, Records, timeout_s=READ_TIMEOUT_S)
            except RpcFailure:
                continue
            if answer.trim_point >= window.first:
                return answer
            runs = contiguous(answer.runs, window.first)
            if runs:
                return Records(answer.header, answer.trim_point, span(runs[-1]).tail, runs)
        await asyncio.sleep(0)  # all failed at once: let others run before the caller retries
        raise LogletUnavailable(
            f"no log server has offset {window.first} of loglet {loglet_text(self.id)} at hand"
        )

    async def trim(self, trim_point: LogletOffset) -> LogletOffset:
        return await self._procedures.trim(trim_point, self.known_tail.value.offset)

    async def trim_point(self) -> LogletOffset:
        return await self._procedures.trim_point()
