"""The connecting side: greet, then send calls and match the answers.

Each pending call knows its deadline; one sweep per 50 ms while calls are pending expires them,
which is cheaper than a timer per call (a timer costs as much as the call). A call ends exactly
once: answered, expired, or lost with the connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from restate_node.fabric.directory import Directory
from restate_node.protocol.handshake import hello, objection
from restate_node.runtime.ports import FrameConnection, FrameLimits, Transport, Unreachable
from restate_node.types.decoding import UNDECODABLE
from restate_node.types.fabric import Peer, Refused, RpcCode, RpcFailure, Swimlane, Welcome
from restate_node.types.ids import PlainNodeId
from restate_node.types.metadata import MetadataVersions
from restate_node.wire import rpc_catalog
from restate_node.wire.frames import (
    FrameKind,
    MalformedFrame,
    decode_frame,
    decode_handshake,
    decode_versions,
    encode_call,
    encode_handshake,
    encode_versions,
)

HANDSHAKE_TIMEOUT_S: Final = 3.0
FRAME_BYTES_MAX: Final = FrameLimits().frame_bytes_max
"""A larger call is refused as FORBIDDEN: its caller has to split it."""
SWEEP_INTERVAL_S: Final = 0.05
BACKLOG_BYTES_MAX: Final = 64 * 1024 * 1024
"""Above this a call is refused as OVERLOADED: the peer or the network does not keep up."""

OnReply = Callable[["msgspec.Struct | RpcFailure"], None]


@dataclass(slots=True)
class PendingCall:
    """A call on its way."""

    method: rpc_catalog.Method
    on_reply: OnReply
    deadline: float


class OutgoingConnection:
    """One connection to one peer on one lane; a `FrameReceiver`."""

    def __init__(
        self,
        directory: Directory,
        expected: PlainNodeId | None,
        encoding: rpc_catalog.SharedEncoding,
    ) -> None:
        self._directory = directory
        self._expected = expected
        self._encoding = encoding
        self._loop = asyncio.get_running_loop()
        self._connection: FrameConnection | None = None
        self._welcomed: asyncio.Future[Peer] = self._loop.create_future()
        self._pending: dict[int, PendingCall] = {}
        self._next_rpc_id = 1
        self._peer_versions = b""
        self._my_versions: MetadataVersions | None = None
        self._my_versions_bytes = b""
        self._sweep: asyncio.TimerHandle | None = None
        self._closed_because: str | None = None
        self.peer: Peer | None = None

    @property
    def is_open(self) -> bool:
        return self.peer is not None and self._closed_because is None

    async def open(self, transport: Transport, address: str, lane: Swimlane) -> None:
        """Connect and shake hands; raises RpcFailure. Cancellation closes the connection."""
        try:
            async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
                self._connection = await transport.connect(address, lane, self)
                greeting = hello(self._directory.identity(), lane.value)
                self._connection.send(encode_handshake(greeting))
                self.peer = await self._welcomed
        except Unreachable as error:
            raise RpcFailure(RpcCode.UNREACHABLE, f"{address}: {error}") from None
        except TimeoutError:
            raise RpcFailure(RpcCode.UNREACHABLE, f"{address}: no answer to the greeting") from None
        finally:
            if self.peer is None:
                self.close("handshake failed")

    def submit(self, request: msgspec.Struct, on_reply: OnReply, deadline: float) -> None:
        """Send a call; `on_reply` is called once, never from within."""
        method = rpc_catalog.method_of(request)
        rpc_id = self._next_rpc_id
        frame = encode_call(rpc_id, method.number, self._versions(), self._encoding.encode(request))
        refusal = self._refusal(len(frame))
        if refusal is not None:
            self._loop.call_soon(on_reply, refusal)
            return
        assert self._connection is not None
        self._next_rpc_id += 1
        self._pending[rpc_id] = PendingCall(method, on_reply, deadline)
        self._connection.send(frame)
        if self._sweep is None:
            self._sweep = self._loop.call_later(SWEEP_INTERVAL_S, self._expire)

    def notify(self, message: msgspec.Struct) -> None:
        """Send a one-way message; lost without a word when the connection is."""
        number = rpc_catalog.method_of(message).number
        frame = encode_call(0, number, self._versions(), self._encoding.encode(message))
        if self._connection is not None and self._refusal(len(frame)) is None:
            self._connection.send(frame)

    def close(self, reason: str) -> None:
        """Hang up; pending calls are lost."""
        if self._connection is not None:
            self._connection.close(reason)
        self._lost(reason)

    def frames_received(self, frames: Sequence[bytes]) -> None:
        try:
            for frame in frames:
                if self._closed_because is not None:
                    return
                if not self._welcomed.done():
                    self._greeted(frame)
                else:
                    self._answered(frame)
        except MalformedFrame as error:
            self.close(f"malformed frame: {error}")

    def connection_lost(self, reason: str) -> None:
        self._lost(reason)

    def _refusal(self, frame_bytes: int) -> RpcFailure | None:
        """Why a frame is not sent; nothing was executed then."""
        if not self.is_open or self._connection is None:
            reason = self._closed_because or "not connected"
            return RpcFailure(RpcCode.UNREACHABLE, f"{self.peer}: {reason}")
        if frame_bytes > FRAME_BYTES_MAX:
            text = f"a message of {frame_bytes} bytes is above {FRAME_BYTES_MAX}: split it"
            return RpcFailure(RpcCode.FORBIDDEN, text)
        if self._connection.backlog_bytes > BACKLOG_BYTES_MAX:
            return RpcFailure(RpcCode.OVERLOADED, f"{self.peer} does not keep up")
        return None

    def _versions(self) -> bytes:
        """The bytes of our metadata versions, made once per change."""
        versions = self._directory.versions()
        if versions is not self._my_versions:
            self._my_versions = versions
            self._my_versions_bytes = encode_versions(versions)
        return self._my_versions_bytes

    def _greeted(self, frame: bytes) -> None:
        message = decode_handshake(frame)
        assert self._connection is not None
        if isinstance(message, Welcome):
            identity, known = self._directory.identity(), self._directory.generation_of
            reason = objection(identity, message, self._expected, known)
            if reason is None:
                self._welcomed.set_result(Peer(message.node, self._connection.peer))
                return
        elif isinstance(message, Refused):
            reason = message.reason
        else:
            reason = "the peer greets back"
        self._welcomed.set_exception(RpcFailure(RpcCode.REFUSED, reason))

    def _answered(self, raw: bytes) -> None:
        frame = decode_frame(raw)
        if frame.kind != FrameKind.REPLY:
            raise MalformedFrame("a call on a connection that only answers")
        if frame.versions != self._peer_versions and self.peer is not None:
            self._peer_versions = frame.versions
            self._directory.observed(self.peer, decode_versions(frame.versions))
        call = self._pending.pop(frame.rpc_id, None)
        if call is None:
            return
        call.on_reply(_decode_reply(call.method, frame.code, frame.payload))

    def _expire(self) -> None:
        self._sweep = None
        now = self._loop.time()
        expired = [rpc_id for rpc_id, call in self._pending.items() if call.deadline <= now]
        for rpc_id in expired:
            call = self._pending.pop(rpc_id, None)
            if call is None:
                continue  # lost meanwhile: an earlier answer closed the connection
            name = call.method.request.__name__
            call.on_reply(RpcFailure(RpcCode.TIMEOUT, f"{self.peer} did not answer {name} in time"))
        if self._pending and self._sweep is None:
            self._sweep = self._loop.call_later(SWEEP_INTERVAL_S, self._expire)

    def _lost(self, reason: str) -> None:
        if self._closed_because is not None:
            return
        self._closed_because = reason
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        if not self._welcomed.done():
            self._welcomed.set_exception(RpcFailure(RpcCode.UNREACHABLE, reason))
            self._welcomed.exception()  # retrieved: nobody may be waiting any more
        pending, self._pending = self._pending, {}
        for call in pending.values():
            failure = RpcFailure(RpcCode.CONNECTION_LOST, f"{self.peer}: {reason}")
            self._loop.call_soon(call.on_reply, failure)


def _decode_reply(
    method: rpc_catalog.Method, code: int, payload: memoryview
) -> msgspec.Struct | RpcFailure:
    if code != RpcCode.OK:
        known = code in RpcCode.__members__.values()
        return RpcFailure(
            RpcCode(code) if known else RpcCode.FAILED, str(payload, "utf-8", "replace")
        )
    try:
        return method.decode_reply(payload)
    except UNDECODABLE as error:
        return RpcFailure(RpcCode.MALFORMED, f"the answer cannot be read: {error}")
