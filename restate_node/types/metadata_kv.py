"""The nouns of the metadata store: versioned values, commands that change them, outcomes.

Commands are what the Raft log carries; outcomes are part of the store's state, so that a command
which arrives twice is answered the second time with what it did the first time.
"""

from __future__ import annotations

import msgspec

from restate_node.types.ids import Version

KEY_BYTES_MAX = 1 << 10
"""Bytes of a key in UTF-8."""
VALUE_BYTES_MAX = 32 << 20
"""Bytes of a value."""

NODES_CONFIGURATION_KEY = "nodes_config"
"""The key that provisioning writes: the cluster exists once it exists."""


class VersionedValue(msgspec.Struct, frozen=True, array_like=True):
    """A value and the version that its writer gave it."""

    version: Version
    data: bytes


class Unconditional(msgspec.Struct, frozen=True, array_like=True, tag="any"):
    """Write in any case."""


class DoesNotExist(msgspec.Struct, frozen=True, array_like=True, tag="absent"):
    """Write only if the key does not exist."""


class MatchesVersion(msgspec.Struct, frozen=True, array_like=True, tag="version"):
    """Write only if the key has this version."""

    version: Version


Precondition = Unconditional | DoesNotExist | MatchesVersion


class RequestId(msgspec.Struct, frozen=True, array_like=True):
    """Names a command for ever: one life of a client, and the number of its request."""

    client: int
    sequence: int


class Put(msgspec.Struct, frozen=True, array_like=True, tag="put"):
    """Write a value."""

    request: RequestId
    key: str
    value: VersionedValue
    precondition: Precondition


class Delete(msgspec.Struct, frozen=True, array_like=True, tag="delete"):
    """Remove a key; removing what does not exist succeeds."""

    request: RequestId
    key: str
    precondition: Precondition


class Provision(msgspec.Struct, frozen=True, array_like=True, tag="provision"):
    """Found the cluster: write the first nodes configuration, unless there is one."""

    request: RequestId
    nodes_configuration: VersionedValue
    cluster_name: str
    fingerprint: int


Command = Put | Delete | Provision


class Done(msgspec.Struct, frozen=True, array_like=True, tag="done"):
    """The command took effect."""


class Provisioned(msgspec.Struct, frozen=True, array_like=True, tag="provisioned"):
    """The cluster exists; whether this very command founded it."""

    newly_provisioned: bool


class PreconditionFailed(msgspec.Struct, frozen=True, array_like=True, tag="failed"):
    """Nothing was written. Read the key again before another attempt."""

    message: str
    found: Version | None


class Rejected(msgspec.Struct, frozen=True, array_like=True, tag="rejected"):
    """Nothing was written, and the same command will never be."""

    message: str


Outcome = Done | Provisioned | PreconditionFailed | Rejected


class ClusterIdentity(msgspec.Struct, frozen=True, array_like=True):
    """What a request must name to be meant for this cluster."""

    cluster_name: str
    fingerprint: int
