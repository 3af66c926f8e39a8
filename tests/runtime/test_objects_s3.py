"""The S3 store against wrong answers: a table of errors, and a real service behind a bad proxy."""

from __future__ import annotations

import asyncio
import hashlib
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from restate_node.runtime.ports import (
    IfAbsent,
    ObjectMissing,
    ObjectStoreDenied,
    ObjectStoreUnavailable,
    Pieces,
    PreconditionFailed,
    Unconditional,
)
from restate_node.runtime.real import objects_s3
from restate_node.runtime.real.objects_s3 import S3Objects
from restate_node.runtime.real.s3_errors import mapped
from restate_node.types.options import SnapshotOptions

from .contracts.s3_service import OPTIONS, create_bucket, s3_service


def answer(status: int, code: str) -> ClientError:
    error = {"Code": code, "Message": "said the service"}
    response: Any = {"Error": error, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "PutObject")


ERRORS: list[tuple[Exception, type[Exception], str]] = [
    (answer(404, "NoSuchKey"), ObjectMissing, "NoSuchKey"),
    (answer(404, "404"), ObjectMissing, "404"),
    (answer(404, "NoSuchBucket"), ObjectStoreDenied, "create the bucket"),
    (answer(403, "AccessDenied"), ObjectStoreDenied, "let these credentials"),
    (answer(403, "InvalidAccessKeyId"), ObjectStoreDenied, "aws-access-key-id"),
    (answer(403, "SignatureDoesNotMatch"), ObjectStoreDenied, "aws-secret-access-key"),
    (answer(400, "ExpiredToken"), ObjectStoreDenied, "aws-session-token"),
    (answer(301, "PermanentRedirect"), ObjectStoreDenied, "aws-region"),
    (answer(400, "Strange"), ObjectStoreDenied, "check worker.snapshots"),
    (answer(412, "PreconditionFailed"), PreconditionFailed, "read it again"),
    (answer(409, "ConditionalRequestConflict"), ObjectStoreUnavailable, "retry"),
    (answer(503, "SlowDown"), ObjectStoreUnavailable, "retry"),
    (answer(500, "InternalError"), ObjectStoreUnavailable, "retry"),
    (answer(429, "TooManyRequests"), ObjectStoreUnavailable, "retry"),
    (EndpointConnectionError(endpoint_url="http://x"), ObjectStoreUnavailable, "retry"),
    (TimeoutError(), ObjectStoreUnavailable, "retry"),
    (ConnectionResetError("reset"), ObjectStoreUnavailable, "retry"),
    (NoCredentialsError(), ObjectStoreDenied, "aws-profile"),
    (ValueError("Invalid endpoint: x"), ObjectStoreDenied, "check worker.snapshots"),
]


@pytest.mark.parametrize(
    ("error", "kind", "says"), ERRORS, ids=[f"{type(e[0]).__name__}-{e[2]}" for e in ERRORS]
)
def test_errors(error: Exception, kind: type[Exception], says: str) -> None:
    """Goal: the caller knows whether to retry, and people what to change. How: a table."""
    failure = mapped(error, "put s3://bucket/key")
    assert type(failure) is kind
    assert says in str(failure) and "put s3://bucket/key" in str(failure)
    assert "\n" not in str(failure)


def test_bugs_are_not_errors_of_the_service() -> None:
    """Goal: a bug is seen. How: an exception of Python itself."""
    with pytest.raises(KeyError):
        mapped(KeyError("Body"), "get x")


Spoil = Callable[[bytes], bytes | None]
"""The bytes that the service answered, as the proxy hands them on; None hangs up."""


class Proxy:
    """Between store and service; spoils answers while `spoiled` lasts."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._spoiling: list[Spoil] = []
        self.requests = 0

    def spoil(self, *spoiling: Spoil) -> None:
        """Spoil the next answers, one each."""
        self._spoiling = list(spoiling)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 26)
        host, port = server.sockets[0].getsockname()
        async with server:
            yield f"http://{host}:{port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request per connection: read it whole, ask the service, answer, hang up."""
        try:
            request = await self._message(reader, writer)
            self.requests += 1
            upstream, outgoing = await asyncio.open_connection(*self._target, limit=1 << 26)
            outgoing.write(request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
            reply: bytes | None = await upstream.read(-1)
            outgoing.close()
            if self._spoiling:
                reply = self._spoiling.pop(0)(reply)
            writer.write(b"" if reply is None else reply)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    async def _message(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        head = await reader.readuntil(b"\r\n\r\n")
        fields = dict(
            line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line
        )
        if fields.get(b"expect") == b"100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            head = b"\r\n".join(
                line for line in head.split(b"\r\n") if not line.lower().startswith(b"expect")
            )
        return head + await reader.readexactly(int(fields.get(b"content-length", 0)))


def slow_down(reply: bytes) -> bytes:
    """What a throttled client gets."""
    body = b"<Error><Code>SlowDown</Code><Message>later</Message></Error>"
    return (
        b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\n"
        b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    ) + body


def honest(reply: bytes) -> bytes:
    """As it came."""
    return reply


def hang_up(reply: bytes) -> None:
    """The service did it, and nobody says so."""
    return


def cut(reply: bytes) -> bytes:
    """Less than was announced."""
    return reply[: len(reply) // 2]


@asynccontextmanager
async def behind_proxy() -> AsyncIterator[tuple[S3Objects, Proxy, SnapshotOptions]]:
    with s3_service() as options:
        await create_bucket("bucket", options)
        assert options.aws_endpoint_url is not None
        host, port = options.aws_endpoint_url.removeprefix("http://").split(":")
        proxy = Proxy(host, int(port))
        async with proxy.serving() as endpoint:
            options = replace(options, aws_endpoint_url=endpoint)
            objects = S3Objects("bucket", options, random.Random(1))
            try:
                yield objects, proxy, options
            finally:
                await objects.close()


def content(size: int) -> Pieces:
    dice = random.Random(size)
    for start in range(0, size, 1 << 20):
        yield dice.randbytes(min(1 << 20, size - start))


def digest(pieces: Pieces) -> bytes:
    taken = hashlib.sha256()
    for piece in pieces:
        taken.update(piece)
    return taken.digest()


async def stored_digest(objects: S3Objects, key: str) -> bytes:
    taken = hashlib.sha256()
    await objects.download(key, taken.update)
    return taken.digest()


@pytest.mark.slow
async def test_a_bad_proxy() -> None:
    """Goal: what passes is retried and whole, what stays is said. How: spoil answers in turn."""
    async with behind_proxy() as (objects, proxy, _):
        proxy.spoil(slow_down, hang_up, slow_down)
        await objects.put("k", b"v", Unconditional())
        proxy.spoil(cut, slow_down)
        stored = await objects.get("k")
        assert stored is not None and stored.content == b"v"
        proxy.spoil(*[slow_down] * 4)
        with pytest.raises(ObjectStoreUnavailable, match="SlowDown"):
            await objects.get("k")
        proxy.spoil(hang_up)
        with pytest.raises(PreconditionFailed):  # its own first attempt was there before it
            await objects.put("once", b"v", IfAbsent())

        size = 20 << 20
        begin, parts = (hang_up, slow_down, honest), (hang_up, cut, slow_down, hang_up)
        proxy.spoil(*begin, *parts, honest, honest, honest, hang_up)
        await objects.upload("big", content(size))
        proxy.spoil(cut, slow_down, cut, hang_up, cut)
        assert await stored_digest(objects, "big") == digest(content(size))
        proxy.spoil(*[slow_down] * 4)
        with pytest.raises(ObjectStoreUnavailable):
            await objects.upload("never", content(size))
        with pytest.raises(ObjectMissing):
            await stored_digest(objects, "never")


@pytest.mark.slow
async def test_a_silent_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: no request waits for ever. How: a port that takes connections and says nothing."""
    monkeypatch.setattr(objects_s3, "REQUEST_SECONDS_MAX", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        endpoint = f"http://127.0.0.1:{listening.getsockname()[1]}"
        silent = S3Objects("b", replace(OPTIONS, aws_endpoint_url=endpoint), random.Random(1))
        with pytest.raises(ObjectStoreUnavailable, match="TimeoutError"):
            await silent.get("k")
        with pytest.raises(ObjectStoreUnavailable, match="TimeoutError"):
            await silent.upload("k", content(9 << 20))
        await silent.close()


@pytest.mark.slow
async def test_wrong_options() -> None:
    """Goal: one line says what to change, at once. How: a bucket and an endpoint that are not."""
    async with behind_proxy() as (objects, proxy, options):
        await objects.put("k", b"v", Unconditional())
        nowhere = S3Objects("nowhere", options, random.Random(1))
        before = proxy.requests
        with pytest.raises(ObjectStoreDenied, match="create the bucket"):
            await nowhere.get("k")
        with pytest.raises(ObjectStoreDenied, match="create the bucket"):
            await nowhere.put("k", b"v", IfAbsent())
        assert proxy.requests == before + 2
        await nowhere.close()
        closed = S3Objects(
            "bucket", replace(options, aws_endpoint_url="http://127.0.0.1:1"), random.Random(1)
        )
        with pytest.raises(ObjectStoreUnavailable, match="Could not connect"):
            await closed.get("k")
        await closed.close()
        profile = S3Objects("bucket", replace(options, aws_profile="none"), random.Random(1))
        with pytest.raises(ObjectStoreDenied, match="aws-profile"):
            await profile.get("k")
        await profile.close()
