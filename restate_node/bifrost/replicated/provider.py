"""Makes the replicated loglets of this node, and serves the appends that others send to its
sequencers.

There is at most one `LocalSequencer` per loglet and process, made when the chain names this process
as sequencer, and never made again: a second one would give out the same offsets. Loglets that are
not used any more are forgotten; of those that were sequenced here the last index per log is kept,
so that none at or below it gets a second sequencer.
"""

from __future__ import annotations

from collections import OrderedDict
from random import Random
from typing import Final

from restate_node.bifrost.loglet import AppendResult
from restate_node.bifrost.replicated.group_store import SequencerContext
from restate_node.bifrost.replicated.local_sequencer import LocalSequencer
from restate_node.bifrost.replicated.loglet import IsAlive, ReplicatedLoglet
from restate_node.bifrost.replicated.loglet_nodes import LogletNodes
from restate_node.bifrost.replicated.record_cache import RecordCache
from restate_node.cluster.metadata_cache import MetadataCache
from restate_node.fabric.fabric import Fabric
from restate_node.fabric.router import Reply
from restate_node.protocol.sequencer import SequencerOptions
from restate_node.runtime.ports import Clock
from restate_node.types.fabric import Peer
from restate_node.types.ids import (
    LogId,
    LogletId,
    PlainNodeId,
    SegmentIndex,
    loglet_log,
    loglet_segment,
)
from restate_node.types.log_messages import (
    Append,
    Appended,
    AppendStatus,
    GetSequencerState,
    SequencerState,
)
from restate_node.types.logs import ReplicatedParams, ReplicatedSegment
from restate_node.types.offsets import OLDEST_OFFSET, LogletOffset
from restate_node.types.records import RecordBatch, check

_NOWHERE = LogletOffset(0)
LOGLETS_IN_MEMORY_MAX: Final = 8192
"""More are kept only as long as their sequencers are open."""


class ReplicatedProvider:
    """Loglets by id, and the sequencers among them."""

    def __init__(
        self,
        metadata: MetadataCache,
        fabric: Fabric,
        clock: Clock,
        rng: Random,
        is_alive: IsAlive,
        options: SequencerOptions,
        cache_bytes_max: int,
    ) -> None:
        self._metadata = metadata
        self._fabric = fabric
        self._clock = clock
        self._rng = rng
        self._is_alive = is_alive
        self._options = options
        self._cache = RecordCache(cache_bytes_max)
        self._loglets: OrderedDict[LogletId, ReplicatedLoglet] = OrderedDict()
        self._retired: dict[LogId, SegmentIndex] = {}
        self._sequencers: dict[LogletId, LocalSequencer] = {}
        self._dead: frozenset[PlainNodeId] = frozenset()
        self.repairs_own_server = False
        """Tails may be proven with the help of this node's log server, which is being repaired."""
        fabric.router.on(Append, self._on_append)
        fabric.router.on(GetSequencerState, self._on_get_sequencer_state)

    def loglet(self, params: ReplicatedParams) -> ReplicatedLoglet:
        """The loglet, with its sequencer when that is this process."""
        loglet = self._loglets.get(params.loglet_id)
        if loglet is None:
            nodes = LogletNodes(params, self._metadata, lambda: self.repairs_own_server)
            sequencer = self._sequencer(nodes)
            loglet = ReplicatedLoglet(
                nodes, self._fabric, self._rng, self._cache, self._is_alive, sequencer
            )
            self._loglets[params.loglet_id] = loglet
            self._forget_oldest()
        else:
            self._loglets.move_to_end(params.loglet_id)
        return loglet

    @property
    def committed_records(self) -> int:
        """Records committed by all sequencers that this process ever had."""
        tails = (sequencer.known_tail.value.offset for sequencer in self._sequencers.values())
        return sum(tail - OLDEST_OFFSET for tail in tails)

    def suspect(self, dead: frozenset[PlainNodeId]) -> None:
        """Nodes that the failure detector considers dead now."""
        self._dead = dead
        for sequencer in self._sequencers.values():
            sequencer.suspect(dead)

    def stop(self) -> None:
        """Answer everybody who waits for a sequencer of this process."""
        for sequencer in self._sequencers.values():
            sequencer.seal()

    def _sequencer(self, nodes: LogletNodes) -> LocalSequencer | None:
        params = nodes.params
        if params.sequencer != self._metadata.me:
            return None
        existing = self._sequencers.get(params.loglet_id)
        if existing is not None:
            return existing
        retired = self._retired.get(loglet_log(params.loglet_id), -1)
        if loglet_segment(params.loglet_id) <= retired:
            return None
        context = SequencerContext(nodes, self._fabric, self._clock, self._rng, self._cache)
        sequencer = LocalSequencer(context, self._options)
        sequencer.suspect(self._dead)
        self._sequencers[params.loglet_id] = sequencer
        return sequencer

    def _forget_oldest(self) -> None:
        if len(self._loglets) <= LOGLETS_IN_MEMORY_MAX:
            return
        oldest = next((loglet for loglet in self._loglets if self._is_over(loglet)), None)
        if oldest is None:
            return
        del self._loglets[oldest]
        self._cache.forget(oldest)
        if self._sequencers.pop(oldest, None) is not None:
            log, segment = loglet_log(oldest), loglet_segment(oldest)
            self._retired[log] = max(segment, self._retired.get(log, segment))

    def _is_over(self, loglet: LogletId) -> bool:
        sequencer = self._sequencers.get(loglet)
        return sequencer is None or sequencer.is_sealed

    # ------------------------------------------------------------ for others

    def _on_append(self, _: Peer, request: Append, reply: Reply) -> None:
        sequencer = self._find_sequencer(request)
        batch = RecordBatch(request.count, request.body)
        if sequencer is None:
            reply(Appended(AppendStatus.NOT_SEQUENCER, _NOWHERE, OLDEST_OFFSET))
        elif not check(batch):
            reply(Appended(AppendStatus.MALFORMED, _NOWHERE, OLDEST_OFFSET))
        elif not sequencer.append(batch, lambda result: reply(_appended(sequencer, result))):
            reply(Appended(AppendStatus.OVERLOADED, _NOWHERE, OLDEST_OFFSET))

    def _on_get_sequencer_state(self, _: Peer, request: GetSequencerState, reply: Reply) -> None:
        sequencer = self._find_sequencer(request)
        if sequencer is None:
            reply(SequencerState(AppendStatus.NOT_SEQUENCER, OLDEST_OFFSET))
            return
        tail = sequencer.known_tail.value
        status = AppendStatus.SEALED if tail.is_sealed else AppendStatus.OK
        reply(SequencerState(status, tail.offset))

    def _find_sequencer(self, request: Append | GetSequencerState) -> LocalSequencer | None:
        """The sequencer asked for, made now if the chain says that it is this process."""
        sequencer = self._sequencers.get(request.loglet)
        if sequencer is not None:
            return sequencer
        chain = self._metadata.logs.value.chain(request.log)
        if chain is None or not isinstance(chain.tail, ReplicatedSegment):
            return None
        params = chain.tail.params
        if params.loglet_id != request.loglet or params.sequencer != self._metadata.me:
            return None
        self.loglet(params)
        return self._sequencers.get(request.loglet)


def _appended(sequencer: LocalSequencer, result: AppendResult) -> Appended:
    return Appended(result.status, result.first_offset, sequencer.known_tail.value.offset)
