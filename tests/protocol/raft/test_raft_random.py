"""Random clusters under random faults: safety, linearizable compare-and-swap, liveness."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from raft_cluster import Cluster, Replica, members_of, storage_of

from restate_node.protocol.metadata_kv import MetadataKv, decode_command, encode_command
from restate_node.protocol.raft.options import RaftOptions
from restate_node.protocol.raft.ready import (
    AddMember,
    ProposalId,
    ReadQueued,
    ReadState,
    RemoveMember,
)
from restate_node.types.ids import PlainNodeId, Version
from restate_node.types.metadata_kv import (
    DoesNotExist,
    Done,
    MatchesVersion,
    Outcome,
    PreconditionFailed,
    Put,
    RequestId,
    VersionedValue,
)
from restate_node.types.raft import Entry, EntryKind, Index, Role, Term

KEY = "register"


@dataclass
class Write:
    """A compare-and-swap that a client repeats, under one name, until it has an answer."""

    command: Put
    floor: int
    attempts: dict[tuple[int, int], Term] = field(default_factory=dict)
    outcome: Outcome | None = None


class Chaos:
    """One seed: a cluster, its faults, its clients and its checks."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.size = 3 if seed % 2 else 5
        options = RaftOptions(
            election_ticks=4,
            heartbeat_ticks=1,
            append_entries_max=rng.choice((1, 3, 256)),
            in_flight_max=rng.choice((1, 4, 64)),
            apply_entries_max=rng.choice((1, 1024)),
        )
        first = members_of(*range(1, (self.size if rng.random() < 0.5 else 3) + 1))
        self.cluster = Cluster(self.size, first, options, seed)
        for replica in self.cluster.replicas.values():
            replica.on_applied = self.applied
            replica.on_read = self.read_answered
        self.loss = rng.choice((0.0, 0.02, 0.15))
        self.duplication = rng.choice((0.0, 0.1))
        self.crashes = rng.choice((0.0, 0.005, 0.02))
        self.partitions = rng.choice((0.0, 0.01))
        self.chosen: dict[int, Entry] = {}
        self.leaders: dict[int, int] = {}
        self.writes: list[Write] = []
        self.reads: dict[bytes, int] = {}
        self.acknowledged = 0

    # -- events

    def step(self) -> None:
        rng, replicas = self.rng, self.cluster.replicas
        replica = replicas[rng.randint(1, self.size)]
        if replica.core is None:
            if rng.random() < 0.15:
                replica.start()
        else:
            self.step_replica(replica)
        for _ in range(rng.randint(0, self.size + 2)):
            self.pass_message()
        if rng.random() < self.partitions:
            count = rng.randint(0, self.size // 2)
            self.cluster.isolated = set(rng.sample(range(1, self.size + 1), count))

    def step_replica(self, replica: Replica) -> None:
        rng, core = self.rng, replica.core
        assert core is not None
        if rng.random() < 0.3:
            core.tick()
        if rng.random() < (0.6 if core.status().role is Role.LEADER else 0.1):
            self.client(replica)
        if rng.random() < 0.01:
            replica.compact(keep=rng.choice((0, 2)))
        if rng.random() < 0.02:
            self.administer(replica)
        self.check_leader(replica)
        if rng.random() < 0.8:
            replica.begin()
        if rng.random() < self.crashes:
            replica.crash(rng.randint(0, len(replica.disk.unsynced)))
        elif rng.random() < 0.8:
            self.cluster.network.extend(replica.finish())

    def pass_message(self) -> None:
        network = self.cluster.network
        if not network:
            return
        position = self.rng.randrange(len(network))
        message = network[position]
        if self.rng.random() >= self.duplication:
            network[position] = network[-1]
            network.pop()
        if self.rng.random() >= self.loss:
            self.cluster.deliver(message)
            self.check_leader(self.cluster.replicas[message.receiver])

    def administer(self, replica: Replica) -> None:
        core = replica.core
        assert core is not None
        node = PlainNodeId(self.rng.randint(1, self.size))
        match self.rng.randrange(3):
            case 0:
                core.propose_members(AddMember(node, storage_of(node)))
            case 1 if len(core.members) > 2:
                core.propose_members(RemoveMember(node))
            case _:
                core.transfer_leadership(node)

    # -- clients

    def client(self, replica: Replica) -> None:
        assert replica.core is not None
        open_writes = [write for write in self.writes if write.outcome is None]
        if self.rng.random() < 0.3:
            context = f"read-{len(self.reads)}".encode()
            if isinstance(replica.core.read_index(context), ReadQueued):
                self.reads[context] = self.acknowledged
        elif open_writes and self.rng.random() < 0.5:
            self.attempt(replica, self.rng.choice(open_writes))
        else:
            self.writes.append(self.new_write(replica))
            self.attempt(replica, self.writes[-1])

    def new_write(self, replica: Replica) -> Write:
        number = len(self.writes)
        known = replica.kv.version(KEY)
        condition = DoesNotExist() if known is None else MatchesVersion(known)
        value = VersionedValue(Version((known or 0) + 1), str(number).encode())
        command = Put(RequestId(number % 3, number), KEY, value, condition)
        return Write(command, floor=self.acknowledged)

    def attempt(self, replica: Replica, write: Write) -> None:
        assert replica.core is not None
        proposal = replica.core.propose(encode_command(write.command))
        if isinstance(proposal, ProposalId):
            write.attempts[replica.node, proposal.index] = proposal.term

    def applied(self, replica: Replica, entry: Entry, outcome: Outcome | None) -> None:
        chosen = self.chosen.setdefault(entry.index, entry)
        assert chosen == entry, f"state machine safety: N{replica.node} {entry} is not {chosen}"
        for write in self.writes:
            term = write.attempts.pop((replica.node, entry.index), None)
            if term == entry.term and outcome is not None and write.outcome is None:
                self.acknowledge(write, outcome)

    def acknowledge(self, write: Write, outcome: Outcome) -> None:
        write.outcome = outcome
        match outcome:
            case Done():
                seen = write.command.value.version
                assert seen > write.floor, f"write {write} is older than {write.floor}"
            case PreconditionFailed(_, found):
                seen = found or 0
                assert seen >= write.floor, f"write {write} saw {seen} after {write.floor}"
            case _:
                raise AssertionError(f"unexpected outcome {outcome}")
        self.acknowledged = max(self.acknowledged, seen)

    def read_answered(self, replica: Replica, read: ReadState) -> None:
        seen = replica.kv.version(KEY) or 0
        assert seen >= self.reads[read.context], f"stale read of {seen}: {read}"
        self.acknowledged = max(self.acknowledged, seen)

    # -- checks

    def check_leader(self, replica: Replica) -> None:
        """Election safety and leader completeness, once per term."""
        core = replica.core
        if core is None or core._state.role is not Role.LEADER:
            return
        term, log = core._state.term, core._state.log
        if self.leaders.get(term) == replica.node:
            return
        assert term not in self.leaders, f"two leaders in term {term}"
        self.leaders[term] = replica.node
        for index, entry in self.chosen.items():
            if index > log.base_index and entry.term < term:
                assert log.term(Index(index)) == entry.term, f"leader of {term} lacks {entry}"

    def check_logs(self) -> None:
        """Log matching of every pair of replicas."""
        cores = [replica.core for replica in self.cluster.replicas.values()]
        logs = [core._state.log for core in cores if core is not None]
        for one in logs:
            for other in logs:
                first = Index(max(one.base_index, other.base_index) + 1)
                last = min(one.last_index, other.last_index)
                while last >= first and one.term(last) != other.term(last):
                    last = Index(last - 1)
                if last >= first:
                    assert one.between(first, last) == other.between(first, last), "log matching"

    def check_history(self) -> None:
        """Replay what was chosen: each acknowledged outcome is in it, nothing was written twice."""
        kv, written = MetadataKv(), dict[int, bytes]()
        for index in sorted(self.chosen):
            entry = self.chosen[index]
            if entry.kind is not EntryKind.NORMAL:
                continue
            before = kv.version(KEY) or 0
            command = decode_command(entry.data)
            kv.apply(entry.index, command)
            after = kv.get(KEY)
            if after is not None and after.version != before:
                assert after.version == before + 1
                written[after.version] = after.data
        values = list(written.values())
        assert len(values) == len(set(values)), "a repeated command was applied twice"
        for write in self.writes:
            value = write.command.value
            if isinstance(write.outcome, Done):
                assert written[value.version] == value.data
            elif isinstance(write.outcome, PreconditionFailed):
                assert value.data not in values

    # -- liveness

    def heal(self) -> None:
        """All nodes up, all messages pass: soon there is one leader, and all its members agree."""
        self.cluster.isolated = set()
        for replica in self.cluster.replicas.values():
            if replica.core is None:
                replica.start()
        for _ in range(300):
            self.run_quietly()
            if self.is_converged():
                return
        raise AssertionError("no convergence after healing")

    def run_quietly(self) -> None:
        for replica in self.cluster.replicas.values():
            assert replica.core is not None
            replica.core.tick()
            self.cluster.network.extend(replica.finish())
            self.cluster.handle(replica.node)
            self.check_leader(replica)
        messages, self.cluster.network = self.cluster.network, []
        for message in messages:
            self.cluster.deliver(message)

    def is_converged(self) -> bool:
        cores = [replica.core for replica in self.cluster.replicas.values() if replica.core]
        leaders = [core for core in cores if core.status().role is Role.LEADER]
        if len(leaders) != 1:
            return False
        want = leaders[0].status()
        heads = [core.status() for core in cores if core._state.me in want.members]
        return all(
            (head.term, head.leader, head.applied) == (want.term, want.leader, want.last_index)
            for head in heads
        )


def run(seed: int, steps: int) -> Chaos:
    chaos = Chaos(seed)
    for _ in range(steps):
        chaos.step()
    chaos.check_logs()
    chaos.heal()
    chaos.check_logs()
    chaos.check_history()
    return chaos


@pytest.mark.parametrize("block", range(10))
def test_safety_and_liveness_under_faults(block: int) -> None:
    """Goal: Raft's four safety properties, linearizable compare-and-swap and reads, and convergence
    once the faults end. Method: 30 seeds per block of loss, reordering, duplication, partitions,
    crashes that lose unsynced batches, compaction, membership changes, leadership transfers."""
    decided = 0
    for seed in range(block * 30, block * 30 + 30):
        try:
            decided += len(run(seed, 800).chosen)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error}") from error
    assert decided > 30 * 40, "the clusters decide too little to test anything"
