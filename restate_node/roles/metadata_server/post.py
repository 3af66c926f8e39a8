"""Raft messages on their way between two storages.

    small  -> one RaftEnvelope, one-way: what is lost, Raft sends again
    large  -> RaftFragments, each asked for by the answer to the one before; at most one such
              message per receiver is under way, a second one is dropped meanwhile

A group that was recovered from one member goes on under another mark, which every message names;
what comes from a group with an earlier mark is answered with that news, and nothing else.

The fabric's handshake keeps other clusters out. What it cannot see is a node whose disk was
replaced: it has the same id and has forgotten its votes. So each message names the storages of
both ends. The receiver drops what was meant for another storage, and replies of another storage
than the member of that name has. Requests of a *newer* storage are heard: only a node that its
members know by that storage leads or campaigns, so the receiver is the one that is behind.

A new member may hear from a leader that it has not seen in any nodes configuration yet; the
envelope therefore says where to answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec
import structlog

from restate_node.cluster.metadata_cache import MetadataCache
from restate_node.fabric.fabric import Fabric
from restate_node.fabric.router import Reply
from restate_node.runtime.tasks import TaskCenter, TaskKind
from restate_node.types.fabric import Peer, RpcCode, RpcFailure
from restate_node.types.ids import PlainNodeId
from restate_node.types.metadata_messages import (
    FragmentTaken,
    GroupRecovered,
    RaftEnvelope,
    RaftFragment,
    RaftRoute,
)
from restate_node.types.raft import (
    AnyVoteReply,
    AppendEntries,
    InstallSnapshot,
    LeaderReply,
    Members,
    RaftMessage,
)

logger = structlog.get_logger(__name__)

FRAGMENT_BYTES: Final = 1 << 20
MESSAGE_BYTES_MAX: Final = 1 << 30
FRAGMENT_TIMEOUT_S: Final = 5.0

_encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[RaftMessage] = msgspec.msgpack.Decoder(RaftMessage)

Deliver = Callable[[RaftMessage], None]
LeftBehind = Callable[[int], None]
"""The group was recovered elsewhere, then."""


@dataclass(slots=True)
class _Assembly:
    """A large message, as far as it has come."""

    stream: int
    data: bytearray
    next_part: int = 0


class RaftPost:
    """Sends and receives for one replica."""

    def __init__(
        self,
        me: PlainNodeId,
        storage: int,
        address: str,
        fabric: Fabric,
        cache: MetadataCache,
        tasks: TaskCenter,
        members: Callable[[], Members],
        deliver: Deliver,
        left_behind: LeftBehind,
    ) -> None:
        """Serves the two message types until it is closed."""
        self._me = me
        self._storage = storage
        self._address = address
        self._fabric = fabric
        self._cache = cache
        self._tasks = tasks
        self._members = members
        self._deliver = deliver
        self._left_behind = left_behind
        self._storages: dict[PlainNodeId, int] = {}
        self._addresses: dict[PlainNodeId, str] = {}
        self._assemblies: dict[PlainNodeId, _Assembly] = {}
        self._under_way: set[PlainNodeId] = set()
        self._streams = 0
        fabric.router.on(RaftEnvelope, self._on_envelope)
        fabric.router.on(RaftFragment, self._on_fragment)

    def close(self) -> None:
        """Receive nothing more."""
        self._fabric.router.forget(RaftEnvelope)
        self._fabric.router.forget(RaftFragment)

    # ------------------------------------------------------------ sending

    def send(self, message: RaftMessage) -> None:
        """At most once; to nobody if nothing is known of the receiver."""
        route = self._route(message.receiver)
        target = self._target(message.receiver)
        if route is None or target is None:
            return
        if _is_large(message):
            self._send_large(target, route, message)
        else:
            self._fabric.notify(target, RaftEnvelope(route, message))

    def _route(self, receiver: PlainNodeId) -> RaftRoute | None:
        storage = self._storage_of(receiver)
        if storage is None:
            return None
        members = self._members()
        group = members.recovered_at_millis if len(members) else None
        return RaftRoute(self._me, self._storage, storage, self._address, group)

    def _storage_of(self, node: PlainNodeId) -> int | None:
        """The newest that is known; ids of storages are the times of their creation."""
        known = (self._members().created_at_millis.get(node), self._storages.get(node))
        return max((storage for storage in known if storage is not None), default=None)

    def _target(self, receiver: PlainNodeId) -> PlainNodeId | str | None:
        if self._cache.address_of(receiver) is not None:
            return receiver
        return self._addresses.get(receiver)

    def _send_large(
        self, target: PlainNodeId | str, route: RaftRoute, message: RaftMessage
    ) -> None:
        if message.receiver in self._under_way:
            return
        self._under_way.add(message.receiver)
        self._streams += 1
        activity = self._send_parts(target, route, message, self._streams)
        name = f"send a large Raft message to N{message.receiver}"
        task = self._tasks.spawn(TaskKind.BACKGROUND, name, activity)
        task.add_done_callback(lambda _: self._under_way.discard(message.receiver))

    async def _send_parts(
        self, target: PlainNodeId | str, route: RaftRoute, message: RaftMessage, stream: int
    ) -> None:
        """Ended halfway, the receiver forgets the parts when the next stream starts."""
        data = _encode(message)
        parts = -(-len(data) // FRAGMENT_BYTES)
        for part in range(parts):
            piece = data[part * FRAGMENT_BYTES : (part + 1) * FRAGMENT_BYTES]
            fragment = RaftFragment(route, stream, part, parts, piece)
            try:
                await self._fabric.call(
                    target, fragment, FragmentTaken, timeout_s=FRAGMENT_TIMEOUT_S
                )
            except RpcFailure as failure:
                logger.info("large Raft message not sent", to=target, reason=str(failure))
                return

    # ------------------------------------------------------------ receiving

    def _on_envelope(self, peer: Peer, envelope: RaftEnvelope, reply: Reply) -> None:
        if self._is_meant(peer, envelope.route, envelope.message):
            self._deliver(envelope.message)
        reply(None)

    def _on_fragment(self, peer: Peer, fragment: RaftFragment, reply: Reply) -> None:
        if fragment.route.receiver_storage != self._storage:
            raise RpcFailure(RpcCode.FORBIDDEN, "meant for a former storage of this node")
        if not self._is_of_our_group(fragment.route):
            raise RpcFailure(RpcCode.FORBIDDEN, "one of us belongs to a group that was given up")
        data = self._assemble(fragment)
        message = None if data is None else _decoder.decode(data)
        reply(FragmentTaken())
        if message is not None and self._is_meant(peer, fragment.route, message):
            self._deliver(message)

    def _assemble(self, fragment: RaftFragment) -> bytearray | None:
        """All of the message with its last part; raises RpcFailure if a part is missing."""
        sender = fragment.route.sender
        if fragment.part == 0:
            self._assemblies[sender] = _Assembly(fragment.stream, bytearray())
        assembly = self._assemblies.get(sender)
        if assembly is None or (assembly.stream, assembly.next_part) != (
            fragment.stream,
            fragment.part,
        ):
            raise RpcFailure(RpcCode.NOT_READY, "a part is missing: start again with the first")
        if len(assembly.data) + len(fragment.data) > MESSAGE_BYTES_MAX:
            del self._assemblies[sender]
            raise RpcFailure(RpcCode.OVERLOADED, f"larger than {MESSAGE_BYTES_MAX} bytes")
        assembly.data += fragment.data
        assembly.next_part += 1
        if assembly.next_part < fragment.parts:
            return None
        return self._assemblies.pop(sender).data

    def _is_meant(self, peer: Peer, route: RaftRoute, message: RaftMessage) -> bool:
        """Whether sender and receiver are the storages that the message is between."""
        sender = route.sender
        if message.sender != sender or (peer.node is not None and peer.node.id != sender):
            return False
        if route.receiver_storage != self._storage or not self._is_of_our_group(route):
            return False
        member = self._members().created_at_millis.get(sender)
        if member is not None and not _may_speak(member, route.sender_storage, message):
            return False
        self._storages[sender] = route.sender_storage
        self._addresses[sender] = route.sender_address
        return True

    def _is_of_our_group(self, route: RaftRoute) -> bool:
        """Of two groups the one that was recovered later is right; the other learns of it."""
        members = self._members()
        ours, theirs = members.recovered_at_millis, route.recovered_at_millis
        if not len(members) or theirs is None or theirs == ours:
            return True
        if theirs > ours:
            self._left_behind(theirs)
        elif target := self._target(route.sender) or route.sender_address:
            self._fabric.notify(target, GroupRecovered(ours))
        return False


def _may_speak(member: int, storage: int, message: RaftMessage) -> bool:
    if isinstance(message, LeaderReply | AnyVoteReply):
        return storage == member
    return storage >= member


def _is_large(message: RaftMessage) -> bool:
    match message:
        case InstallSnapshot(snapshot=snapshot):
            return len(snapshot.data) > FRAGMENT_BYTES
        case AppendEntries(entries=entries):
            return sum(len(entry.data) for entry in entries) > 2 * FRAGMENT_BYTES
        case _:
            return False
