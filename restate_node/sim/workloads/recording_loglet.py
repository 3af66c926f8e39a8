"""A loglet that tells the history which of its appends were acknowledged.

The appender turns offsets into LSNs and forgets the segment; L4 needs to know it.
"""

from __future__ import annotations

from restate_node.bifrost.appender import OpenSegment
from restate_node.bifrost.loglet import AppendResult, Loglet, OnAppended
from restate_node.runtime.watch import Watch
from restate_node.sim.history import SegmentAcknowledged
from restate_node.sim.world import NodeLife
from restate_node.types.ids import LogId, LogletId
from restate_node.types.log_messages import AppendStatus, Records
from restate_node.types.offsets import LogletOffset, LogletTail, to_lsn
from restate_node.types.records import RecordBatch


def recorded(life: NodeLife, log: LogId, segment: OpenSegment) -> OpenSegment:
    """The same segment; its acknowledgements are recorded."""
    return OpenSegment(segment.index, segment.base, RecordingLoglet(life, log, segment))


class RecordingLoglet:
    """Implements `bifrost.loglet.Loglet` by another one."""

    def __init__(self, life: NodeLife, log: LogId, segment: OpenSegment) -> None:
        self._life = life
        self._log = log
        self._segment = segment
        self._inner: Loglet = segment.loglet

    @property
    def id(self) -> LogletId:
        return self._inner.id

    @property
    def keeps_order(self) -> bool:
        return self._inner.keeps_order

    @property
    def tells_tail(self) -> bool:
        return self._inner.tells_tail

    @property
    def known_tail(self) -> Watch[LogletTail]:
        return self._inner.known_tail

    def append(self, batch: RecordBatch, on_appended: OnAppended) -> bool:
        def ended(result: AppendResult) -> None:
            if result.status is AppendStatus.OK:
                self._acknowledged(result, batch.count)
            on_appended(result)

        return self._inner.append(batch, ended)

    def _acknowledged(self, result: AppendResult, count: int) -> None:
        recorder = self._life.recorder
        lsn = to_lsn(self._segment.base, result.first_offset)
        where = (self._life.name, self._log, self._segment.index)
        recorder.add(SegmentAcknowledged(recorder.now(), *where, lsn, count))

    async def find_tail(self) -> LogletTail:
        return await self._inner.find_tail()

    async def seal(self) -> LogletTail:
        return await self._inner.seal()

    async def read(
        self, from_offset: LogletOffset, to_offset: LogletOffset, bytes_max: int
    ) -> Records:
        return await self._inner.read(from_offset, to_offset, bytes_max)

    async def wait_for_tail(self, offset: LogletOffset) -> None:
        await self._inner.wait_for_tail(offset)

    async def trim(self, trim_point: LogletOffset) -> LogletOffset:
        return await self._inner.trim(trim_point)

    async def trim_point(self) -> LogletOffset:
        return await self._inner.trim_point()
