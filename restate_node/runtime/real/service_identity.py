"""`RequestSigner` with an Ed25519 key from a PEM file, as `openssl genpkey -algorithm ed25519`
writes it.

A signature takes as long as a small exchange takes otherwise, and is good for a minute: a token is
used again for the same path and key until a sixth of its time has passed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from restate_node.runtime.ports import Clock
from restate_node.runtime.request_identity import Claims, key_id, signed_headers, signed_token
from restate_node.runtime.services import Headers

TOKENS_MAX: Final = 4_096
"""In memory: one per handler, and one per handler and object."""
REUSED_PART: Final = 6


class IdentityKeyError(Exception):
    """The key cannot be used; the message says what to change."""


class Ed25519Signer:
    """Signs requests. `public_key` is what users configure in their SDK."""

    def __init__(self, key: Ed25519PrivateKey, clock: Clock, valid_seconds: int = 60) -> None:
        assert valid_seconds >= 1
        self._key = key
        self._clock = clock
        self._valid_seconds = valid_seconds
        self._tokens: dict[tuple[str, str], tuple[int, Headers]] = {}
        self.public_key = key_id(key.public_key().public_bytes_raw())

    @classmethod
    def from_pem_file(cls, path: str, clock: Clock, valid_seconds: int = 60) -> Ed25519Signer:
        """Reads the file, so call it before serving; raises IdentityKeyError."""
        option = f"request-identity-private-key-pem-file = {path!r}"
        try:
            key = load_pem_private_key(Path(path).read_bytes(), password=None)
        except OSError as error:
            raise IdentityKeyError(f"{option}: {error.strerror}; name a readable file") from error
        except (ValueError, TypeError) as error:
            raise IdentityKeyError(f"{option}: not an unencrypted PEM private key") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise IdentityKeyError(f"{option}: not an Ed25519 key; make one with openssl genpkey")
        return cls(key, clock, valid_seconds)

    def headers(self, path: str, key: str = "") -> Headers:
        now_seconds = self._clock.unix_ms() // 1000
        made_seconds, headers = self._tokens.get((path, key), (0, ()))
        # A clock that was set back makes the token one from the future: not used again.
        if headers and 0 <= now_seconds - made_seconds <= self._valid_seconds // REUSED_PART:
            return headers
        if len(self._tokens) >= TOKENS_MAX:
            self._tokens.clear()
        claims = Claims(path, key, now_seconds, self._valid_seconds)
        token = signed_token(self.public_key, claims, self._key.sign)
        headers = signed_headers(token)
        self._tokens[path, key] = now_seconds, headers
        return headers
