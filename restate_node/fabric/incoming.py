"""The accepting side of a connection: check the greeting, then serve calls until it ends.

    connected ──Hello ok──▶ open ──▶ closed
         └────refused / no greeting in time / garbage ───▲

Replies of one turn of the loop leave in one write, because the transport joins them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import structlog

from restate_node.fabric.directory import Directory
from restate_node.fabric.router import Router
from restate_node.protocol.handshake import answer
from restate_node.runtime.ports import FrameConnection, FrameLimits
from restate_node.types.decoding import UNDECODABLE
from restate_node.types.fabric import Hello, Peer, Refused, RpcCode, RpcFailure
from restate_node.types.metadata import MetadataVersions
from restate_node.wire import rpc_catalog
from restate_node.wire.frames import (
    REASON_BYTES_MAX,
    Frame,
    FrameKind,
    MalformedFrame,
    decode_frame,
    decode_handshake,
    decode_versions,
    encode_handshake,
    encode_reply,
    encode_versions,
)

logger = structlog.get_logger(__name__)

GREETING_TIMEOUT_S: Final = 5.0
FRAME_BYTES_MAX: Final = FrameLimits().frame_bytes_max
"""A larger answer is replaced by a failure that says so."""
REPLY_BACKLOG_BYTES_MAX: Final = 64 * 1024 * 1024
"""A peer that does not take its answers is cut off before they fill the memory."""


class IncomingConnection:
    """Serves one connection; a `FrameReceiver`."""

    def __init__(
        self,
        connection: FrameConnection,
        directory: Directory,
        router: Router,
        on_closed: Callable[[IncomingConnection], None],
    ) -> None:
        self._connection = connection
        self._on_closed = on_closed
        self._directory = directory
        self._router = router
        self._peer: Peer | None = None
        self._peer_versions = b""
        self._my_versions: MetadataVersions | None = None
        self._my_versions_bytes = b""
        self._closed = False
        self._impatience = asyncio.get_running_loop().call_later(
            GREETING_TIMEOUT_S, self._hang_up, "no greeting in time"
        )

    def frames_received(self, frames: Sequence[bytes]) -> None:
        try:
            for frame in frames:
                if self._closed:
                    return
                if self._peer is None:
                    self._greet(frame)
                else:
                    self._serve(self._peer, decode_frame(frame))
        except MalformedFrame as error:
            self._hang_up(f"malformed frame: {error}")

    def connection_lost(self, reason: str) -> None:
        self._closed = True
        self._impatience.cancel()
        self._on_closed(self)

    def close(self, reason: str) -> None:
        """Hang up because the node stops."""
        self._closed = True
        self._connection.close(reason)

    def _greet(self, frame: bytes) -> None:
        self._impatience.cancel()
        greeting = decode_handshake(frame)
        if not isinstance(greeting, Hello):
            raise MalformedFrame("the first frame is no Hello")
        verdict = answer(self._directory.identity(), greeting, self._directory.generation_of)
        self._connection.send(encode_handshake(verdict))
        if isinstance(verdict, Refused):
            self._hang_up(verdict.reason)
        else:
            self._peer = Peer(greeting.node, self._connection.peer)

    def _serve(self, peer: Peer, frame: Frame) -> None:
        if frame.kind != FrameKind.CALL:
            raise MalformedFrame("an answer on a connection that asks nothing")
        if frame.versions != self._peer_versions:
            self._peer_versions = frame.versions
            self._directory.observed(peer, decode_versions(frame.versions))
        rpc_id = frame.rpc_id
        try:
            request = rpc_catalog.decode_request(frame.code, frame.payload)
        except rpc_catalog.UnknownMethod as error:
            self._reply(rpc_id, RpcFailure(RpcCode.UNKNOWN_METHOD, str(error)))
            return
        except UNDECODABLE as error:
            logger.warning("malformed request", peer=str(peer), error=str(error))
            self._reply(rpc_id, RpcFailure(RpcCode.MALFORMED, str(error)))
            return
        self._router.dispatch(peer, request, lambda reply: self._reply(rpc_id, reply))

    def _reply(self, rpc_id: int, reply: msgspec.Struct | RpcFailure | None) -> None:
        if rpc_id == 0 or reply is None or self._closed:
            return
        self._connection.send(self._encode(rpc_id, reply))
        if self._connection.backlog_bytes > REPLY_BACKLOG_BYTES_MAX:
            self._hang_up("the peer does not take its answers")

    def _encode(self, rpc_id: int, reply: msgspec.Struct | RpcFailure) -> bytes:
        versions = self._directory.versions()
        if versions is not self._my_versions:
            self._my_versions, self._my_versions_bytes = versions, encode_versions(versions)
        if not isinstance(reply, RpcFailure):
            payload = rpc_catalog.encode(reply)
            frame = encode_reply(rpc_id, RpcCode.OK, self._my_versions_bytes, payload)
            if len(frame) <= FRAME_BYTES_MAX:
                return frame
            text = f"an answer of {len(payload)} bytes is above {FRAME_BYTES_MAX}: ask for less"
            reply = RpcFailure(RpcCode.FAILED, text)
        reason = reply.message.encode("utf-8", "replace")[:REASON_BYTES_MAX]
        return encode_reply(rpc_id, reply.code, self._my_versions_bytes, reason)

    def _hang_up(self, reason: str) -> None:
        self._closed = True
        logger.info("connection refused", peer=self._connection.peer, reason=reason)
        self._connection.close(reason)
