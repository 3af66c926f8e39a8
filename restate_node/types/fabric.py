"""What two nodes say before anything else, and how a call between nodes can fail.

connecting node                      accepting node
    Hello (who I am, which cluster) ->
                                  <- Welcome (who I am) | Refused (why), then hang up
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum

import msgspec

from restate_node.types.ids import GenerationalNodeId

PROTOCOL_VERSION = 1


class Swimlane(Enum):
    """Traffic classes, each on a connection of its own: gossip never queues behind a megabyte."""

    GENERAL = 0
    GOSSIP = 1
    APPEND = 2
    READ = 3
    INGRESS = 4


class Hello(msgspec.Struct, frozen=True, tag=1, array_like=True):
    """`node` is None before it has joined, `fingerprint` 0 before it knows the cluster's."""

    protocol_version: int
    cluster_name: str
    fingerprint: int
    node: GenerationalNodeId | None
    lane: int


class Welcome(msgspec.Struct, frozen=True, tag=2, array_like=True):
    protocol_version: int
    fingerprint: int
    node: GenerationalNodeId | None


class Refused(msgspec.Struct, frozen=True, tag=3, array_like=True):
    """The connection is closed after this; `reason` is meant for people."""

    reason: str


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end of a connection; `node` is None when it has not joined yet."""

    node: GenerationalNodeId | None
    address: str

    def __str__(self) -> str:
        return str(self.node) if self.node is not None else self.address


class RpcCode(IntEnum):
    """Why there is no answer. Up to 9: nothing was executed. From 10: it may have been."""

    OK = 0
    UNREACHABLE = 1
    REFUSED = 2
    """The handshake failed: another cluster, an old generation."""
    UNKNOWN_METHOD = 3
    """The peer does not have the role, or is of another release."""
    OVERLOADED = 4
    NOT_READY = 5
    FORBIDDEN = 6
    UNKNOWN_NODE = 7
    """No address is known for the node, or that generation of it is gone."""
    CONNECTION_LOST = 10
    TIMEOUT = 11
    FAILED = 12
    """The handler failed; the message says how."""
    MALFORMED = 13


class RpcFailure(Exception):
    """A call between nodes did not get its answer."""

    def __init__(self, code: RpcCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def maybe_executed(self) -> bool:
        """False when the call certainly had no effect."""
        return self.code >= RpcCode.CONNECTION_LOST

    def __str__(self) -> str:
        return f"{self.code.name.lower().replace('_', ' ')}: {self.message}"
