"""One store group on its way to the log servers: runs what its `protocol.append_wave` decides.

The wave says whom to send to, when to wait and when to give up; here are the sending, the time-out
and the pause. A group of a loglet that was sealed meanwhile falls silent: the seal has answered its
callers already.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, assert_never

import msgspec
import structlog

from restate_node.bifrost.loglet import OnAppended
from restate_node.bifrost.replicated.loglet_nodes import LogletNodes
from restate_node.bifrost.replicated.record_cache import RecordCache
from restate_node.fabric.fabric import Fabric
from restate_node.protocol.append_wave import (
    AppendWave,
    Committed,
    Graylist,
    NextWaveAfter,
    Reconfigure,
    SealedByMajority,
    SendStore,
    WaveEffect,
)
from restate_node.protocol.sequencer import StoreGroup
from restate_node.runtime.ports import Clock
from restate_node.runtime.watch import Watch
from restate_node.types.fabric import RpcFailure
from restate_node.types.ids import PlainNodeId, loglet_text
from restate_node.types.log_messages import AppendStatus, LogletHeader, Status, Store, StoredRun
from restate_node.types.offsets import OLDEST_OFFSET, LogletTail, TailState

logger = structlog.get_logger(__name__)

STORE_TIMEOUT_S: Final = 2.0
BACK_OFF_MS: Final = 50
GRAYLIST_PENALTY_MS: Final = 1000

OnEnded = Callable[[StoreGroup[OnAppended], AppendStatus], None]
"""OK: committed. SEALED, RECONFIGURE: the loglet ends here."""


def _open_tail() -> Watch[LogletTail]:
    return Watch(LogletTail(TailState.OPEN, OLDEST_OFFSET))


@dataclass(slots=True)
class SequencerContext:
    """What a sequencer shares with its groups."""

    nodes: LogletNodes
    fabric: Fabric
    clock: Clock
    rng: random.Random
    cache: RecordCache
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    graylist: Graylist = field(default_factory=lambda: Graylist(GRAYLIST_PENALTY_MS))
    known_tail: Watch[LogletTail] = field(default_factory=_open_tail)


class GroupStore:
    """One store group on its way: runs the effects of its `AppendWave`."""

    __slots__ = ("_context", "_group", "_on_ended", "_store", "_timer", "_wave")

    def __init__(
        self, context: SequencerContext, group: StoreGroup[OnAppended], on_ended: OnEnded
    ) -> None:
        """`on_ended` is called once, unless the loglet is sealed by somebody else before."""
        pause = int(BACK_OFF_MS * context.rng.uniform(0.7, 1.3))
        self._context = context
        self._group = group
        self._on_ended = on_ended
        self._wave = AppendWave(context.nodes.checker, context.rng, context.graylist, pause)
        self._timer: asyncio.TimerHandle | None = None
        self._store = Store(
            context.nodes.params.loglet_id,
            context.nodes.params.sequencer,
            context.known_tail.value.offset,
            group.first_offset,
            group.batch.count,
            group.batch.body,
        )

    def start(self) -> None:
        run = StoredRun(self._group.first_offset, self._group.batch.count, self._group.batch.body)
        self._context.cache.add(self._context.nodes.params.loglet_id, run)
        self._next_wave()

    def _next_wave(self) -> None:
        self._timer = None
        if self._context.known_tail.value.is_sealed:
            return
        known = self._context.known_tail.value.offset
        if known != self._store.known_global_tail:
            self._store = msgspec.structs.replace(self._store, known_global_tail=known)
        self._wave.judge_by(self._context.nodes.checker)
        self._run(self._wave.next_wave(self._now()))

    def _run(self, effects: list[WaveEffect]) -> None:
        for effect in effects:
            match effect:
                case SendStore(node):
                    self._send(node)
                case Committed():
                    self._stop_timer()
                    self._on_ended(self._group, AppendStatus.OK)
                case NextWaveAfter(milliseconds):
                    self._start_timer(milliseconds / 1000, self._next_wave)
                case SealedByMajority():
                    self._stop_timer()
                    self._on_ended(self._group, AppendStatus.SEALED)
                case Reconfigure(reason):
                    self._stop_timer()
                    loglet = loglet_text(self._context.nodes.params.loglet_id)
                    logger.warning("loglet needs another nodeset", loglet=loglet, reason=reason)
                    self._on_ended(self._group, AppendStatus.RECONFIGURE)
                case _:
                    assert_never(effect)

    def _send(self, node: PlainNodeId) -> None:
        if self._timer is None:
            self._start_timer(STORE_TIMEOUT_S, self._timed_out)
        self._context.fabric.submit(
            node, self._store, lambda reply: self._replied(node, reply), timeout_s=STORE_TIMEOUT_S
        )

    def _replied(self, node: PlainNodeId, reply: msgspec.Struct | RpcFailure) -> None:
        if self._context.known_tail.value.is_sealed:
            return
        if isinstance(reply, LogletHeader):
            self._run(self._wave.replied(node, Status(reply.status), self._now()))
        else:
            self._run(self._wave.failed(node, self._now()))

    def _timed_out(self) -> None:
        self._timer = None
        self._run(self._wave.timed_out(self._now()))

    def _start_timer(self, seconds: float, callback: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = self._context.loop.call_later(seconds, callback)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _now(self) -> int:
        return int(self._context.clock.monotonic() * 1000)
