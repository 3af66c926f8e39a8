"""The sequencer of a loglet, on the one node that has that duty: drives `protocol.sequencer` and
`append_wave`.

    append ─▶ Sequencer ─ group ─▶ AppendWave ─ SendStore ─▶ fabric ─▶ log servers
                 ▲                     ▲─────────── replies ──────────────┘
                 └──── committed ──────┘ ─▶ callbacks, known tail, Release when idle

A group leaves at the end of the turn of the loop in which its first batch came, so that appends of
one turn share it. The window (see `SequencerOptions`) is the only queue. A loglet's sequencer lives
as long as the process, and its offsets start at 1: nobody else has ever given out offsets of this
loglet, because the process's generation is part of its name.
"""

from __future__ import annotations

import asyncio
from typing import Final

from restate_node.bifrost.loglet import AppendResult, OnAppended
from restate_node.bifrost.replicated.group_store import GroupStore, SequencerContext
from restate_node.protocol.sequencer import Placed, Sequencer, SequencerOptions, StoreGroup
from restate_node.runtime.watch import Watch
from restate_node.types.ids import PlainNodeId
from restate_node.types.log_messages import AppendStatus, Release
from restate_node.types.logs import ReplicatedParams
from restate_node.types.offsets import LogletTail, TailState
from restate_node.types.records import RecordBatch

RELEASE_AFTER_S: Final = 0.005


class LocalSequencer:
    """Appends to one loglet in this process."""

    def __init__(self, context: SequencerContext, options: SequencerOptions) -> None:
        self._context = context
        self._sequencer: Sequencer[OnAppended] = Sequencer(options)
        self._pump_scheduled = False
        self._release: asyncio.TimerHandle | None = None
        self._end = AppendStatus.SEALED

    @property
    def params(self) -> ReplicatedParams:
        return self._context.nodes.params

    @property
    def known_tail(self) -> Watch[LogletTail]:
        return self._context.known_tail

    @property
    def is_sealed(self) -> bool:
        return self.known_tail.value.is_sealed

    def append(self, batch: RecordBatch, on_appended: OnAppended) -> bool:
        """See `Loglet.append`; batches are stored in the order of the calls."""
        refused = self._sequencer.submit(batch, on_appended)
        if refused is None:
            self._schedule_pump()
            return True
        if refused.status is AppendStatus.OVERLOADED:
            return False
        status = self._end if refused.status is AppendStatus.SEALED else refused.status
        self._context.loop.call_soon(on_appended, AppendResult(status))
        return True

    def seal(self, status: AppendStatus = AppendStatus.SEALED) -> None:
        """Stop for good: who waits is told that the records may or may not be there."""
        if self.is_sealed:
            return
        self._end = status
        unresolved = self._sequencer.seal()
        tail = self._sequencer.known_global_tail
        self.known_tail.set(LogletTail(TailState.SEALED, tail))
        for on_appended in unresolved.sent:
            self._context.loop.call_soon(on_appended, AppendResult(status, maybe_written=True))
        for on_appended in unresolved.unsent:
            self._context.loop.call_soon(on_appended, AppendResult(status))

    def suspect(self, dead: frozenset[PlainNodeId]) -> None:
        """The failure detector's opinion: do without these when possible."""
        self._context.graylist.dead = dead

    # ------------------------------------------------------------ groups

    def _schedule_pump(self) -> None:
        if not self._pump_scheduled:
            self._pump_scheduled = True
            self._context.loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pump_scheduled = False
        while (group := self._sequencer.next_group()) is not None:
            GroupStore(self._context, group, self._ended).start()

    def _ended(self, group: StoreGroup[OnAppended], status: AppendStatus) -> None:
        if status is not AppendStatus.OK:
            self.seal(status)
            return
        released = self._sequencer.committed(group)
        if released.appends:
            tail = LogletTail(TailState.OPEN, released.known_global_tail)
            self.known_tail.set(tail)
            self._answer(released.appends)
            self._schedule_release()
        self._pump()

    def _answer(self, appends: tuple[Placed[OnAppended], ...]) -> None:
        ok = AppendStatus.OK
        for on_appended, first_offset in appends:
            on_appended(AppendResult(ok, first_offset))

    # ------------------------------------------------------------ the global tail, told when idle

    def _schedule_release(self) -> None:
        if self._release is None:
            self._release = self._context.loop.call_later(RELEASE_AFTER_S, self._announce_tail)

    def _announce_tail(self) -> None:
        self._release = None
        message = Release(self.params.loglet_id, self.known_tail.value.offset)
        for node in self.params.nodeset:
            self._context.fabric.notify(node, message)
