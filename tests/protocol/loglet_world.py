"""A loglet in memory under faults: one sequencer, some log servers, rivals that seal and repair.

Every message is a call that lies in the network until chance delivers, repeats or drops it. A log
server has a disk and a queue of writes that are not synced; a crash empties the queue. In some
worlds one server loses its disk: at first it is only silent, then the configuration says so, and
when the loglet has ended without it somebody forces it back, empty. The world writes down what was
promised; the checks at the end know nothing of the code under test.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from random import Random

from loglet_quorum import copies

from restate_node.protocol import loglet_runs
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
from restate_node.protocol.loglet_runs import Span
from restate_node.protocol.loglet_store import (
    Admit,
    AlreadyDurable,
    AlreadySealed,
    LogletState,
    PersistedLoglet,
    PersistSeal,
    Reject,
    WaitForSeal,
    WaitInFlight,
)
from restate_node.protocol.quorum import NodesetChecker
from restate_node.protocol.repair import RepairPlan, RepairScope, RepairStep, plan_repair
from restate_node.protocol.seal import SealDone, SealTally
from restate_node.protocol.sequencer import Sequencer, SequencerOptions, StoreGroup
from restate_node.protocol.tail import NeedsRepair, Open, Sealed, SealFirst, TailTally
from restate_node.types.ids import GenerationalNodeId, LogletId, PlainNodeId
from restate_node.types.log_messages import (
    Digest,
    GetDigest,
    GetRecords,
    LogletHeader,
    LogletInfo,
    Records,
    Release,
    Seal,
    Status,
    Store,
    StoredRun,
)
from restate_node.types.offsets import LogletOffset
from restate_node.types.records import RecordBatch, cut, pack

LOGLET = LogletId(1)
SEQUENCER = GenerationalNodeId(PlainNodeId(1), 1)
RIVAL = GenerationalNodeId(PlainNodeId(2), 1)
SIZES = ((3, 2), (3, 2), (5, 2), (5, 3), (3, 3), (2, 2))
LOSS_PROBABILITY = 0.5
ROUND = 12
"""Turns that a procedure waits for answers before it sends again."""

Call = Callable[[], None]
Write = tuple[LogletOffset, StoredRun | None, PersistedLoglet | None, bool, Call]
Turns = Generator[None, None, None]


class Server:
    """One log server: the state under test, a disk, and writes that are not synced yet."""

    def __init__(self) -> None:
        self.disk: dict[LogletOffset, StoredRun] = {}
        self.kept = PersistedLoglet()
        self.restart()

    def restart(self, looks: bool = True) -> None:
        """Come up with what the disk has; without a look, nothing is taken for stored."""
        spans = self.spans()
        tail = spans[-1].tail if spans else LogletOffset(1)
        start = loglet_runs.unbroken_from(spans, self.kept.trim_point) if looks else None
        self.state = LogletState(LOGLET, self.kept, tail, start)
        self.queue: list[Write] = []
        self.waiting: list[tuple[LogletOffset, Call]] = []
        self.waiting_for_seal: list[Call] = []

    def spans(self, staged: bool = False) -> list[Span]:
        runs = list(self.disk.values())
        if staged:
            runs += [run for _, run, _, _, _ in self.queue if run is not None]
        return sorted(loglet_runs.span(run) for run in runs)

    def store(
        self, message: Store, sender: GenerationalNodeId, answer: Callable[[LogletHeader], None]
    ) -> None:
        def reply(status: Status = Status.OK) -> None:
            answer(self.state.header(status))

        match self.state.admit(message, sender, 0):
            case Admit() as admitted:
                self._write(message, admitted, reply)
            case AlreadyDurable():
                reply()
            case WaitInFlight(tail):
                self.waiting.append((tail, reply))
            case WaitForSeal():
                self.waiting_for_seal.append(lambda: reply(Status.SEALED))
            case Reject(status):
                reply(status)

    def _write(self, message: Store, admitted: Admit, reply: Call) -> None:
        batch = RecordBatch(message.count, message.body)
        batch = cut(batch, admitted.skip, batch.count)
        whole = StoredRun(admitted.first_offset, batch.count, batch.body)
        parts = [loglet_runs.span(whole)]
        if admitted.backfill:
            parts = loglet_runs.holes(self.spans(staged=True), parts[0])
        for part in parts:
            run = loglet_runs.part(whole, part)
            self.queue.append((run.first_offset, run, admitted.persist, False, lambda: None))
        self.queue.append((admitted.tail, None, None, False, reply))

    def seal(self, message: Seal, answer: Callable[[LogletHeader], None]) -> None:
        def reply() -> None:
            answer(self.state.header())

        match self.state.begin_seal(message):
            case PersistSeal(persist):
                self.queue.append((self.state.staged_tail, None, persist, True, reply))
            case AlreadySealed():
                reply()
            case WaitForSeal():
                self.waiting_for_seal.append(reply)
            case Reject(status):
                answer(self.state.header(status))

    def sync(self, writes: int) -> None:
        """The oldest writes become durable."""
        done, self.queue = self.queue[:writes], self.queue[writes:]
        for tail, run, persist, is_seal, reply in done:
            if run is not None:
                assert run.first_offset not in self.disk, "a run was replaced"
                self.disk[run.first_offset] = run
                continue
            if is_seal:
                self.state.seal_durable()
                self._wake_for_seal()
            else:
                self.state.durable(tail)
            if persist is not None:
                self.kept = persist
            reply()
        self._wake()

    def _wake(self) -> None:
        due = [reply for tail, reply in self.waiting if tail <= self.state.local_tail]
        self.waiting = [one for one in self.waiting if one[0] > self.state.local_tail]
        for reply in due:
            reply()

    def _wake_for_seal(self) -> None:
        due, self.waiting_for_seal = self.waiting_for_seal, []
        for reply in due:
            reply()

    def digest(self, request: GetDigest) -> Digest:
        """From the disk, not the queue: a digest speaks of durable records."""
        window = Span(request.from_offset, LogletOffset(request.to_offset + 1))
        entries = loglet_runs.digest(self.spans(), window, self.state.trim_point)
        return Digest(self.state.header(), entries)

    def records(self, request: GetRecords) -> Records:
        window = Span(*self.state.readable(request))
        runs = [self.disk[first] for first in sorted(self.disk)]
        found, next_offset = loglet_runs.answer(runs, window, request.bytes_max)
        return Records(
            self.state.header(), self.state.trim_point, max(request.from_offset, next_offset), found
        )


class World:
    """All of it, driven by one seed."""

    def __init__(self, seed: int, *, counts_silence_as_loss: bool = False) -> None:
        """`counts_silence_as_loss`: the rivals make the mistake of taking one for the other."""
        self.chance = Random(seed)
        self.counts_silence_as_loss = counts_silence_as_loss
        self.size, self.replication = self.chance.choice(SIZES)
        self.quorum = copies(self.size, self.replication)
        self.lost: set[PlainNodeId] = set()
        self.declared: frozenset[PlainNodeId] = frozenset()
        self.final_without: frozenset[PlainNodeId] = frozenset()
        self.settled = 0
        self.came_back = False
        self.nodes = tuple(sorted(self.quorum.members))
        self.servers = {node: Server() for node in self.nodes}
        self.network: list[Call] = []
        self.faults = True
        self.sequencer: Sequencer[bytes] = Sequencer(
            SequencerOptions(group_bytes_max=40, groups_in_flight_max=4)
        )
        self.graylist = Graylist(5)
        self.waves: dict[LogletOffset, tuple[AppendWave, StoreGroup[bytes]]] = {}
        self.pauses: list[LogletOffset] = []
        self.now_ms = 0
        self.written: dict[int, bytes] = {}
        self.acknowledged: dict[int, bytes] = {}
        self.open_tails: list[int] = []
        self.final_tail: LogletOffset | None = None
        self.proposed: list[int] = []

    # ------------------------------------------------------------ network

    def send(self, call: Call) -> None:
        self.network.append(call)

    def reach(self, node: PlainNodeId, ask: Callable[[Server], None]) -> None:
        """A server that lost its data is silent."""
        self.send(lambda: None if node in self.lost else ask(self.servers[node]))

    def deliver(self) -> None:
        """One message, mostly of the older ones."""
        if not self.network:
            return
        position = int(len(self.network) * self.chance.random() ** 3)
        call = self.network.pop(position)
        fate = self.chance.random() if self.faults else 1.0
        if fate < 0.08:
            return
        if fate < 0.16:
            self.network.append(call)
        call()

    # ------------------------------------------------------------ the sequencer

    def append(self) -> None:
        count = self.chance.randint(1, 3)
        name = b"%d" % len(self.written)
        records = [name + b".%d" % number for number in range(count)]
        self.sequencer.submit(pack(records), name)
        self.pump()

    def pump(self) -> None:
        while (group := self.sequencer.next_group()) is not None:
            records = group.batch.records()
            for number, record in enumerate(records):
                self.written[group.first_offset + number] = record
            wave = AppendWave(self.quorum, self.chance, self.graylist, 1)
            self.waves[group.first_offset] = (wave, group)
            self.act(group.first_offset, wave.next_wave(self.now_ms))

    def act(self, first: LogletOffset, effects: list[WaveEffect]) -> None:
        for effect in effects:
            match effect:
                case SendStore(node):
                    self.send_store(first, node)
                case Committed():
                    self.commit(first)
                case SealedByMajority() | Reconfigure():
                    self.stop()
                case NextWaveAfter():
                    self.pauses.append(first)

    def send_store(self, first: LogletOffset, node: PlainNodeId) -> None:
        _, group = self.waves[first]
        message = Store(
            LOGLET,
            SEQUENCER,
            self.sequencer.known_global_tail,
            first,
            group.batch.count,
            group.batch.body,
        )

        def answered(header: LogletHeader) -> None:
            self.send(lambda: self.stored(first, node, header.status))

        self.reach(node, lambda server: server.store(message, SEQUENCER, answered))

    def stored(self, first: LogletOffset, node: PlainNodeId, status: Status) -> None:
        if first in self.waves:
            self.act(first, self.waves[first][0].replied(node, status, self.now_ms))

    def commit(self, first: LogletOffset) -> None:
        before = self.sequencer.known_global_tail
        _, group = self.waves.pop(first)
        released = self.sequencer.committed(group)
        assert released.known_global_tail >= before, "L3: the global tail went back"
        order = [placed.first_offset for placed in released.appends]
        assert order == sorted(order) and order[:1] in ([], [before]), "L1: answered out of order"
        for offset in range(before, released.known_global_tail):
            self.acknowledged[offset] = self.written[offset]
            assert self.final_tail is None or offset < self.final_tail, "L4: a late promise"
        for node in self.nodes:
            tail = Release(LOGLET, released.known_global_tail).known_global_tail
            self.reach(node, lambda server, to=tail: server.state.release(to))
        self.pump()

    def stop(self) -> None:
        self.sequencer.seal()
        self.waves.clear()

    def time_passes(self) -> None:
        self.now_ms += 1
        due, self.pauses = self.pauses, []
        for first in due:
            if first in self.waves:
                wave, _ = self.waves[first]
                wave.judge_by(self.quorum)
                self.act(first, wave.next_wave(self.now_ms))
        for first in list(self.waves):
            if first in self.waves and self.chance.random() < 0.2:
                self.act(first, self.waves[first][0].timed_out(self.now_ms))

    # ------------------------------------------------------------ a store is lost

    def lose(self) -> None:
        """One server forgets everything and says nothing any more."""
        node = self.chance.choice(self.nodes)
        self.servers[node] = Server()
        self.lost.add(node)

    def declare(self) -> None:
        """The configuration says that it has lost its data."""
        if self.lost != self.declared:
            self.declared = frozenset(self.lost)
            self.quorum = copies(self.size, self.replication, lost=self.declared)

    def force_back(self) -> None:
        """Read-write and empty, after the loglet has ended without it."""
        if self.final_without:
            self.came_back = True
            self.lost.clear()
            self.quorum = copies(self.size, self.replication)

    # ------------------------------------------------------------ procedures

    def observe(self) -> Turns:
        """Searches for the tail, without a seal."""
        while self.final_tail is None:
            promised = max(self.acknowledged, default=0)
            tally, _ = self.ask_tail()
            for _ in range(ROUND):
                yield
            decision = tally.decide()
            if isinstance(decision, Open):
                assert decision.tail > promised, "L1: an open tail below a promise"
                assert self.open_tails[-1:] <= [decision.tail], "L3: the open tail went back"
                self.open_tails.append(decision.tail)

    def recover(self) -> Turns:
        """Seals, finds the tail, repairs, proposes: until the chain has a tail."""
        while self.final_tail is None:
            yield from self.seal()
            quorum, without = self.quorum, self.declared
            tally, heard = self.ask_tail()
            for _ in range(ROUND):
                yield
            judged = quorum
            if self.counts_silence_as_loss:
                judged = copies(self.size, self.replication, lost=set(self.nodes) - set(heard))
                tally = TailTally(judged)
                for node, told in heard.items():
                    tally.add(node, told)
            match tally.decide():
                case Sealed(tail):
                    self.propose(tail, without)
                case NeedsRepair() as needed:
                    done = yield from self.repair(judged, needed)
                    if done and self.quorum is quorum:
                        self.propose(needed.tail, without)
                        self.settled += not judged.write_quorum(judged.writable)
                case SealFirst() | _:
                    pass

    def seal(self) -> Turns:
        tally = SealTally(self.quorum, self.nodes)
        while not isinstance(tally.progress(), SealDone):
            for node in self.nodes:
                self.call(node, lambda server, reply: server.seal(Seal(LOGLET, SEQUENCER), reply),
                          lambda header, n=node: tally.add(n, header))  # fmt: skip
            for _ in range(ROUND):
                yield

    def ask_tail(self) -> tuple[TailTally, dict[PlainNodeId, LogletInfo]]:
        """A tally and the answers; both fill up while turns pass."""
        tally = TailTally(self.quorum)
        heard: dict[PlainNodeId, LogletInfo] = {}

        def told(node: PlainNodeId, info: LogletInfo) -> None:
            heard[node] = info
            tally.add(node, info)

        for node in self.nodes:
            self.call(node, lambda server, reply: reply(server.state.info()),
                      lambda info, n=node: told(n, info))  # fmt: skip
        return tally, heard

    def repair(self, quorum: NodesetChecker, needed: NeedsRepair) -> Generator[None, None, bool]:
        """Whether every record has all the copies that it needs."""
        first, tail = needed.first, needed.tail
        digests: dict[PlainNodeId, Digest] = {}
        request = GetDigest(LOGLET, first, LogletOffset(tail - 1))
        for node in self.nodes:
            self.call(node, lambda server, reply: reply(server.digest(request)),
                      lambda digest, n=node: digests.update({n: digest}))  # fmt: skip
        for _ in range(ROUND):
            yield
        writable = tuple(node for node in self.nodes if node in quorum.writable)
        scope = RepairScope(quorum, self.nodes, writable, needed.is_proven)
        entries = {node: digest.entries for node, digest in digests.items()}
        plan = plan_repair(scope, entries, first, tail)
        if not isinstance(plan, RepairPlan):
            return False
        for step in plan.steps:
            done: set[PlainNodeId] = set()
            yield from self.copy(step, done)
            if not done.issuperset(step.targets):
                return False
        return True

    def copy(self, step: RepairStep, done: set[PlainNodeId]) -> Turns:
        request = GetRecords(LOGLET, step.first, step.tail, 1 << 20, beyond_global_tail=True)
        read: list[Records] = []
        self.call(step.sources[0], lambda server, reply: reply(server.records(request)),
                  read.append)  # fmt: skip
        for _ in range(ROUND):
            yield
        if not read or sum(run.count for run in read[0].runs) != step.tail - step.first:
            return
        count = step.tail - step.first
        body = b"".join(run.body for run in read[0].runs)
        known = read[0].header.known_global_tail
        message = Store(LOGLET, SEQUENCER, known, step.first, count, body, repair=True)
        for node in step.targets:
            self.call(node, lambda server, reply: server.store(message, RIVAL, reply),
                      lambda header, n=node: header.status is Status.OK and done.add(n)
                      )  # fmt: skip
        for _ in range(ROUND):
            yield

    def propose(self, tail: LogletOffset, without: frozenset[PlainNodeId]) -> None:
        """The first proposal is the chain's; a later one is at best as good."""
        self.proposed.append(tail)
        above = [offset for offset in self.acknowledged if offset >= tail]
        assert not above, f"L4: promised {above}, sealed at {tail}"
        assert all(seen <= tail for seen in self.open_tails), "L3: sealed below an open tail"
        if self.final_tail is None:
            self.final_tail, self.final_without = tail, without

    def call(self, node: PlainNodeId, ask: Callable, take: Callable) -> None:
        """A request and its answer, each on its own way through the network."""

        def answered(answer: LogletHeader | LogletInfo | Digest | Records) -> None:
            self.send(lambda: take(answer))

        self.reach(node, lambda server: ask(server, answered))

    # ------------------------------------------------------------ a run

    def run(self, turns: int) -> None:
        """Faults and appends, then calm until there is a tail, then the checks."""
        rivals = [self.observe()]
        starts = [self.chance.randrange(turns // 2, turns) for _ in range(2)]
        loss = self.chance.randrange(turns)
        loss = loss if self.chance.random() < LOSS_PROBABILITY else None
        for turn in range(turns):
            if turn in starts:
                rivals.append(self.recover())
            if turn == loss:
                self.lose()
            if self.chance.random() < 0.05:
                self.declare()
            self.turn(rivals)
        self.faults = False
        self.declare()
        rivals.append(self.recover())
        for _ in range(40 * turns):
            if all(rival.gi_frame is None for rival in rivals):
                break
            self.turn(rivals)
        self.force_back()
        for _ in range(turns // 5):
            self.turn(rivals)
        assert self.final_tail is not None, "no sealed tail although the faults are over"
        self.check()

    def turn(self, rivals: list[Turns]) -> None:
        for _ in range(10):
            self.deliver()
        choice = self.chance.random()
        if choice < 0.35:
            self.append()
        elif choice < 0.45:
            self.time_passes()
        elif choice < 0.47 and self.faults:
            server = self.servers[self.chance.choice(self.nodes)]
            server.restart(looks=self.chance.random() < 0.5)
        elif choice < 0.471 and self.faults:
            self.stop()
        for server in self.servers.values():
            if server.queue and self.chance.random() < 0.5:
                server.sync(self.chance.randint(1, len(server.queue)))
        for rival in rivals:
            next(rival, None)

    def check(self) -> None:
        """The invariants, from the disks and the promises alone."""
        tail = self.final_tail
        assert tail is not None
        holders: dict[int, int] = {}
        for server in self.servers.values():
            for first, run in server.disk.items():
                for number, record in enumerate(RecordBatch(run.count, run.body).records()):
                    assert self.written[first + number] == record, "L2: two values at one offset"
                    holders[first + number] = holders.get(first + number, 0) + 1
            assert server.state.known_global_tail <= tail, "L4: a global tail above the sealed one"
        for offset in range(1, tail):
            needed = self.replication - (1 if self.declared else 0)
            assert holders.get(offset, 0) >= needed, "L1: too few copies"
        assert all(offset < tail for offset in self.acknowledged), "L4: promised above the tail"
