"""Request identity: what a service that verifies it would check."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from restate_node.runtime.real.service_identity import Ed25519Signer, IdentityKeyError
from restate_node.runtime.request_identity import base58, key_id


@dataclass
class Watch:
    """A clock that is set by hand."""

    seconds: int = 1_800_000_000

    def unix_ms(self) -> int:
        return self.seconds * 1000

    def monotonic(self) -> float:
        return float(self.seconds)


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def pem(key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        (b"\0", "1"),
        (b"\0\0\x01", "112"),
        (b"Hello World!", "2NEpo7TZRRrLZSi2U"),
        (
            bytes.fromhex("00eb15231dfceb60925886b67d065299925915aeb172c06647"),
            "1NS17iag9jJgTHD1VXjvLCEnZuQ3rJDE9L",
        ),
    ],
)
def test_base58(data: bytes, text: str) -> None:
    """Goal: the alphabet and the leading zeros of everybody else. Method: published examples."""
    assert base58(data) == text


def test_token_is_what_services_verify(tmp_path: Path) -> None:
    """Goal: header, claims and signature fit together. Method: take the token apart, verify it with
    the public key that its key id names.
    """
    key = Ed25519PrivateKey.generate()
    path = tmp_path / "key.pem"
    path.write_bytes(pem(key))
    watch = Watch()
    signer = Ed25519Signer.from_pem_file(str(path), watch)
    headers = dict(signer.headers("/invoke/Greeter/greet"))
    assert headers["x-restate-signature-scheme"] == "v1"
    header, claims, signature = headers["x-restate-jwt-v1"].split(".")
    assert json.loads(decoded(header)) == {
        "typ": "JWT",
        "alg": "EdDSA",
        "kid": key_id(key.public_key().public_bytes_raw()),
    }
    assert signer.public_key.startswith("publickeyv1_")
    assert json.loads(decoded(claims)) == {
        "aud": "/invoke/Greeter/greet",
        "nbf": watch.seconds - 60,
        "iat": watch.seconds,
        "exp": watch.seconds + 60,
    }
    key.public_key().verify(decoded(signature), f"{header}.{claims}".encode())


def test_token_for_an_object() -> None:
    """Goal: a token names the object it is for, and is used for no other. Method: two keys."""
    signer = Ed25519Signer(Ed25519PrivateKey.generate(), Watch())
    subjects = [
        json.loads(decoded(dict(signer.headers("/a", key))["x-restate-jwt-v1"].split(".")[1]))
        for key in ("Ä/1", "b", "")
    ]
    assert [claims.get("sub") for claims in subjects] == ["Ä/1", "b", None]


def test_tokens_are_used_again_while_fresh() -> None:
    """Goal: one signature for many requests, never a stale one. Method: move the clock."""
    watch = Watch()
    signer = Ed25519Signer(Ed25519PrivateKey.generate(), watch)
    first = signer.headers("/a")
    watch.seconds += 10
    assert signer.headers("/a") is first
    assert signer.headers("/b") != first
    watch.seconds += 1
    renewed = signer.headers("/a")
    assert renewed != first
    watch.seconds -= 5
    assert signer.headers("/a") is not renewed


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        (b"nonsense", "not an unencrypted PEM"),
        (pem(ec.generate_private_key(ec.SECP256R1())), "not an Ed25519 key"),
    ],
)
def test_keys_that_do_not_serve(tmp_path: Path, content: bytes | None, says: str) -> None:
    """Goal: one line that names option, file and remedy. Method: no file, no key, another key."""
    path = tmp_path / "key.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(IdentityKeyError, match=says) as caught:
        Ed25519Signer.from_pem_file(str(path), Watch())
    assert str(path) in str(caught.value)
    assert "request-identity-private-key-pem-file" in str(caught.value)
