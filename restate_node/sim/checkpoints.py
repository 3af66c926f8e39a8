"""A checkpoint of a simulated store: all rows in one file, with a checksum.

    magic | xxh3 of the rest | [[family, [[key, value], …]], …] in msgpack

A real store checks its own files when they are read; so does this one when it is opened, and a file
that was cut short or changed on its way is refused there.
"""

from __future__ import annotations

from typing import Final

import msgspec
import xxhash

from restate_node.runtime.ports import StoreError
from restate_node.sim.sorted_map import SortedMap
from restate_node.sim.store import Put, StoreImage

CHECKPOINT_FILE: Final = "000001.sst"

_MAGIC: Final = b"rows"
_HEADER_BYTES: Final = len(_MAGIC) + 8
_Families = list[tuple[str, list[tuple[bytes, bytes]]]]
_decoder = msgspec.msgpack.Decoder(_Families)


def encode_rows(image: StoreImage) -> bytes:
    """All rows of a store."""
    families = [(name, _all_rows(rows)) for name, rows in sorted(image.families.items())]
    body = msgspec.msgpack.encode(families)
    return _MAGIC + xxhash.xxh3_64_digest(body) + body


def decode_rows(path: str, content: bytes, image: StoreImage) -> None:
    """Fill an empty image, durably; raises StoreError."""
    body = content[_HEADER_BYTES:]
    if content[:_HEADER_BYTES] != _MAGIC + xxhash.xxh3_64_digest(body):
        raise StoreError(f"{path}: corrupt file {CHECKPOINT_FILE}; remove the directory")
    for family, rows in _decoder.decode(body):
        image.families.setdefault(family, SortedMap())
        image.apply([Put(family, key, value) for key, value in rows])
    image.harden(image.written)


def _all_rows(rows: SortedMap) -> list[tuple[bytes, bytes]]:
    return [(key, rows.get(key) or b"") for key in map(rows.key_at, range(len(rows)))]
