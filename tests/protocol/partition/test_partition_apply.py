"""Commands applied to tables: what changes, what is dropped, what two replicas agree on."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as some

from restate_node.protocol.partition import tables
from restate_node.protocol.partition.apply import apply
from restate_node.protocol.partition.commands.patch_state import state_version
from restate_node.protocol.partition.effects import (
    Effect,
    LeaderAnnounced,
    PatchRejected,
    StatePatched,
)
from restate_node.protocol.partition.tables import Mutation, StateEntry, StateOwner
from restate_node.protocol.partition.transaction import Transaction
from restate_node.types.ids import (
    GenerationalNodeId,
    LeaderEpoch,
    LogId,
    PartitionId,
    PlainNodeId,
    Version,
)
from restate_node.types.offsets import Lsn
from restate_node.types.partitions import KeyRange, Partition
from restate_node.types.wal import (
    AnnounceLeader,
    Dedup,
    Envelope,
    IngressProducer,
    PatchState,
    SelfProposal,
)
from restate_node.wire import journal_codec
from tests.protocol.partition.ledger import Rows

P = PartitionId(3)
PARTITION = Partition(P, LogId(3), KeyRange(0, (1 << 64) - 1))
NODE = GenerationalNodeId(PlainNodeId(1), 2)


@dataclass
class Replica:
    """Applies records to rows, `batch` of them per transaction."""

    batch: int = 1
    rows: Rows = field(default_factory=Rows)

    def replay(self, log: list[Envelope]) -> list[Effect]:
        effects: list[Effect] = []
        applied = tables.read_applied(self.rows, P)
        while pending := log[applied : applied + self.batch]:
            transaction = Transaction(self.rows)
            for envelope in pending:
                applied = Lsn(applied + 1)
                effects += apply(PARTITION, journal_codec, applied, envelope, transaction)
            self.rows.write(transaction.mutations())
        return effects

    def state(self, service: str, key: str) -> dict[str, bytes]:
        found = tables.state_of(self.rows, StateOwner(7, service, key))
        return {entry.name: entry.value for entry in found}


def patch(
    new_state: dict[str, bytes],
    *,
    key: str = "k",
    version: str | None = None,
    dedup: Dedup | None = None,
) -> Envelope:
    return Envelope(dedup, 7, PatchState("Box", key, new_state, version))


def announce(epoch: int) -> Envelope:
    command = AnnounceLeader(NODE, LeaderEpoch(epoch), KeyRange(0, 99), Version(epoch), None, None)
    return Envelope(SelfProposal(LeaderEpoch(epoch), 0), 0, command)


def test_patch_replaces_the_whole_state() -> None:
    """Goal: nothing of the old state remains, nothing of neighbours changes. Method: three keys."""
    replica = Replica()
    effects = replica.replay(
        [
            patch({"a": b"1", "b": b"2", "c": b"3", "d": b"4"}),
            patch({"a": b"x"}, key="k2"),
            patch({"b": b"5", "e": b""}),
        ]
    )
    assert effects == [
        StatePatched("Box", "k"),
        StatePatched("Box", "k2"),
        StatePatched("Box", "k"),
    ]
    assert replica.state("Box", "k") == {"b": b"5", "e": b""}
    assert replica.state("Box", "k2") == {"a": b"x"}
    assert replica.state("Bo", "xk") == {}
    assert [(e.owner.key, e.name) for e in tables.all_state(replica.rows)] == [
        ("k", "b"), ("k", "e"), ("k2", "a"),
    ]  # fmt: skip


@pytest.mark.parametrize("batch", [1, 2, 10])
def test_an_expected_version_guards_the_state(batch: int) -> None:
    """Goal: a stale caller changes nothing but the LSN. Method: right, then outdated version, in
    the same and in different transactions."""
    owner = StateOwner(7, "Box", "k")
    empty = state_version([])
    first = state_version([StateEntry(owner, "a", b"1")])
    replica = Replica(batch)
    effects = replica.replay(
        [
            patch({"a": b"1"}, version=empty),
            patch({"a": b"2"}, version=empty),
            patch({}, version=first),
        ]
    )
    rejected = PatchRejected("Box", "k", empty, first)
    assert effects == [StatePatched("Box", "k"), rejected, StatePatched("Box", "k")]
    assert replica.state("Box", "k") == {}
    assert tables.read_applied(replica.rows, P) == 3


def test_versions_tell_states_apart() -> None:
    """Goal: no two states share a version by moving bytes. Method: look-alikes."""
    owner = StateOwner(7, "Box", "k")
    states = [
        [],
        [("a", b"bc")],
        [("ab", b"c")],
        [("a", b"b"), ("c", b"")],
        [("a", b""), ("b", b"c")],
    ]
    versions = {state_version([StateEntry(owner, *entry) for entry in state]) for state in states}
    assert len(versions) == len(states)


@pytest.mark.parametrize("batch", [1, 3, 10])
def test_doubles_are_skipped_and_counted(batch: int) -> None:
    """Goal: P3. Method: each record twice, and the same numbers from another writer."""
    ours = [patch({"n": b"%d" % n}, dedup=IngressProducer(b"a" * 16, n)) for n in range(3)]
    theirs = patch({"n": b"9"}, dedup=IngressProducer(b"b" * 16, 0))
    replica = Replica(batch)
    effects = replica.replay([*ours, ours[1], ours[2], theirs, *ours])
    assert len(effects) == 4
    assert replica.state("Box", "k") == {"n": b"9"}
    assert tables.read_applied(replica.rows, P) == 9


@pytest.mark.parametrize("batch", [1, 4])
def test_a_new_leader_fences_the_old_one(batch: int) -> None:
    """Goal: nothing of a deposed leader is applied. Method: its records around the successor's
    announcement."""
    old = [patch({"by": b"old"}, dedup=SelfProposal(LeaderEpoch(1), n)) for n in (1, 2)]
    new = patch({"by": b"new"}, dedup=SelfProposal(LeaderEpoch(2), 1))
    replica = Replica(batch)
    effects = replica.replay([announce(1), old[0], announce(2), old[1], new, announce(1), old[1]])
    assert effects == [
        LeaderAnnounced(NODE, LeaderEpoch(1)),
        StatePatched("Box", "k"),
        LeaderAnnounced(NODE, LeaderEpoch(2)),
        StatePatched("Box", "k"),
    ]
    leader = tables.read_leader(replica.rows, P)
    assert leader is not None and leader.epoch == 2
    assert replica.state("Box", "k") == {"by": b"new"}


RECORDS = some.one_of(
    some.builds(announce, some.integers(1, 5)),
    some.builds(
        patch,
        some.dictionaries(some.sampled_from("abc"), some.binary(max_size=2), max_size=3),
        key=some.sampled_from(("k", "kk", "")),
        version=some.sampled_from((None, None, state_version([]))),
        dedup=some.one_of(
            some.none(),
            some.builds(SelfProposal, some.integers(1, 5), some.integers(0, 3)),
            some.builds(IngressProducer, some.just(b"a" * 16), some.integers(0, 5)),
        ),
    ),
)


@given(some.lists(RECORDS, max_size=25), some.integers(1, 7), some.integers(1, 4))
def test_batches_do_not_matter(log: list[Envelope], batch: int, scan_max: int) -> None:
    """Goal: P1 for any cut of the log into transactions. Method: replay one by one, and in batches
    over a store with other pages; rows and effects must be equal."""
    one, many = Replica(1), Replica(batch, Rows(scan_max=scan_max))
    assert one.replay(log) == many.replay(log)
    assert one.rows.rows == many.rows.rows


@given(
    some.dictionaries(some.binary(max_size=2), some.binary(max_size=1)),
    some.lists(some.tuples(some.binary(max_size=2), some.none() | some.binary(max_size=1))),
    some.integers(1, 3),
)
def test_a_transaction_reads_what_it_wrote(
    stored: dict[bytes, bytes], changes: list[tuple[bytes, bytes | None]], rows_max: int
) -> None:
    """Goal: reads see the store under the changes. Method: compare with a store that has them."""
    mutations = [Mutation(key, value) for key, value in changes]
    transaction = Transaction(Rows(dict(stored)))
    transaction.put(mutations)
    after = Rows(dict(stored))
    after.write(mutations)
    found: list[tuple[bytes, bytes]] = []
    start = b""
    while page := transaction.scan(start, b"\xff" * 3, rows_max=rows_max):
        assert len(page) <= rows_max
        found += page
        start = page[-1][0] + b"\x00"
    assert found == sorted(after.rows.items())
    assert all(transaction.get(key) == after.rows.get(key) for key, _ in changes)
    written = Rows(dict(stored))
    written.write(transaction.mutations())
    assert written.rows == after.rows


@pytest.mark.parametrize(
    ("variable", "read"),
    [
        (2, lambda rows: tables.read_applied(rows, P)),
        (7, lambda rows: tables.read_leader(rows, P)),
    ],
)
def test_damaged_rows_are_noticed(variable: int, read: object) -> None:
    """Goal: no answer from a row that was never written like this. Method: one byte instead."""
    rows = Rows({b"fs" + P.to_bytes(8, "big") + variable.to_bytes(8, "big"): b"\xc1"})
    assert callable(read)
    with pytest.raises(tables.CorruptTable):
        read(rows)


def test_the_version_is_the_one_that_restates_tools_compute() -> None:
    """Goal: `restate kv patch` replaces what it has read. Method: a version that the tool sent."""
    owner = StateOwner(7, "Mapping", "k")
    state = [StateEntry(owner, "a", b"1"), StateEntry(owner, "b", b'"x"')]
    assert state_version(state) == "KD8X8IxfPXeQmeDZGkNBNMpRWrvH2Cmgrl9O7NH4sxE"
