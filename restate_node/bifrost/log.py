"""The log: a name for a chain of loglets, and everything one can do with it.

    append, read   Appender and LogReader, over whatever segment it is
    find_tail      where the log ends, as its last loglet proves it
    reconfigure    seal the open segment, find its tail, begin the next one there: nothing
                   acknowledged is lost, for a sealed tail lies above every acknowledgement
    seal           the same without a next one: a marker ends the chain until somebody appends
    trim           forget a prefix

Any node may do any of these at any time. The chain object in the metadata store decides who was
first; the losers find out and use what is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Final, assert_never
from weakref import WeakSet

import structlog

from restate_node.bifrost.appender import Appender, OpenSegment
from restate_node.bifrost.chain_keeper import ChainKeeper
from restate_node.bifrost.errors import CannotReconfigure, LogUnavailable, UnknownLog
from restate_node.bifrost.loglet import Loglet, LogletUnavailable
from restate_node.bifrost.memory_loglet import MemoryLoglet
from restate_node.bifrost.reader import LogReader
from restate_node.bifrost.replicated.provider import ReplicatedProvider
from restate_node.cluster.metadata_cache import MetadataCache
from restate_node.protocol.chain import (
    AddLog,
    BaseMismatch,
    Edited,
    ExtendLog,
    LogMissing,
    MemoryParams,
    PermanentlySealed,
    SealLog,
    SegmentMismatch,
    SegmentParams,
    TrimLog,
    Unchanged,
    next_index,
)
from restate_node.protocol.nodesets import CannotPlace, select_nodeset
from restate_node.runtime.ports import Clock
from restate_node.types.ids import (
    GenerationalNodeId,
    LogId,
    LogletId,
    PlainNodeId,
    SegmentIndex,
    loglet_id,
)
from restate_node.types.logs import (
    CLOSED_FOR_READERS,
    Chain,
    InMemorySegment,
    Logs,
    ProviderKind,
    ReplicatedParams,
    ReplicatedSegment,
    SealMarker,
    Segment,
)
from restate_node.types.offsets import INVALID_LSN, LogTail, Lsn, TailState, to_lsn, to_offset
from restate_node.types.replication import ReplicationProperty

logger = structlog.get_logger(__name__)

RECONFIGURE_ATTEMPTS_MAX: Final = 8
FORCED_SEAL_WAIT_S: Final = 3.0
"""For log servers that may be gone for ever."""


@dataclass(frozen=True, slots=True)
class FoundTail:
    """Where a log ends, and in which segment."""

    segment: SegmentIndex
    tail: LogTail


@dataclass(frozen=True, slots=True)
class SegmentRequest:
    """How the next segment should be; what is left out is chosen."""

    replication: ReplicationProperty | None = None
    nodeset: tuple[PlainNodeId, ...] = ()
    sequencer: GenerationalNodeId | None = None


ANY_SEGMENT: Final = SegmentRequest()


@dataclass(frozen=True, slots=True)
class Reconfigured:
    """What a reconfiguration did: the segment that was sealed, where it ends, and what follows."""

    sealed: Segment
    tail: Lsn
    opened: Segment


class Bifrost:
    """All logs, as this node uses them."""

    def __init__(
        self,
        metadata: MetadataCache,
        keeper: ChainKeeper,
        provider: ReplicatedProvider,
        clock: Clock,
        rng: Random,
        append_retry_s: tuple[float, float],
    ) -> None:
        self._metadata = metadata
        self._keeper = keeper
        self._provider = provider
        self._clock = clock
        self._rng = rng
        self._append_retry_s = append_retry_s
        self._memory: dict[int, MemoryLoglet] = {}
        self._readers: WeakSet[LogReader] = WeakSet()

    # ------------------------------------------------------------ use

    def appender(self, log: LogId) -> Appender:
        """A new appender; its owner runs `Appender.run` as a task."""
        return Appender(
            log, lambda failed: self.open_segment(log, failed), self._rng, self._append_retry_s
        )

    def reader(self, log: LogId, from_lsn: Lsn) -> LogReader:
        """A new reader; it waits for a log that does not exist yet."""
        reader = LogReader(
            log, from_lsn, self._metadata, self.loglet_of, self._close_for_reader, self._rng
        )
        self._readers.add(reader)
        return reader

    def readers(self) -> list[LogReader]:
        """Those in use, by log and position."""
        reading = [reader for reader in self._readers if not reader.is_abandoned]
        return sorted(reading, key=lambda reader: (reader.log, reader.position))

    async def find_tail(self, log: LogId) -> FoundTail:
        """Not below anything acknowledged before, unless a replacement of this node's own sequencer
        has not been heard of yet. Raises UnknownLog, LogUnavailable.
        """
        for _ in range(RECONFIGURE_ATTEMPTS_MAX):
            segment = self._chain(log).tail
            if isinstance(segment, SealMarker):
                return FoundTail(segment.index, LogTail(TailState.SEALED, segment.base_lsn))
            try:
                tail = await self.loglet_of(segment).find_tail()
            except LogletUnavailable as error:
                raise LogUnavailable(str(error)) from None
            if tail.is_sealed:  # there may be a successor that this node has not heard of
                await self._keeper.refresh()
            if self._chain(log).tail == segment:
                lsn = to_lsn(segment.base_lsn, tail.offset)
                return FoundTail(segment.index, LogTail(tail.state, lsn))
        raise LogUnavailable(f"the chain of log {log} keeps changing; retry")

    async def trim(self, log: LogId, trim_point: Lsn) -> Lsn:
        """Forget up to and including the LSN, as far as the log reaches; returns what was trimmed.

        Raises UnknownLog, LogUnavailable.
        """
        chain = self._chain(log)
        tail = (await self.find_tail(log)).tail.lsn
        point = min(trim_point, Lsn(tail - 1))
        try:
            for segment in chain.segments:
                await self._trim_segment(chain, segment, point)
        except LogletUnavailable as error:
            raise LogUnavailable(str(error)) from None
        await self._keeper.edit(TrimLog(log, point))
        return point

    async def trim_point(self, log: LogId) -> Lsn:
        """The highest trimmed LSN, 0 for none. Raises UnknownLog, LogUnavailable."""
        point = INVALID_LSN
        for segment in self._chain(log).segments:
            if isinstance(segment, SealMarker):
                break
            try:
                offset = await self.loglet_of(segment).trim_point()
            except LogletUnavailable as error:
                raise LogUnavailable(str(error)) from None
            if offset == 0:
                break
            point = to_lsn(segment.base_lsn, offset)
        return point

    @contextmanager
    def repairing_own_server(self) -> Generator[None]:
        """Meanwhile this node's log server may get copies of records that prove a tail."""
        self._provider.repairs_own_server = True
        try:
            yield
        finally:
            self._provider.repairs_own_server = False

    async def chains(self) -> Logs:
        """All chains as the metadata store has them now. Raises LogUnavailable."""
        await self._keeper.refresh()
        return self._metadata.logs.value

    # ------------------------------------------------------------ segments

    async def ensure_log(self, log: LogId) -> None:
        """Create the log unless it exists. Raises LogUnavailable."""
        if self._metadata.logs.value.chain(log) is None:
            params = self._params(log, None, ANY_SEGMENT)
            await self._keeper.edit(AddLog(log, params))

    async def open_segment(self, log: LogId, failed: SegmentIndex | None) -> OpenSegment:
        """The open segment; a new one if the chain ends with a marker or with the failed segment.

        Whoever begins to write (`failed` is None) takes the sequencer along, if that can be done
        now: its appends then need no hop, and a dead sequencer is not waited for. Later segments
        are taken as they are, so that two writers do not take the log from each other for ever.
        Raises LogUnavailable.
        """
        await self.ensure_log(log)
        tail = self._chain(log).tail
        if isinstance(tail, SealMarker) or tail.index == failed:
            tail = (await self.reconfigure(log, tail.index, ANY_SEGMENT)).opened
        elif failed is None and self._is_sequenced_elsewhere(tail):
            tail = await self._take_over(log, tail)
        if isinstance(tail, SealMarker):
            raise LogUnavailable(f"log {log} is sealed")
        return OpenSegment(tail.index, tail.base_lsn, self.loglet_of(tail))

    async def reconfigure(
        self, log: LogId, expected: SegmentIndex, request: SegmentRequest
    ) -> Reconfigured:
        """Seal the tail segment `expected` and open the next; what somebody else did is taken.

        Raises UnknownLog, LogUnavailable, CannotReconfigure.
        """
        for _ in range(RECONFIGURE_ATTEMPTS_MAX):
            chain = self._chain(log)
            former = chain.tail
            if former.index != expected:
                return Reconfigured(former, former.base_lsn, former)
            params = self._params(log, chain, request)
            base = await self._sealed_tail(former)
            outcome = await self._keeper.edit(ExtendLog(log, expected, base, params))
            match outcome:
                case Edited(extended) | Unchanged(extended):
                    logger.info("log reconfigured", log=log, base_lsn=base)
                    return Reconfigured(former, base, extended.tail)
                case SegmentMismatch(tail):
                    return Reconfigured(former, tail.base_lsn, tail)
                case PermanentlySealed():
                    raise CannotReconfigure(f"log {log} is sealed for ever")
                case LogMissing():
                    raise UnknownLog(f"unknown log '{log}'")
                case BaseMismatch():
                    await self._keeper.refresh()
                case _:
                    assert_never(outcome)
        raise LogUnavailable(f"the chain of log {log} keeps changing; retry")

    async def seal(
        self, log: LogId, expected: SegmentIndex | None, context: Mapping[str, str]
    ) -> Lsn:
        """End the log with a marker, and say at which LSN. Raises UnknownLog, LogUnavailable."""
        tail = self._chain(log).tail
        if expected is not None and tail.index != expected:
            raise CannotReconfigure(
                f"segment {expected} of log {log} is not its last, {tail.index} is"
            )
        base = await self._sealed_tail(tail)
        now = self._clock.unix_ms()
        outcome = await self._keeper.edit(SealLog(log, tail.index, base, now, context))
        if isinstance(outcome, Edited | Unchanged):
            return base
        raise LogUnavailable(f"the chain of log {log} changed meanwhile; retry")

    async def force_seal(self, log: LogId, tail: Lsn, context: Mapping[str, str]) -> Lsn:
        """End the log at an LSN that nobody has proven: what is there and above is lost.

        The loglet is sealed if its log servers can still do it, so that no writer goes on unaware.
        Raises UnknownLog, CannotReconfigure, LogUnavailable.
        """
        segment = self._chain(log).tail
        if isinstance(segment, SealMarker):
            raise CannotReconfigure(f"log {log} is sealed already, at LSN {segment.base_lsn}")
        if tail < segment.base_lsn:
            raise CannotReconfigure(
                f"log {log} cannot end at LSN {tail}: its last segment begins at {segment.base_lsn}"
            )
        try:
            async with asyncio.timeout(FORCED_SEAL_WAIT_S):
                await self.loglet_of(segment).seal()
        except (LogletUnavailable, TimeoutError) as error:
            logger.warning("forced seal without the log servers", log=log, reason=str(error))
        now = self._clock.unix_ms()
        outcome = await self._keeper.edit(SealLog(log, segment.index, tail, now, context))
        if isinstance(outcome, Edited | Unchanged):
            return tail
        raise LogUnavailable(f"the chain of log {log} changed meanwhile; retry")

    def loglet_of(self, segment: ReplicatedSegment | InMemorySegment) -> Loglet:
        """The loglet behind a segment."""
        if isinstance(segment, ReplicatedSegment):
            return self._provider.loglet(segment.params)
        loglet = self._memory.get(segment.loglet_id)
        if loglet is None:
            loglet = self._memory[segment.loglet_id] = MemoryLoglet(LogletId(segment.loglet_id))
        return loglet

    def unix_ms(self) -> int:
        """Wall time of this node."""
        return self._clock.unix_ms()

    # ------------------------------------------------------------ inside

    def _is_sequenced_elsewhere(self, tail: Segment) -> bool:
        return isinstance(tail, ReplicatedSegment) and tail.params.sequencer != self._metadata.me

    async def _take_over(self, log: LogId, tail: Segment) -> Segment:
        """The next segment, sequenced here; the present one when that cannot be made now."""
        try:
            return (await self.reconfigure(log, tail.index, ANY_SEGMENT)).opened
        except (LogUnavailable, CannotReconfigure) as error:
            logger.info("sequencer stays where it is", log=log, reason=str(error))
            return tail

    async def _close_for_reader(self, log: LogId, segment: SegmentIndex) -> None:
        """Raises LogletUnavailable."""
        try:
            base = await self.seal(log, segment, CLOSED_FOR_READERS)
        except CannotReconfigure:
            return  # somebody does
        except (UnknownLog, LogUnavailable) as error:
            raise LogletUnavailable(str(error)) from None
        logger.info("log closed for its readers", log=log, base_lsn=base)

    def _chain(self, log: LogId) -> Chain:
        chain = self._metadata.logs.value.chain(log)
        if chain is None:
            raise UnknownLog(f"unknown log '{log}'")
        return chain

    async def _sealed_tail(self, segment: Segment) -> Lsn:
        """Seal the segment's loglet and say where the log ends. Raises LogUnavailable."""
        if isinstance(segment, SealMarker):
            return segment.base_lsn
        try:
            tail = await self.loglet_of(segment).seal()
        except LogletUnavailable as error:
            raise LogUnavailable(str(error)) from None
        return to_lsn(segment.base_lsn, tail.offset)

    def _params(self, log: LogId, chain: Chain | None, request: SegmentRequest) -> SegmentParams:
        """Parameters of the next segment: as requested, as configured, as before, in that order.

        Raises CannotReconfigure for a request that cannot be met, else LogUnavailable.
        """
        configuration = self._metadata.logs.value.configuration
        loglet = loglet_id(log, next_index(chain))
        if configuration.kind is not ProviderKind.REPLICATED:
            return MemoryParams(loglet, configuration.kind)
        me = self._metadata.me
        if me is None:
            raise LogUnavailable("this node has not joined the cluster yet")
        replication = request.replication or configuration.replication
        choice = select_nodeset(
            log,
            replication,
            self._metadata.nodes.value,
            size_target=configuration.target_nodeset_size,
            previous=_former_nodeset(chain),
            own=me.id,
        )
        if request.nodeset:
            return ReplicatedParams(
                loglet, request.sequencer or me, replication, self._checked(request, replication)
            )
        if isinstance(choice, CannotPlace):
            if request.replication is not None:
                raise CannotReconfigure(choice.reason)
            raise LogUnavailable(choice.reason)
        return ReplicatedParams(loglet, request.sequencer or me, replication, choice.nodes)

    def _checked(
        self, request: SegmentRequest, replication: ReplicationProperty
    ) -> tuple[PlainNodeId, ...]:
        """The requested nodeset, if it can hold the log."""
        nodes = self._metadata.nodes.value
        excluded = [node.id for node in nodes.log_servers() if node.id not in request.nodeset]
        choice = select_nodeset(
            LogId(0), replication, nodes, size_target=len(request.nodeset), excluded=excluded
        )
        if isinstance(choice, CannotPlace):
            raise CannotReconfigure(choice.reason)
        return choice.nodes

    async def _trim_segment(self, chain: Chain, segment: Segment, point: Lsn) -> None:
        if isinstance(segment, SealMarker) or segment.base_lsn > point:
            return
        end = chain.end_of(segment)
        last = point if end is None else min(point, Lsn(end - 1))
        if last >= segment.base_lsn:
            await self.loglet_of(segment).trim(to_offset(segment.base_lsn, last))


def _former_nodeset(chain: Chain | None) -> tuple[PlainNodeId, ...]:
    replicated = chain.replicated if chain is not None else ()
    return replicated[-1].params.nodeset if replicated else ()
