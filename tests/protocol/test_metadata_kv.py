"""The metadata store's state machine, command by command."""

from __future__ import annotations

import pytest

from restate_node.protocol.metadata_kv import (
    MetadataKv,
    MetadataLimits,
    decode_command,
    encode_command,
)
from restate_node.types.ids import Version
from restate_node.types.metadata_kv import (
    KEY_BYTES_MAX,
    VALUE_BYTES_MAX,
    ClusterIdentity,
    Command,
    Delete,
    DoesNotExist,
    Done,
    MatchesVersion,
    Outcome,
    Precondition,
    PreconditionFailed,
    Provision,
    Provisioned,
    Put,
    Rejected,
    RequestId,
    Unconditional,
    VersionedValue,
)
from restate_node.types.raft import Index

ANY, ABSENT = Unconditional(), DoesNotExist()


def matches(version: int) -> MatchesVersion:
    return MatchesVersion(Version(version))


def value(version: int, data: bytes = b"x") -> VersionedValue:
    return VersionedValue(Version(version), data)


class Client:
    """Numbers requests and log positions."""

    def __init__(self, limits: MetadataLimits | None = None) -> None:
        self.kv = MetadataKv(limits)
        self.sequence = 0

    def request(self) -> RequestId:
        self.sequence += 1
        return RequestId(7, self.sequence)

    def apply(self, command: Command) -> Outcome:
        index = Index(self.kv.applied + 1)
        return self.kv.apply(index, decode_command(encode_command(command)))

    def put(self, version: int, precondition: Precondition, key: str = "k") -> Outcome:
        return self.apply(Put(self.request(), key, value(version), precondition))

    def delete(self, precondition: Precondition, key: str = "k") -> Outcome:
        return self.apply(Delete(self.request(), key, precondition))


def failed(message: str, found: int | None) -> PreconditionFailed:
    return PreconditionFailed(message, None if found is None else Version(found))


@pytest.mark.parametrize(
    ("existing", "precondition", "expected"),
    [
        (None, ANY, Done()),
        (5, ANY, Done()),
        (None, ABSENT, Done()),
        (1, ABSENT, failed("key-value pair already exists", 1)),
        (1, matches(1), Done()),
        (1, matches(2), failed("expected version 'v2' but found version 'Some(v1)'", 1)),
        (None, matches(2), failed("expected version 'v2' but found version 'None'", None)),
    ],
)
@pytest.mark.parametrize("operation", ["put", "delete"])
def test_preconditions(
    operation: str, existing: int | None, precondition: Precondition, expected: Outcome
) -> None:
    """Goal: each precondition decides as the wire promises, word for word, and a failure changes
    nothing. Method: a table over put and delete."""
    client = Client()
    if existing is not None:
        client.put(existing, ANY)
    before = client.kv.get("k")
    outcome = client.put(3, precondition) if operation == "put" else client.delete(precondition)
    assert outcome == expected
    after = value(3) if operation == "put" else None
    assert client.kv.get("k") == (after if outcome == Done() else before)


def test_repeated_command_is_applied_once() -> None:
    """Goal: a command that is in the log twice acts once. Method: repeat an outdated put."""
    client = Client()
    first = Put(client.request(), "k", value(1), ABSENT)
    assert client.apply(first) == Done()
    assert client.put(2, matches(1)) == Done()
    assert client.apply(first) == Done()
    assert client.kv.version("k") == 2


def test_request_older_than_memory_is_rejected() -> None:
    """Goal: what cannot be told from a repeat is not applied. Method: overflow a memory of two."""
    client = Client(MetadataLimits(outcomes_max=2))
    first = Put(client.request(), "k", value(1), ANY)
    client.apply(first)
    client.put(2, ANY)
    client.put(3, ANY)
    outcome = client.apply(first)
    assert isinstance(outcome, Rejected) and "ask anew" in outcome.message
    assert client.kv.version("k") == 3


def test_silent_client_is_forgotten_first() -> None:
    """Goal: the memory of clients is bounded, keeps the active. Method: 3 clients, room for 2."""
    kv = MetadataKv(MetadataLimits(clients_max=2))
    commands = [Put(RequestId(client, 1), str(client), value(1), ANY) for client in (1, 2, 3)]
    again = Put(RequestId(1, 2), "other", value(1), ANY)
    for index, command in enumerate([commands[0], commands[1], again, commands[2]], start=1):
        kv.apply(Index(index), command)
    kv.apply(Index(5), Delete(RequestId(3, 2), "1", ANY))
    kv.apply(Index(6), commands[0])
    assert kv.get("1") is None, "client 1 was active, so its repeat is recognised"


def test_provision_only_once() -> None:
    """Goal: one founder. Method: provision twice with different configurations."""
    client = Client()
    assert not client.kv.is_provisioned
    first = Provision(client.request(), value(1, b"first"), "cluster", 11)
    second = Provision(client.request(), value(1, b"second"), "cluster", 22)
    assert client.apply(first) == Provisioned(newly_provisioned=True)
    assert client.apply(second) == Provisioned(newly_provisioned=False)
    assert client.apply(first) == Provisioned(newly_provisioned=True)
    assert client.kv.get("nodes_config") == value(1, b"first")
    assert client.kv.identity == ClusterIdentity("cluster", 11)


@pytest.mark.parametrize(
    ("key", "size", "fits"),
    [
        ("k" * KEY_BYTES_MAX, 0, True),
        ("k" * (KEY_BYTES_MAX + 1), 0, False),
        ("é" * (KEY_BYTES_MAX // 2 + 1), 0, False),
        ("", 0, True),
        ("k", VALUE_BYTES_MAX, True),
        ("k", VALUE_BYTES_MAX + 1, False),
    ],
)
def test_sizes(key: str, size: int, fits: bool) -> None:
    """Goal: keys and values are bounded in bytes. Method: a table around the limits."""
    kv = MetadataKv()
    outcome = kv.apply(Index(1), Put(RequestId(1, 1), key, value(1, bytes(size)), ANY))
    assert isinstance(outcome, Done if fits else Rejected)
    assert (kv.get(key) is not None) is fits


def test_number_of_keys() -> None:
    """Goal: a full store takes no new key, but still changes and deletes. Method: room for one."""
    client = Client(MetadataLimits(keys_max=1))
    assert client.put(1, ANY, "a") == Done()
    assert isinstance(client.put(1, ANY, "b"), Rejected)
    assert client.put(2, ANY, "a") == Done()
    assert client.delete(ANY, "a") == Done()
    assert client.put(1, ANY, "b") == Done()


def test_snapshot_restores_values_and_memory() -> None:
    """Goal: a restored replica is the same replica. Method: restore, then continue on both."""
    client = Client()
    first = Put(client.request(), "b", value(1), ABSENT)
    client.apply(first)
    client.apply(Provision(client.request(), value(1), "cluster", 11))
    client.put(1, ABSENT, "a")
    restored = MetadataKv()
    restored.restore(client.kv.snapshot())
    assert restored.keys() == ["a", "b", "nodes_config"]
    assert restored.identity == client.kv.identity
    for kv in (client.kv, restored):
        assert kv.apply(Index(9), first) == Done()
    assert restored.snapshot() == client.kv.snapshot()
    restored.restore(b"")
    assert restored.keys() == [] and restored.applied == 0


def test_index_must_rise() -> None:
    """Goal: an entry is never applied twice by its driver. Method: apply the same index again."""
    client = Client()
    client.put(1, ANY)
    with pytest.raises(AssertionError, match="index 1 was applied before"):
        client.kv.apply(Index(1), Put(RequestId(7, 9), "k", value(1), ANY))
