"""Ids as users see them: `inv_1dKVwq1esFMP0Z3g5RNbe9aswouFDRIBOm`, `dp_16aTqrSVMy9rxaxXxXiARiSd`.

    <prefix> _ <scheme version 1> <payload>
    payload: base 62 over 0-9a-zA-Z, zero padded to 11 characters (64 bits) or 22 (128 bits)

The bytes of the number are reversed before it is written in base 62; that is what the reference
implementation does, and ids are passed between tools, so it is contract. An invocation id is its
partition key (64 bits) followed by its uuid (128 bits): a node can route it without looking it
up.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import Enum

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
"""Two digits at a time: ids are written with every call."""
_DIGIT = {character: value for value, character in enumerate(_ALPHABET)}
_U64_BYTES, _U64_CHARACTERS = 8, 11
_U128_BYTES, _U128_CHARACTERS = 16, 22
_INVOCATION_PREFIX = "inv_1"


class IdKind(Enum):
    """Resources whose id is one 128-bit number. The value is the prefix."""

    DEPLOYMENT = "dp"
    SUBSCRIPTION = "sub"
    SNAPSHOT = "snap"


@dataclass(frozen=True, slots=True, order=True)
class InvocationId:
    """One invocation: where it belongs, and which one it is there."""

    partition_key: int
    uuid: int

    def __str__(self) -> str:
        key = _encode(self.partition_key, _U64_BYTES, _U64_CHARACTERS)
        return _INVOCATION_PREFIX + key + _encode(self.uuid, _U128_BYTES, _U128_CHARACTERS)

    @staticmethod
    def parse(text: str) -> InvocationId:
        """The text form; ValueError says what was expected."""
        payload = text.removeprefix(_INVOCATION_PREFIX)
        if payload == text or len(payload) != _U64_CHARACTERS + _U128_CHARACTERS:
            raise ValueError(f"{text[:64]!r} is not an invocation id: inv_1 and 33 characters")
        key = _decode(payload[:_U64_CHARACTERS], _U64_BYTES)
        return InvocationId(key, _decode(payload[_U64_CHARACTERS:], _U128_BYTES))


def id_text(kind: IdKind, value: int) -> str:
    """`dp_1...` and the like."""
    return f"{kind.value}_1" + _encode(value, _U128_BYTES, _U128_CHARACTERS)


def parse_id(kind: IdKind, text: str) -> int:
    """The 128-bit number of `dp_1...` and the like; ValueError says what was expected."""
    prefix = f"{kind.value}_1"
    payload = text.removeprefix(prefix)
    if payload == text or len(payload) != _U128_CHARACTERS:
        raise ValueError(f"{text[:64]!r} is not such an id: {prefix} and 22 characters")
    return _decode(payload, _U128_BYTES)


def ulid(timestamp_ms: int, randomness: int) -> int:
    """A 128-bit id that sorts by time: 48 bits of milliseconds, 80 bits that the caller draws."""
    assert 0 <= timestamp_ms < 1 << 48, f"{timestamp_ms} ms do not fit in 48 bits"
    assert 0 <= randomness < 1 << 80, "randomness does not fit in 80 bits"
    return timestamp_ms << 80 | randomness


def fingerprint_text(fingerprint: int) -> str:
    """A cluster fingerprint as error messages show it."""
    return _encode(fingerprint, _U64_BYTES, _U64_CHARACTERS)


def workflow_uuid(service: str, key: str) -> int:
    """A workflow runs once per key, so its uuid is a function of both."""
    return _digest("wf", service, key)


def idempotent_uuid(
    service: str, handler: str, idempotency_key: str, object_key: str | None = None
) -> int:
    """Calls with one idempotency key are one invocation: its uuid is a function of the call."""
    keyed = () if object_key is None else (object_key,)
    return _digest("ik", service, *keyed, handler, idempotency_key)


def digest_of(*parts: bytes) -> int:
    """128 bits that depend on all of the parts."""
    digest = hashlib.sha256(b",".join(parts)).digest()
    return int.from_bytes(digest[:_U128_BYTES], "big")


def _digest(*parts: str) -> int:
    return digest_of(*(part.encode() for part in parts))


def _encode(value: int, width_bytes: int, width_characters: int) -> str:
    remaining = int.from_bytes(value.to_bytes(width_bytes, "big"), "little")
    pairs: list[str] = []
    for _ in range(-(-width_characters // 2)):
        remaining, pair = divmod(remaining, len(_PAIRS))
        pairs.append(_PAIRS[pair])
    pairs.reverse()
    return "".join(pairs)[-width_characters:]


def _decode(text: str, width_bytes: int) -> int:
    value = 0
    for character in text:
        if character not in _DIGIT:
            raise ValueError(f"{character!r} is not a base-62 digit (0-9, a-z, A-Z)")
        value = value * 62 + _DIGIT[character]
    if value >= 1 << (8 * width_bytes):
        raise ValueError(f"{text!r} is larger than {8 * width_bytes} bits")
    return int.from_bytes(value.to_bytes(width_bytes, "little"), "big")
