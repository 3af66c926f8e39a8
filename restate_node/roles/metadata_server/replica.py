"""One replica of the metadata store: the Raft core, the state machine, and the task that drives
both.

    execute, read, change_members --+                +--> storage (one batch, one fsync)
    receive (post) -----------------+--> RaftCore ---+--> post
    tick ---------------------------+      Ready     +--> MetadataKv --> whoever waits

The task handles one `Ready` at a time, in the order that `protocol.raft.ready` demands. What comes
in during its fsync goes into the core at once and leaves together in the next batch: that is the
group commit. A lone idle member writes and sends nothing.

Who waits learns exactly one thing: the outcome that the entry had; or, when the leadership was
lost, that nobody knows. The client then asks again with the same request id.

After `log_trim_threshold` entries the task stores an image of the store and forgets most of the
entries behind it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final, NoReturn, assert_never

import structlog

from restate_node.protocol.metadata_kv import MetadataKv, decode_command, encode_command
from restate_node.protocol.raft.core import RaftCore
from restate_node.protocol.raft.options import RaftOptions
from restate_node.protocol.raft.ready import (
    Busy,
    MembershipChange,
    NotLeader,
    ProposalId,
    RaftStatus,
    ReadQueued,
    Ready,
    Refused,
    RestoredState,
    SoftState,
)
from restate_node.roles.metadata_server.storage import RaftStorage
from restate_node.types.ids import PlainNodeId
from restate_node.types.metadata_kv import (
    NODES_CONFIGURATION_KEY,
    Command,
    Delete,
    Done,
    Outcome,
    Provision,
    Provisioned,
    Put,
    Rejected,
    VersionedValue,
)
from restate_node.types.options import MetadataServerOptions
from restate_node.types.raft import (
    Entry,
    EntryKind,
    Index,
    Members,
    RaftMessage,
    Role,
    Snapshot,
    Term,
)

logger = structlog.get_logger(__name__)

WAIT_MAX_S: Final = 10.0
"""How long anybody waits for a decision; a leader without a quorum steps down long before."""

OnApplied = Callable[[str, VersionedValue], None]
"""A key has this value now. Called on the loop; must not block."""


class Unserved(Exception):
    """This replica cannot do it. `leader` is whom to ask instead."""

    def __init__(
        self, reason: str, *, maybe_executed: bool = False, leader: PlainNodeId | None = None
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.maybe_executed = maybe_executed
        self.leader = leader


class NotLeading(Unserved):
    """Another replica leads, or none does."""


class ChangeRefused(Exception):
    """The membership is not changed, now or later, by asking for this again."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Somebody waits for a decision that this leadership has to bring about."""

    term: Term
    decided: asyncio.Future[Outcome | None]
    is_write: bool


def raft_options(options: MetadataServerOptions) -> RaftOptions:
    """The core's share of the server's options."""
    return RaftOptions(
        election_ticks=options.raft_election_ticks, heartbeat_ticks=options.raft_heartbeat_ticks
    )


class Replica:
    """Owns the core and the state machine. `run` is the one task that advances them."""

    def __init__(
        self,
        me: PlainNodeId,
        storage_id: int,
        storage: RaftStorage,
        restored: RestoredState,
        options: MetadataServerOptions,
        rng: Random,
        on_applied: OnApplied,
    ) -> None:
        self.me = me
        self.storage_id = storage_id
        self.kv = MetadataKv()
        self.kv.restore(restored.snapshot.data)
        self._core = RaftCore(me, storage_id, raft_options(options), rng, restored)
        self._storage = storage
        self._options = options
        self._on_applied = on_applied
        self._send: Callable[[RaftMessage], None] | None = None
        self._on_change: Callable[[], None] | None = None
        self._applied = restored.snapshot.meta.index
        self._snapshot_index = restored.snapshot.meta.index
        self._proposals: dict[Index, _Waiting] = {}
        self._reads: dict[bytes, _Waiting] = {}
        self._confirmed: list[tuple[Index, _Waiting]] = []
        self._read_number = 0
        self._wakeup: asyncio.Future[None] | None = None
        self._fatal: Exception | None = None
        self._retired = False
        self._publish_all()

    def attach(self, send: Callable[[RaftMessage], None], on_change: Callable[[], None]) -> None:
        """Where messages go, and who is told that leadership or members may have changed."""
        self._send = send
        self._on_change = on_change

    # ------------------------------------------------------------ looking in

    @property
    def status(self) -> RaftStatus:
        """For operators and for the keeper of the membership."""
        return self._core.status()

    @property
    def members(self) -> Members:
        """The members that hold now, committed or not."""
        return self._core.members

    @property
    def leader(self) -> PlainNodeId | None:
        """Who leads, as far as this replica knows."""
        return self._core.status().leader

    @property
    def leads(self) -> bool:
        """Whether this replica believes that it leads."""
        return self._core.status().role is Role.LEADER

    @property
    def is_member(self) -> bool:
        """Whether this very storage may vote."""
        return self._core.members.created_at_millis.get(self.me) == self.storage_id

    @property
    def is_retired(self) -> bool:
        """Removed without having been told: the nodes configuration calls it a standby, and no
        leader is heard. It must not disturb those who stayed.
        """
        return self._retired and self.leader is None

    def retire(self, retired: bool) -> None:
        """Whether the nodes configuration, as far as this node has it, calls it a standby."""
        self._retired = retired

    # ------------------------------------------------------------ requests

    async def execute(self, command: Command) -> Outcome:
        """Replicate a command; raises Unserved. Cancelled, it may still take effect."""
        proposal = self._core.propose(encode_command(command))
        if isinstance(proposal, Refused):
            return Rejected(proposal.reason)
        outcome = await self._decision(self._accepted(proposal))
        assert outcome is not None, "a command came to no outcome"
        return outcome

    async def change_members(self, change: MembershipChange) -> None:
        """Replicate a membership change; raises Unserved, ChangeRefused."""
        proposal = self._core.propose_members(change)
        if isinstance(proposal, Refused):
            raise ChangeRefused(proposal.reason)
        await self._decision(self._accepted(proposal))

    async def read_barrier(self) -> None:
        """Afterwards `kv` holds all that was acknowledged before the call; raises Unserved."""
        self._read_number += 1
        context = self._read_number.to_bytes(8, "big")
        queued = self._core.read_index(context)
        match queued:
            case ReadQueued():
                pass
            case NotLeader() | Busy():
                self._raise_unserved(queued)
            case _:
                assert_never(queued)
        waiting = self._waiting(is_write=False)
        self._reads[context] = waiting
        self.wake()
        try:
            await self._decision(waiting)
        finally:
            self._reads.pop(context, None)

    async def hand_over(self, timeout_s: float) -> None:
        """If this replica leads others, let one of them lead before it goes."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        others = [node for node in self.members.created_at_millis if node != self.me]
        for node in others:
            if not self.leads:
                return
            self._core.transfer_leadership(node)
            self.wake()
            await self._no_longer_leads(loop.time() + (deadline - loop.time()) / 2)

    async def _no_longer_leads(self, deadline: float) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(1000):
            if not self.leads or loop.time() >= deadline:
                return
            await asyncio.sleep(self._options.raft_tick_interval_ms / 2000)

    def receive(self, message: RaftMessage) -> None:
        """A message that was meant for this storage."""
        if self._fatal is not None:
            return
        try:
            self._core.receive(message)
        except Exception as error:
            # The core contradicts itself: its task must end the node, not the fabric's handler.
            self._fatal = error
        self.wake()

    def _accepted(self, proposal: ProposalId | NotLeader | Busy) -> _Waiting:
        if not isinstance(proposal, ProposalId):
            self._raise_unserved(proposal)
        former = self._proposals.pop(proposal.index, None)
        if former is not None:
            self._fail(former)
        waiting = self._waiting(is_write=True)
        assert waiting.term == proposal.term, "a leader proposes in its own term"
        self._proposals[proposal.index] = waiting
        self.wake()
        return waiting

    def _waiting(self, *, is_write: bool) -> _Waiting:
        decided: asyncio.Future[Outcome | None] = asyncio.get_running_loop().create_future()
        return _Waiting(self._core.status().term, decided, is_write)

    async def _decision(self, waiting: _Waiting) -> Outcome | None:
        """Cancelled or out of time, the waiting is forgotten when its index is decided."""
        try:
            async with asyncio.timeout(WAIT_MAX_S):
                return await waiting.decided
        except TimeoutError:
            text = f"no decision within {WAIT_MAX_S:.0f} s"
            raise Unserved(text, maybe_executed=waiting.is_write) from None

    def _raise_unserved(self, proposal: NotLeader | Busy) -> NoReturn:
        match proposal:
            case NotLeader(leader):
                raise NotLeading("this server does not lead", leader=leader)
            case Busy(reason):
                raise Unserved(reason)

    # ------------------------------------------------------------ the task

    async def run(self) -> None:
        """Until cancelled. Raises StoreError and IllegalState, after which the node must stop.

        Cancellation is safe anywhere: nothing leaves before it is durable, and the disk tells the
        next life where this one was.
        """
        assert self._send is not None, "attach comes first"
        loop = asyncio.get_running_loop()
        tick_s = self._options.raft_tick_interval_ms / 1000
        next_tick = loop.time() + tick_s
        try:
            while True:
                if self._fatal is not None:
                    raise self._fatal
                if loop.time() >= next_tick:
                    # Missed ticks are not made up for: what arrived meanwhile counts first.
                    next_tick = loop.time() + tick_s
                    self._tick()
                ready = self._core.take_ready()
                if ready is None:
                    await self._sleep_until(next_tick)
                else:
                    await self._handle(ready)
                    await asyncio.sleep(0)
        finally:
            self._fail_all(lambda _: True)

    def wake(self) -> None:
        """There may be work."""
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)

    def _tick(self) -> None:
        if not self.is_retired:
            self._core.tick()

    async def _sleep_until(self, next_tick: float) -> None:
        loop = asyncio.get_running_loop()
        self._wakeup = loop.create_future()
        timer = loop.call_at(next_tick, self.wake)
        try:
            await self._wakeup
        finally:
            timer.cancel()
            self._wakeup = None

    async def _handle(self, ready: Ready) -> None:
        assert self._send is not None
        await self._storage.persist(ready)
        for message in ready.messages:
            self._send(message)
        if ready.snapshot is not None:
            self._restore(ready.snapshot)
        for entry in ready.committed:
            self._apply(entry)
        for read in ready.reads:
            waiting = self._reads.pop(read.context, None)
            if waiting is not None:
                self._confirmed.append((read.index, waiting))
        self._answer_reads()
        self._core.advance(ready)
        if ready.soft_state is not None:
            self._note_leadership(ready.soft_state)
        if ready.soft_state is not None or ready.committed or ready.snapshot is not None:
            self._changed()
        if self._applied - self._snapshot_index >= self._options.log_trim_threshold:
            await self._compact()

    def _changed(self) -> None:
        if self._on_change is not None:
            self._on_change()

    # ------------------------------------------------------------ applying

    def _apply(self, entry: Entry) -> None:
        self._applied = entry.index
        outcome = self._execute(entry) if entry.kind is EntryKind.NORMAL else None
        waiting = self._proposals.pop(entry.index, None)
        if waiting is None:
            return
        if waiting.term != entry.term:
            self._fail(waiting)
        elif not waiting.decided.done():
            waiting.decided.set_result(outcome)

    def _execute(self, entry: Entry) -> Outcome:
        command = decode_command(entry.data)
        outcome = self.kv.apply(entry.index, command)
        match command:
            case Put(_, key) if isinstance(outcome, Done):
                self._publish(key)
            case Provision() if outcome == Provisioned(newly_provisioned=True):
                self._publish(NODES_CONFIGURATION_KEY)
            case Put() | Delete() | Provision():
                pass
        return outcome

    def _restore(self, snapshot: Snapshot) -> None:
        self.kv.restore(snapshot.data)
        self._applied = self._snapshot_index = snapshot.meta.index
        self._publish_all()
        logger.info("metadata snapshot installed", index=snapshot.meta.index)

    def _publish_all(self) -> None:
        keys = self.kv.keys()
        for key in keys:
            self._publish(key)

    def _publish(self, key: str) -> None:
        value = self.kv.get(key)
        if value is not None:
            self._on_applied(key, value)

    async def _compact(self) -> None:
        meta = self._core.snapshot_meta(self._applied)
        snapshot = Snapshot(meta, self.kv.snapshot())
        # A follower that is only a little behind must not need the whole image.
        keep = self._options.log_trim_threshold // 4
        forget_to = Index(max(0, self._applied - keep))
        await self._storage.compact(snapshot, forget_to)
        self._core.compact(forget_to, snapshot)
        self._snapshot_index = meta.index

    # ------------------------------------------------------------ those who wait

    def _answer_reads(self) -> None:
        still: list[tuple[Index, _Waiting]] = []
        for index, waiting in self._confirmed:
            if index > self._applied:
                still.append((index, waiting))
            elif not waiting.decided.done():
                waiting.decided.set_result(None)
        self._confirmed = still

    def _note_leadership(self, state: SoftState) -> None:
        """Whoever waits for an earlier leadership waits in vain."""
        is_leader = state.role is Role.LEADER
        self._fail_all(lambda waiting: not is_leader or waiting.term != state.term)
        if state.leader is not None:
            logger.info("metadata leader", leader=f"N{state.leader}", term=state.term)

    def _fail_all(self, is_lost: Callable[[_Waiting], bool]) -> None:
        lost = [index for index, waiting in self._proposals.items() if is_lost(waiting)]
        failed = [self._proposals.pop(index) for index in lost]
        contexts = [context for context, waiting in self._reads.items() if is_lost(waiting)]
        failed.extend(self._reads.pop(context) for context in contexts)
        failed.extend(waiting for _, waiting in self._confirmed if is_lost(waiting))
        self._confirmed = [pair for pair in self._confirmed if not is_lost(pair[1])]
        for waiting in failed:
            self._fail(waiting)

    def _fail(self, waiting: _Waiting) -> None:
        if waiting.decided.done():
            return
        if waiting.is_write:
            lost = Unserved("the leadership was lost meanwhile", maybe_executed=True)
        else:
            lost = NotLeading("the leadership was lost meanwhile", leader=self.leader)
        waiting.decided.set_exception(lost)
        waiting.decided.exception()  # retrieved: nobody may be waiting any more
