"""One loglet on one log server: which records it takes, and what it may promise.

A log server is a keeper of promises. OK to a store says "these records survive a crash"; the answer
to a seal says "all that I ever promised lies below this local tail, and I promise the sequencer
nothing more". Every guarantee of the log is made of these two promises, given by *many* servers.
This module decides when one may be given. It never touches a disk: it says what to write, is told
what became durable, and hands out as a value what must survive.

               trim_point    unbroken_from     local_tail      staged_tail
                    |              |               |                |
    offsets  . . . .|█ █ . █ . . █ █ █ █ █ █ █ █ █ ▒ ▒ ▒ ▒ ▒ ▒ ▒ ▒ ▒ . . . .
           trimmed    holes may be | all durable   | written, sync  | free
                                                     under way

**Holes.** A write quorum has each record, no single server must. A server that missed some may go
on at the global tail, since all below is safe elsewhere: it *jumps* and leaves a hole behind. Holes
are only below `unbroken_from`, so two comparisons tell "I have this" from "I may lack this".

**Backfill.** A store that begins below `unbroken_from` may fill a hole. Its writer MUST look what
is stored there and write the missing parts only (`loglet_runs.holes`): stored runs never overlap,
and a short run must not replace a long one with the same first offset.

**Seal.** From `begin_seal` on nothing more is staged, and the seal is written behind all that is:
the local tail in its answer covers every store that was, or will be, answered with OK. A store is
checked against the seal *before* "already durable": a repair may have brought here what the
sequencer is now trying again, and OK would let it acknowledge records above a tail that is final.

**Repair.** A repair passes the seal, and it jumps without a global tail that allows it, because it
stores in order and only past offsets that it has proven to be replicated. It announces no global
tail of its own: readers deliver what lies below that, and where a sealed loglet ends is for the
chain to decide.

Driven by the loglet worker of the log server: one `LogletState` per loglet, one owner, events in
the order of the log store's writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from restate_node.types.ids import GenerationalNodeId, LogletId
from restate_node.types.log_messages import (
    GetRecords,
    LogletHeader,
    LogletInfo,
    Seal,
    Status,
    Store,
    TrimLoglet,
)
from restate_node.types.offsets import OFFSET_MAX, OLDEST_OFFSET, LogletOffset

_NOTHING_TRIMMED = LogletOffset(0)


@dataclass(frozen=True, slots=True)
class PersistedLoglet:
    """What must survive besides the records; the local tail follows from those."""

    sequencer: GenerationalNodeId | None = None
    sealed: bool = False
    trim_point: LogletOffset = _NOTHING_TRIMMED
    known_global_tail: LogletOffset = OLDEST_OFFSET


@dataclass(frozen=True, slots=True)
class Admit:
    """Write the records after `skip`, sync, report `durable(tail)`, then answer OK."""

    first_offset: LogletOffset
    tail: LogletOffset
    skip: int = 0
    """So many records at the front are stored already: cut them off."""
    backfill: bool = False
    """May fill a hole: write only what is missing (see the module's page)."""
    persist: PersistedLoglet | None = None
    """To be written together with the records."""


@dataclass(frozen=True, slots=True)
class AlreadyDurable:
    """Answer OK: nothing to write."""


@dataclass(frozen=True, slots=True)
class WaitInFlight:
    """The same records are being written: answer OK when the local tail reaches `tail`."""

    tail: LogletOffset


@dataclass(frozen=True, slots=True)
class WaitForSeal:
    """A seal is being written: answer when it is durable (a store with SEALED, a seal with OK)."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Answer with this status."""

    status: Status


@dataclass(frozen=True, slots=True)
class PersistSeal:
    """Write this behind everything staged, sync, report `seal_durable()`, then answer OK."""

    persist: PersistedLoglet


@dataclass(frozen=True, slots=True)
class AlreadySealed:
    """Answer OK: the seal is durable."""


@dataclass(frozen=True, slots=True)
class PersistTrim:
    """Write this, then records up to the trim point may go; answer OK."""

    persist: PersistedLoglet


@dataclass(frozen=True, slots=True)
class AlreadyTrimmed:
    """Answer OK: nothing to write."""


StoreDecision: TypeAlias = Admit | AlreadyDurable | WaitInFlight | WaitForSeal | Reject
SealDecision: TypeAlias = PersistSeal | AlreadySealed | WaitForSeal | Reject
TrimDecision: TypeAlias = PersistTrim | AlreadyTrimmed | Reject


class LogletState:
    """The loglet as this log server knows it; every method is one event."""

    __slots__ = (
        "_seal_pending",
        "disabled",
        "known_global_tail",
        "local_tail",
        "loglet",
        "sealed",
        "sequencer",
        "staged_tail",
        "trim_point",
        "unbroken_from",
    )

    def __init__(
        self,
        loglet: LogletId,
        persisted: PersistedLoglet | None = None,
        local_tail: LogletOffset = OLDEST_OFFSET,
        unbroken_from: LogletOffset | None = None,
    ) -> None:
        """A new loglet, or one found on disk.

        `local_tail` follows the last stored record (the trim point when there is none);
        `unbroken_from` may be left out: then nothing is taken for stored without a look.
        """
        kept = persisted or PersistedLoglet()
        self.loglet = loglet
        self.sequencer = kept.sequencer
        self.sealed = kept.sealed
        self.trim_point = kept.trim_point
        self.known_global_tail = kept.known_global_tail
        self.local_tail = LogletOffset(max(local_tail, kept.trim_point + 1))
        self.staged_tail = self.local_tail
        self.unbroken_from = self.local_tail if unbroken_from is None else unbroken_from
        self.disabled = False
        self._seal_pending = False

    @property
    def seal_pending(self) -> bool:
        """A seal is written but not yet durable."""
        return self._seal_pending

    # ------------------------------------------------------------ stores

    def admit(self, store: Store, sender: GenerationalNodeId, now_ms: int) -> StoreDecision:
        """What to do with a store; after `Admit` the records count as staged."""
        self.release(store.known_global_tail)
        refusal = self._refusal(store, sender, now_ms)
        if refusal is not None:
            return Reject(refusal)
        tail = LogletOffset(store.first_offset + store.count)
        if self._is_covered(store.first_offset, tail):
            return AlreadyDurable() if tail <= self.local_tail else WaitInFlight(tail)
        if self._seal_pending:
            return Reject(Status.SEALING) if store.repair else WaitForSeal()
        return self._stage(store, tail)

    def durable(self, tail: LogletOffset) -> None:
        """Everything staged below `tail` is synced. MUST be called in the order of staging."""
        assert tail <= self.staged_tail, f"durable {tail} was never staged ({self.staged_tail})"
        if tail > self.local_tail:
            self.local_tail = tail

    def release(self, known_global_tail: LogletOffset) -> None:
        """Someone knows that everything below is committed. Heard late or twice: no harm."""
        if known_global_tail > self.known_global_tail:
            self.known_global_tail = known_global_tail

    def fail_safe(self) -> None:
        """The disk failed: take nothing more until the process starts anew."""
        self.disabled = True

    def _refusal(self, store: Store, sender: GenerationalNodeId, now_ms: int) -> Status | None:
        """The rules, in the order in which they bind; None when the store may go on."""
        first = store.first_offset
        frontier = max(self.staged_tail, self.known_global_tail)
        if first < OLDEST_OFFSET or store.count < 1 or first + store.count - 1 > OFFSET_MAX:
            return Status.MALFORMED
        if self.sealed and not store.repair:
            return Status.SEALED
        if self.disabled:
            return Status.DISABLED
        if self.sequencer is not None and self.sequencer != store.sequencer:
            return Status.SEQUENCER_MISMATCH
        if first < frontier and not store.repair and sender != store.sequencer:
            return Status.SEQUENCER_MISMATCH
        if first > frontier and not store.repair:
            return Status.OUT_OF_BOUNDS
        if 0 < store.expires_at_ms <= now_ms:
            return Status.DROPPED
        return None

    def _is_covered(self, first: LogletOffset, tail: LogletOffset) -> bool:
        """All of it is trimmed, or stored or staged for certain."""
        return tail <= self.trim_point + 1 or self.unbroken_from <= first < tail <= self.staged_tail

    def _stage(self, store: Store, tail: LogletOffset) -> Admit:
        persist = self._adopt(store.sequencer)
        first = store.first_offset
        if first > self.staged_tail:  # a jump
            self.unbroken_from = first
        if first < self.unbroken_from:
            self.staged_tail = max(self.staged_tail, tail)
            return Admit(first, tail, backfill=True, persist=persist)
        skip = self.staged_tail - first if first < self.staged_tail else 0
        self.staged_tail = tail
        return Admit(LogletOffset(first + skip), tail, skip, persist=persist)

    def _adopt(self, sequencer: GenerationalNodeId) -> PersistedLoglet | None:
        """The first sequencer heard of is the one for ever."""
        if self.sequencer is not None:
            return None
        self.sequencer = sequencer
        return self.persisted()

    # ------------------------------------------------------------ seal, trim

    def begin_seal(self, seal: Seal) -> SealDecision:
        """What to do with a seal; after `PersistSeal` nothing is staged any more."""
        if self.sequencer is not None and self.sequencer != seal.sequencer:
            return Reject(Status.SEQUENCER_MISMATCH)
        if self.sealed:
            return AlreadySealed()
        if self.disabled:
            return Reject(Status.DISABLED)
        if self._seal_pending:
            return WaitForSeal()
        self.sequencer = seal.sequencer
        self._seal_pending = True
        return PersistSeal(self.persisted())

    def seal_durable(self) -> None:
        """The seal is synced, and so is everything that was staged before it."""
        assert self._seal_pending, "a seal became durable that was never begun"
        assert self.local_tail == self.staged_tail, "a seal overtook the records staged before it"
        self._seal_pending = False
        self.sealed = True

    def ended(self) -> None:
        """The chain says that the loglet has ended, and a row of the store says so too: as good as
        a seal, for a server that may have forgotten its own.
        """
        self.sealed = True

    def trim(self, trim: TrimLoglet) -> TrimDecision:
        """What to do with a trim; the trim point never passes the local tail, nor moves back."""
        self.release(trim.known_global_tail)
        if trim.trim_point >= max(self.known_global_tail, self.local_tail):
            return Reject(Status.MALFORMED)
        if self.disabled:
            return Reject(Status.DISABLED)
        point = min(trim.trim_point, self.local_tail - 1)
        if point <= self.trim_point:
            return AlreadyTrimmed()
        self.trim_point = LogletOffset(point)
        return PersistTrim(self.persisted())

    # ------------------------------------------------------------ what others see

    def persisted(self) -> PersistedLoglet:
        """What must survive a crash, as of now; a pending seal counts."""
        return PersistedLoglet(
            sequencer=self.sequencer,
            sealed=self.sealed or self._seal_pending,
            trim_point=self.trim_point,
            known_global_tail=self.known_global_tail,
        )

    def header(self, status: Status = Status.OK) -> LogletHeader:
        """The head of every answer; speaks of durable facts only."""
        return LogletHeader(status, self.local_tail, self.known_global_tail, self.sealed)

    def info(self) -> LogletInfo:
        """The answer to GetLogletInfo."""
        status = Status.DISABLED if self.disabled else Status.OK
        return LogletInfo(self.header(status), self.trim_point)

    def readable(self, request: GetRecords) -> tuple[LogletOffset, LogletOffset]:
        """The window `[first, tail)` of the request that may be answered; empty when first == tail.

        Nothing trimmed, and nothing above the global tail unless the reader asks for it: a
        repair, or a reader who knows from the chain where the loglet ends. Even those get
        nothing that a crash could still take back.
        """
        first = max(request.from_offset, self.trim_point + 1)
        bound = self.known_global_tail
        if request.beyond_global_tail:
            bound = max(bound, self.local_tail)
        tail = min(request.to_offset, bound)
        return LogletOffset(first), LogletOffset(max(first, tail))
