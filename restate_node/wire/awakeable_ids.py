"""Ids of awakeables: a signal of one invocation, as text that may be given to anybody.

    sign_1 | base64url without padding ( invocation id, 24 bytes | signal index, u32 big-endian )

SDKs make these ids and hand them out; completing one sends the signal. `prom_1` is the older
prefix of the same; both are understood.
"""

from __future__ import annotations

import base64
import re

from restate_node.types.attempts import MalformedMessage
from restate_node.types.invocations import RAW_ID_BYTES, RawInvocationId

_PREFIX = "sign_1"
_SHAPE = re.compile(r"(?:sign_1|prom_1)([A-Za-z0-9_-]{38})={0,2}")
_INDEX_BYTES = 4


def awakeable_id(invocation: RawInvocationId, signal: int) -> str:
    """`sign_1…`."""
    raw = invocation + signal.to_bytes(_INDEX_BYTES, "big")
    return _PREFIX + base64.urlsafe_b64encode(raw).decode().rstrip("=")


def parse_awakeable_id(text: str) -> tuple[RawInvocationId, int]:
    """The invocation and its signal; MalformedMessage says what was expected."""
    match = _SHAPE.fullmatch(text)
    if match is None:
        raise MalformedMessage(
            f"{text[:64]!r} is not the id of an awakeable: sign_1 and 38 characters of base64url"
        )
    raw = base64.urlsafe_b64decode(match[1] + "==")
    return RawInvocationId(raw[:RAW_ID_BYTES]), int.from_bytes(raw[RAW_ID_BYTES:], "big")
