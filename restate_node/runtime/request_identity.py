"""How a service knows that a request comes from its cluster: a signed token in two headers.

    x-restate-signature-scheme: v1          (or `unsigned`)
    x-restate-jwt-v1: <header>.<claims>.<signature>    each part base64url without padding

The header names the public key as services are told it: `publickeyv1_` and the raw key in base58.
The claims say for which path, for which object if there is one, and from when to when the token is
good. The signature is Ed25519 over the first two parts with the dot between them.

Pure; the key itself is held by `runtime.real.service_identity`.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from restate_node.runtime.services import Headers

SCHEME_HEADER: Final = "x-restate-signature-scheme"
TOKEN_HEADER: Final = "x-restate-jwt-v1"
PUBLIC_KEY_PREFIX: Final = "publickeyv1_"
PUBLIC_KEY_BYTES: Final = 32
UNSIGNED: Final[Headers] = ((SCHEME_HEADER, "unsigned"),)

_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


class RequestSigner(Protocol):
    """Makes the identity headers of a request."""

    def headers(self, path: str, key: str = "") -> Headers:
        """For a request to `path`, below the prefix of the deployment's address, for the object of
        that key.
        """
        ...


class Unsigned:
    """A cluster without a key says so, and a service that insists on one can tell its user."""

    def headers(self, path: str, key: str = "") -> Headers:
        return UNSIGNED


def base58(data: bytes) -> str:
    """Digits without 0, O, I and l; each leading zero byte is a `1`."""
    number, digits = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    zeros = len(data) - len(data.lstrip(b"\0"))
    return _ALPHABET[0] * zeros + digits


def key_id(public_key: bytes) -> str:
    """The public key as it is given to an SDK."""
    assert len(public_key) == PUBLIC_KEY_BYTES
    return PUBLIC_KEY_PREFIX + base58(public_key)


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token is for: a path, and the key of an object, or empty."""

    path: str
    key: str
    now_seconds: int
    valid_seconds: int


def signed_token(key_name: str, claims: Claims, sign: Callable[[bytes], bytes]) -> str:
    """A token, by the key of that name. It begins as long before now as it lasts after: clocks
    differ.
    """
    now_seconds, valid_seconds = claims.now_seconds, claims.valid_seconds
    header = {"typ": "JWT", "alg": "EdDSA", "kid": key_name}
    claimed: dict[str, str | int] = {
        "aud": claims.path,
        "nbf": now_seconds - valid_seconds,
        "iat": now_seconds,
        "exp": now_seconds + valid_seconds,
    }
    if claims.key:
        claimed["sub"] = claims.key
    signed = f"{_part(header)}.{_part(claimed)}"
    return f"{signed}.{_base64(sign(signed.encode()))}"


def signed_headers(token: str) -> Headers:
    return ((SCHEME_HEADER, "v1"), (TOKEN_HEADER, token))


def _part(value: dict[str, str] | dict[str, str | int]) -> str:
    return _base64(json.dumps(value, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
