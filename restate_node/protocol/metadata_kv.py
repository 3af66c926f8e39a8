"""The metadata store's state machine: a map from key to versioned value, changed by a log.

    Raft log:  Put  Put  Delete  Provision ...        every replica applies the same commands in the
                |    |     |        |                 same order, so all hold the same map
             apply(index, command) -> Outcome         and give the same outcomes

A client that lost the answer sends its command again, and the log may then hold it twice. Each
client numbers its requests; the store remembers the outcomes of each client's last ones and
answers a repeated number from memory. A number that is older than all it remembers is rejected,
since nobody can tell whether it was applied.

Invariants: `apply` is a function of the commands so far, of nothing else; indexes rise; a failed
command changes nothing but the memory of its outcome; everything is bounded, also the clients that
are remembered (the one that was silent for longest is forgotten first, and its repeats would then
be applied again: a precondition still guards them).

Driven by the metadata server's service: committed entries -> `decode_command` -> `apply` -> answer
who waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

import msgspec

from restate_node.types.ids import Version
from restate_node.types.metadata_kv import (
    KEY_BYTES_MAX,
    NODES_CONFIGURATION_KEY,
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


@dataclass(frozen=True, slots=True)
class MetadataLimits:
    """Every replica must have the same: they decide outcomes."""

    keys_max: int = 65_536
    """Keys in the store."""
    clients_max: int = 1_024
    """Clients whose outcomes are remembered."""
    outcomes_max: int = 256
    """Outcomes remembered per client: as many requests may be under way at once."""


class _Client(msgspec.Struct, array_like=True):
    """The remembered outcomes by sequence, in the order of their application."""

    forgotten_up_to: int = -1
    outcomes: dict[int, Outcome] = {}


class _Image(msgspec.Struct, frozen=True, array_like=True, tag="metadata-kv-1"):
    """A snapshot. The clients are a list, for their order decides who is forgotten first."""

    applied: Index
    identity: ClusterIdentity | None
    values: list[tuple[str, VersionedValue]]
    clients: list[tuple[int, _Client]]


_encoder = msgspec.msgpack.Encoder()
_command_decoder: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command)
_image_decoder = msgspec.msgpack.Decoder(_Image)


def encode_command(command: Command) -> bytes:
    """The data of a Raft entry."""
    return _encoder.encode(command)


def decode_command(data: bytes) -> Command:
    """Inverse of `encode_command`; `msgspec.MsgspecError` if the bytes are something else."""
    return _command_decoder.decode(data)


class MetadataKv:
    """One replica of the store."""

    __slots__ = ("_clients", "_limits", "_values", "applied", "identity")

    def __init__(self, limits: MetadataLimits | None = None) -> None:
        """Empty and not provisioned."""
        self._limits = limits or MetadataLimits()
        self._values: dict[str, VersionedValue] = {}
        self._clients: dict[int, _Client] = {}
        self.applied = Index(0)
        self.identity: ClusterIdentity | None = None

    # -- reading

    def get(self, key: str) -> VersionedValue | None:
        """The value; None if there is none."""
        return self._values.get(key)

    def version(self, key: str) -> Version | None:
        """The value's version; None if there is none."""
        value = self._values.get(key)
        return None if value is None else value.version

    def keys(self) -> list[str]:
        """All keys, sorted."""
        return sorted(self._values)

    @property
    def is_provisioned(self) -> bool:
        """Whether the cluster exists."""
        return NODES_CONFIGURATION_KEY in self._values

    # -- changing

    def apply(self, index: Index, command: Command) -> Outcome:
        """Apply the command that is committed at `index`, or recall what it did."""
        assert index > self.applied, f"index {index} was applied before: {self.applied} is reached"
        self.applied = index
        client = self._remembered(command.request)
        known = client.outcomes.get(command.request.sequence)
        if known is not None:
            return known
        if command.request.sequence <= client.forgotten_up_to:
            return Rejected("the request is too old to be told from a repeated one: ask anew")
        outcome = self._execute(command)
        self._remember(client, command.request, outcome)
        return outcome

    def _execute(self, command: Command) -> Outcome:
        match command:
            case Put(_, key, value, precondition):
                return self._put(key, value, precondition)
            case Delete(_, key, precondition):
                return self._delete(key, precondition)
            case Provision():
                return self._provision(command)
            case _:
                assert_never(command)

    def _put(self, key: str, value: VersionedValue, precondition: Precondition) -> Outcome:
        refused = self._oversized(key, value) or self._check(key, precondition)
        if refused is not None:
            return refused
        self._values[key] = value
        return Done()

    def _delete(self, key: str, precondition: Precondition) -> Outcome:
        refused = self._check(key, precondition)
        if refused is not None:
            return refused
        self._values.pop(key, None)
        return Done()

    def _provision(self, command: Provision) -> Outcome:
        if self.is_provisioned:
            return Provisioned(newly_provisioned=False)
        value = command.nodes_configuration
        refused = self._oversized(NODES_CONFIGURATION_KEY, value)
        if refused is not None:
            return refused
        self._values[NODES_CONFIGURATION_KEY] = value
        self.identity = ClusterIdentity(command.cluster_name, command.fingerprint)
        return Provisioned(newly_provisioned=True)

    def _oversized(self, key: str, value: VersionedValue) -> Rejected | None:
        key_bytes = len(key.encode())
        if key_bytes > KEY_BYTES_MAX:
            return Rejected(f"the key has {key_bytes} bytes: shorten it to {KEY_BYTES_MAX}")
        if len(value.data) > VALUE_BYTES_MAX:
            size = len(value.data)
            return Rejected(f"the value has {size} bytes: shrink it to {VALUE_BYTES_MAX}")
        if key not in self._values and len(self._values) >= self._limits.keys_max:
            return Rejected(f"the store holds {self._limits.keys_max} keys: delete one first")
        return None

    def _check(self, key: str, precondition: Precondition) -> PreconditionFailed | None:
        found = self.version(key)
        match precondition:
            case Unconditional():
                return None
            case DoesNotExist():
                if found is None:
                    return None
                return PreconditionFailed("key-value pair already exists", found)
            case MatchesVersion(expected):
                if found == expected:
                    return None
                seen = "None" if found is None else f"Some(v{found})"
                message = f"expected version 'v{expected}' but found version '{seen}'"
                return PreconditionFailed(message, found)
            case _:
                assert_never(precondition)

    # -- remembering

    def _remembered(self, request: RequestId) -> _Client:
        """The client's memory, moved to the end of those that may be forgotten."""
        client = self._clients.pop(request.client, None) or _Client()
        self._clients[request.client] = client
        if len(self._clients) > self._limits.clients_max:
            del self._clients[next(iter(self._clients))]
        return client

    def _remember(self, client: _Client, request: RequestId, outcome: Outcome) -> None:
        client.outcomes[request.sequence] = outcome
        if len(client.outcomes) > self._limits.outcomes_max:
            oldest = min(client.outcomes)
            del client.outcomes[oldest]
            client.forgotten_up_to = oldest

    # -- snapshots

    def snapshot(self) -> bytes:
        """All of it; equal states give equal bytes."""
        values = sorted(self._values.items())
        image = _Image(self.applied, self.identity, values, list(self._clients.items()))
        return _encoder.encode(image)

    def restore(self, data: bytes) -> None:
        """Become what `snapshot` saw; empty bytes are the empty store."""
        if not data:
            self.__init__(self._limits)
            return
        image = _image_decoder.decode(data)
        self.applied, self.identity = image.applied, image.identity
        self._values = dict(image.values)
        self._clients = dict(image.clients)
