"""From our method table to connectrpc's endpoints: deadlines, errors, compression.

    request bytes ─▶ bounded zstd | gzip | identity ─▶ message ─▶ handler ─▶ response
                                                           GrpcError ─▶ its status
                                                           too slow  ─▶ DEADLINE_EXCEEDED
                                                           any other ─▶ INTERNAL, one log line

`restatectl` compresses every request with zstd, which gRPC's own C server refuses; connectrpc
takes it. A compressed message may grow a thousandfold, so both its output and the window that a
frame may demand are limited while it is being decompressed, not afterwards.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeAlias, assert_never, cast

import structlog
import zstandard
from connectrpc.code import Code
from connectrpc.compat import google_protobuf_binary_codec
from connectrpc.compression.gzip import GzipCompression
from connectrpc.compression.zstd import ZstdCompression
from connectrpc.errors import ConnectError
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.server import ConnectASGIApplication, Endpoint
from google.protobuf.message import Message

from restate_node.runtime.real.control_plane_methods import GrpcMethod, GrpcStreamMethod
from restate_node.types.grpc_status import GrpcError, StatusCode

logger = structlog.get_logger(__name__)

AnyMethod: TypeAlias = GrpcMethod[Any, Any] | GrpcStreamMethod[Any, Any]

STATUS_MESSAGE_BYTES_MAX = 1500
"""The message travels percent-encoded in a header, and clients stop at 8 KiB of headers."""
ZSTD_WINDOW_BYTES_MAX = 8 * 1024 * 1024
"""Levels up to 19 need no more; a frame that demands more is refused before it is allocated."""
ZSTD_CHUNK_BYTES = 128 * 1024

_CODES: Mapping[StatusCode, Code] = {
    status: Code.CANCELED if status is StatusCode.CANCELLED else Code[status.name]
    for status in StatusCode
    if status is not StatusCode.OK
}


class BoundedZstd(ZstdCompression):
    """zstd that stops at the limit, whatever sizes the frame promises."""

    def decompress(
        self, data: bytes | bytearray | memoryview, read_max_bytes: int | None = None
    ) -> bytes:
        assert read_max_bytes is not None, "the application always passes its limit"
        decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES_MAX)
        message = bytearray()
        with decompressor.stream_reader(data) as reader:
            while chunk := reader.read(ZSTD_CHUNK_BYTES):
                message += chunk
                if len(message) > read_max_bytes:
                    raise too_large(read_max_bytes)
        return bytes(message)


def too_large(message_bytes_max: int) -> ConnectError:
    """The error of a message that is over the limit, before or after decompression."""
    return ConnectError(
        Code.RESOURCE_EXHAUSTED,
        f"the message is larger than {message_bytes_max} bytes: send less at once",
    )


class GrpcEndpoints(ConnectASGIApplication[None]):
    """The gRPC part of the control plane as an ASGI application."""

    def __init__(self, methods: Mapping[str, AnyMethod], message_bytes_max: int) -> None:
        endpoints = {path: endpoint(method) for path, method in methods.items()}

        def endpoints_of(_service: None) -> dict[str, Endpoint[Any, Any]]:
            return endpoints

        # Its annotations mix a class and a union, both named Endpoint.
        cast(Any, super()).__init__(
            service=None,
            endpoints=endpoints_of,
            read_max_bytes=message_bytes_max,
            compressions=[BoundedZstd(), GzipCompression()],
            codecs=[google_protobuf_binary_codec()],
        )

    @property
    def path(self) -> str:
        """All services are mounted at the root."""
        return "/"


def endpoint(method: AnyMethod) -> Endpoint[Any, Any]:
    """One row of the table in connectrpc's terms."""
    match method:
        case GrpcMethod():
            return _unary(method)
        case GrpcStreamMethod():
            return _server_stream(method)
        case _:
            assert_never(method)


def _unary(method: GrpcMethod[Any, Any]) -> Endpoint[Any, Any]:
    async def call(request: Message, _context: object) -> Message:
        with errors_answered(method.path):
            async with deadline(method):
                response = await method.handler(request)
            assert isinstance(response, method.response), type(response).__name__
            return response

    return Endpoint.unary(method=_describe(method, StreamType.UNARY), function=call)


def _server_stream(method: GrpcStreamMethod[Any, Any]) -> Endpoint[Any, Any]:
    async def call(request: Message, _context: object) -> AsyncIterator[Message]:
        with errors_answered(method.path):
            async with deadline(method):
                async for response in method.handler(request):
                    assert isinstance(response, method.response), type(response).__name__
                    yield response

    return Endpoint.server_stream(method=_describe(method, StreamType.SERVER_STREAM), function=call)


def _describe(method: AnyMethod, stream_type: StreamType) -> MethodInfo[Any, Any]:
    return MethodInfo(
        name=method.method,
        service_name=method.service,
        input=method.request,
        output=method.response,
        idempotency_level=IdempotencyLevel.UNKNOWN,
        stream_type=stream_type,
    )


@asynccontextmanager
async def deadline(method: AnyMethod) -> AsyncGenerator[None]:
    """Turns the method's own timeout into a status; a TimeoutError of the handler passes."""
    timeout = asyncio.timeout(method.timeout_ms / 1000)
    try:
        async with timeout:
            yield
    except TimeoutError:
        if not timeout.expired():
            raise
        raise GrpcError(
            StatusCode.DEADLINE_EXCEEDED,
            f"{method.path} was not done after {method.timeout_ms} ms: "
            "look whether it took effect before you repeat it",
        ) from None


@contextmanager
def errors_answered(path: str) -> Generator[None]:
    """Whatever the handler raises becomes a status. Cancellation passes: nobody waits any more."""
    try:
        yield
    except GrpcError as error:
        raise ConnectError(_CODES[error.code], shortened(error.message)) from None
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{frame.filename}:{frame.lineno}"
        logger.error("control plane method failed", method=path, error=repr(error), where=where)
        message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise ConnectError(Code.INTERNAL, shortened(message)) from None


def shortened(message: str) -> str:
    """One line that fits into a header."""
    line = " ".join(message.split())
    return line.encode()[:STATUS_MESSAGE_BYTES_MAX].decode(errors="ignore")
