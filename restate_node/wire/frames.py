"""Bytes of the frames between nodes.

The first frame of each side is the handshake, a tagged msgpack struct. Every later one is

    call   | 1 | rpc id u64 | method u16 | versions 4 x u32 | msgpack request
    reply  | 2 | rpc id u64 | code   u16 | versions 4 x u32 | msgpack reply or UTF-8 reason

An rpc id of 0 wants no answer. All numbers are little-endian. The header is fixed so that a
frame can be routed, and its versions compared with those before, without touching the payload.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

import msgspec

from restate_node.types.fabric import Hello, Refused, Welcome
from restate_node.types.metadata import MetadataVersions

_HEADER = struct.Struct("<BQH16s")
_VERSIONS = struct.Struct("<4I")
HEADER_BYTES = _HEADER.size
REASON_BYTES_MAX = 2048

_encode = msgspec.msgpack.Encoder().encode
_handshake = msgspec.msgpack.Decoder(Hello | Welcome | Refused)


class MalformedFrame(ValueError):
    """Bytes that are no frame of ours; the connection cannot go on."""


class FrameKind(IntEnum):
    CALL = 1
    REPLY = 2


class Frame(NamedTuple):
    """A decoded header; `code` is a method for a call and an RpcCode for a reply."""

    kind: FrameKind
    rpc_id: int
    code: int
    versions: bytes
    payload: memoryview


def encode_versions(versions: MetadataVersions) -> bytes:
    """The 16 bytes that frames carry; encode once per change, not per frame."""
    return _VERSIONS.pack(*versions)


def decode_versions(raw: bytes) -> MetadataVersions:
    return MetadataVersions(*_VERSIONS.unpack(raw))


def encode_call(rpc_id: int, method: int, versions: bytes, payload: bytes) -> bytes:
    return _HEADER.pack(FrameKind.CALL, rpc_id, method, versions) + payload


def encode_reply(rpc_id: int, code: int, versions: bytes, payload: bytes) -> bytes:
    return _HEADER.pack(FrameKind.REPLY, rpc_id, code, versions) + payload


def decode_frame(frame: bytes) -> Frame:
    """Split a frame into header and payload; raises MalformedFrame."""
    if len(frame) < HEADER_BYTES:
        raise MalformedFrame(f"a frame of {len(frame)} bytes is shorter than its header")
    kind, rpc_id, code, versions = _HEADER.unpack_from(frame)
    if kind not in (FrameKind.CALL, FrameKind.REPLY):
        raise MalformedFrame(f"unknown frame kind {kind}")
    return Frame(kind, rpc_id, code, versions, memoryview(frame)[HEADER_BYTES:])


def encode_handshake(message: Hello | Welcome | Refused) -> bytes:
    return _encode(message)


def decode_handshake(frame: bytes) -> Hello | Welcome | Refused:
    """Raises MalformedFrame."""
    try:
        return _handshake.decode(frame)
    except (msgspec.DecodeError, ValueError) as error:
        raise MalformedFrame(f"no handshake: {error}") from None
