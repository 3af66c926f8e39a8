"""Whose data a log store holds: a note in the store itself, so that a lost or a swapped disk is
noticed.

A log server that was writable and finds no marker has lost what it promised to keep. It must not
come back as an empty but trusted voice: quorums that count on it would count on nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from restate_node.types.decoding import UNDECODABLE
from restate_node.types.ids import PlainNodeId


@dataclass(frozen=True, slots=True)
class StorageMarker:
    """Written once, when a node provisions its log store. `created_at` is RFC 3339, UTC."""

    id: PlainNodeId
    created_at: str


def encode_marker(marker: StorageMarker) -> bytes:
    return msgspec.json.encode(marker)


def decode_marker(raw: bytes) -> StorageMarker:
    """Raises ValueError when the bytes are no marker."""
    try:
        return msgspec.json.decode(raw, type=StorageMarker)
    except UNDECODABLE as error:
        raise ValueError(f"the storage marker cannot be read: {error}") from None
