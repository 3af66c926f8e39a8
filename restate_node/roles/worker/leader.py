"""A processor's part in elections, and what only a leader does: drives `protocol.leadership`.

    order ─▶ ensure the log ─▶ claim an epoch (metadata store) ─▶ announce (log) ─┐
                                                                                  ▼
    leader ◀── own announcement applied ◀── replay of the log ◀───────────────── log
       └─▶ serves PatchState: record ─▶ appender ─▶ committed ─▶ answer

A *term* (`term`) is what a candidate or leader has beyond a follower; what it does beyond leading
is in `leader_work`. It ends when a higher epoch is read, when the appender fails, or with the
processor; what was under way then is answered as perhaps executed.

What clients send is numbered by a producer that lives as long as the term, not by the leader's
epoch: once it is in the log it counts, whoever leads when it is read. So a commit is an answer,
even if it comes after the term.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from restate_node.bifrost.errors import AppendFailed, LogError
from restate_node.cluster.metadata_errors import MetadataError
from restate_node.protocol.leadership import Leader, Leadership, Verdict
from restate_node.protocol.partition import tables
from restate_node.protocol.partition.effects import (
    Effect,
    LeaderAnnounced,
    PatchRejected,
)
from restate_node.roles.worker.context import WorkerContext
from restate_node.roles.worker.leader_work import LeaderWork
from restate_node.roles.worker.partition_store import PartitionStore
from restate_node.roles.worker.replay import Replay
from restate_node.roles.worker.term import RecordTooLarge, Term
from restate_node.runtime.tasks import TaskKind
from restate_node.types import wal
from restate_node.types.fabric import RpcCode, RpcFailure
from restate_node.types.offsets import Lsn
from restate_node.types.partition_keys import partition_key_of_key
from restate_node.types.partitions import EpochMetadata, Partition, ReplicaSetConfiguration
from restate_node.types.processor_messages import PatchState, Proposed
from restate_node.wire.metadata_keys import epoch_metadata_key
from restate_node.wire.partitions import decode_epoch_metadata, encode_epoch_metadata
from restate_node.wire.storage_codec import CodecError

logger = structlog.get_logger(__name__)

CLAIM_PAUSE_S: Final = 0.2


class LeaderDuty:
    """One life of a processor, as far as leading is concerned."""

    def __init__(
        self,
        partition: Partition,
        store: PartitionStore,
        context: WorkerContext,
        asked: asyncio.Event,
    ) -> None:
        """`asked` is set by whoever wants this processor to lead, and cleared here."""
        self._partition = partition
        self._context = context
        self._asked = asked
        self._store = store
        self._term: Term | None = None
        self._work: LeaderWork | None = None
        record = tables.read_leader(store, partition.id)
        observed = None if record is None else Leader(record.node, record.epoch)
        self.leadership = Leadership(context.me, observed)

    # ------------------------------------------------------------ elections

    async def run(self, replay: Replay) -> None:
        """Campaign whenever asked; until cancelled, which ends the term."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            if self.leadership.campaign():
                await self._campaign(replay)

    def applied(self, effects: list[Effect]) -> None:
        """React to what the log said."""
        for effect in effects:
            match effect:
                case LeaderAnnounced(node, epoch):
                    self._announced(Leader(node, epoch))
                case PatchRejected(service, key, expected, found):
                    if self.leadership.is_leader:
                        logger.info(
                            "state not patched: it has another version than expected",
                            partition=self._partition.id,
                            service=service,
                            key=key,
                            expected=expected,
                            found=found,
                        )
                case _:
                    pass
        if self._work is not None:
            self._work.applied(effects)

    @property
    def work(self) -> LeaderWork:
        """What a leader does; raises RpcFailure while this node does not lead."""
        if self._work is None or not self.leadership.is_leader:
            raise RpcFailure(RpcCode.NOT_READY, self._who_leads())
        return self._work

    def stop(self) -> None:
        """Step down, at the end of this life."""
        self._end_term()

    async def _campaign(self, replay: Replay) -> None:
        try:
            await self._context.log.ensure_log(self._partition.log_id)
            await replay.target_tail.until(lambda tail: tail is not None)
            metadata = await self._claim()
        except (LogError, MetadataError, CodecError) as error:
            self._give_up(str(error))
            await asyncio.sleep(CLAIM_PAUSE_S * self._context.rng.uniform(0.7, 1.3))
            return
        if metadata is None:
            self._give_up("it is not in the partition's replica set")
            return
        number = self.leadership.claimed(metadata.epoch)
        if number is None:
            self._give_up(f"another node was faster than epoch {metadata.epoch}")
            return
        await self._serve_term(_announcement(self._partition, metadata), number)

    async def _claim(self) -> EpochMetadata | None:
        """The next epoch, owned by this node; None if it may not have one. Raises MetadataError,
        CodecError. When cancelled, an epoch may be claimed that nobody announces: it is skipped.
        """
        claimed: EpochMetadata | None = None

        def edit(blob: bytes | None) -> bytes | None:
            nonlocal claimed
            claimed = None
            present = None if blob is None else decode_epoch_metadata(blob)
            if present is None or self._context.me.id not in present.replicas:
                return None
            claimed = present.claim_leadership(self._context.me)
            return encode_epoch_metadata(claimed, self._partition.id)

        await self._context.metadata.update(epoch_metadata_key(self._partition.id), edit)
        return claimed

    def _give_up(self, reason: str) -> None:
        self.leadership.step_down()
        logger.info("does not lead", partition=self._partition.id, reason=reason)

    async def _serve_term(self, command: wal.AnnounceLeader, number: wal.SelfProposal) -> None:
        """Announce, then keep the appender running until the term is over."""
        appender = self._context.log.appender(self._partition.log_id)
        rng = self._context.rng
        producer = rng.randbytes(wal.PRODUCER_ID_BYTES)
        term = self._term = Term(appender, number.epoch, producer, self._context.clock)
        name = f"appender of partition {self._partition.id}"
        running = self._context.tasks.spawn(TaskKind.PARTITION_PROCESSOR, name, appender.run())
        running.add_done_callback(lambda _: term.over.set())
        try:
            term.announce(number, self._partition.key_range.start, command)
            await term.over.wait()
        finally:
            running.cancel()
            self._end_term()

    def _announced(self, leader: Leader) -> None:
        led = self.leadership.is_leader
        match self.leadership.announced(leader):
            case Verdict.WON:
                self._begin_leading(leader)
            case Verdict.LOST:
                self._lose(led)
            case Verdict.FOLLOW:
                pass

    def _begin_leading(self, leader: Leader) -> None:
        listeners = self._context.listeners
        listeners.on_leader(self._partition.log_id, self._partition.id)
        self.leadership.started()
        services = self._context.services
        if services is not None and self._term is not None:
            work = LeaderWork(self._partition, self._store, self._term, self._context, services)
            self._work = work
            work.start()
        listeners.announce(self._partition.id, leader.epoch)
        logger.info("leads", partition=self._partition.id, epoch=leader.epoch)

    def _end_term(self) -> None:
        led = self.leadership.is_leader
        self.leadership.step_down()
        self._lose(led)

    def _lose(self, led: bool) -> None:
        term, self._term = self._term, None
        work, self._work = self._work, None
        if term is not None:
            term.over.set()
        if work is not None:
            work.stop()
        if led:
            self._context.listeners.on_follower(self._partition.log_id, self._partition.id)
            logger.info("leads no longer", partition=self._partition.id)

    def propose(self, command: wal.UpdateDurability) -> None:
        """Write a record of the leader's own, if there is room; nobody waits for it."""
        term = self._term
        if term is None or not self.leadership.is_leader or term.appender.is_full:
            return
        term.propose(self._partition.key_range.start, command)

    # ------------------------------------------------------------ requests of clients

    async def patch_state(self, request: PatchState) -> Proposed:
        """Answered when committed; raises RpcFailure. Cancelling leaves the record on its way."""
        term = self._admit(request)
        key = partition_key_of_key(request.key)
        command = wal.PatchState(
            request.service, request.key, request.new_state, request.expected_version
        )
        committed: asyncio.Future[Lsn | AppendFailed] = asyncio.get_running_loop().create_future()
        try:
            term.take(key, command, lambda result: _resolve(committed, result))
        except RecordTooLarge as error:
            raise RpcFailure(RpcCode.FORBIDDEN, f"the state is too large: {error}") from None
        term.pending += 1
        try:
            result = await committed
        finally:
            term.pending -= 1
        if isinstance(result, AppendFailed):
            code = RpcCode.CONNECTION_LOST if result.maybe_written else RpcCode.NOT_READY
            raise RpcFailure(code, str(result))
        return Proposed(result)

    def _admit(self, request: PatchState) -> Term:
        term = self._term
        if term is None or not self.leadership.is_leader:
            raise RpcFailure(RpcCode.NOT_READY, self._who_leads())
        if partition_key_of_key(request.key) not in self._partition.key_range:
            number = self._partition.id
            raise RpcFailure(RpcCode.FORBIDDEN, f"{request.key!r} is not a key of {number}")
        if term.appender.is_full or term.pending >= self._context.options.internal_queue_length:
            raise RpcFailure(RpcCode.OVERLOADED, "too many records wait for the log; retry")
        return term

    def _who_leads(self) -> str:
        observed, number = self.leadership.observed, self._partition.id
        if observed is None:
            return f"partition {number} has no leader yet"
        if observed.node == self._context.me:
            return f"partition {number} has no leader now; {observed.node} was the last"
        return f"partition {number} is led by {observed.node} since epoch {observed.epoch}"


def _resolve(committed: asyncio.Future[Lsn | AppendFailed], result: Lsn | AppendFailed) -> None:
    if not committed.done():
        committed.set_result(result)


def _announcement(partition: Partition, metadata: EpochMetadata) -> wal.AnnounceLeader:
    assert metadata.leader is not None, "an epoch that was claimed has an owner"
    return wal.AnnounceLeader(
        metadata.leader,
        metadata.epoch,
        partition.key_range,
        metadata.version,
        _replicas(metadata.current),
        _replicas(metadata.next),
    )


def _replicas(configuration: ReplicaSetConfiguration | None) -> wal.AnnouncedReplicas | None:
    if configuration is None:
        return None
    return wal.AnnouncedReplicas(
        configuration.version, str(configuration.replication), configuration.replica_set
    )
