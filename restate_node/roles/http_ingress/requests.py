"""A request of the ingress, taken apart: method, path, query, headers, and its body within a limit.

Built straight from the ASGI scope; nothing here waits except for the body.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl

from restate_node.roles.http_ingress.answers import Refused
from restate_node.types.durations import parse_duration_ms
from restate_node.types.invocations import Header

Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]

IDEMPOTENCY_KEY_BYTES_MAX: Final = 16 * 1024
DELAY_MS_MAX: Final = 5_000 * 366 * 24 * 60 * 60 * 1000
BODY_TIMEOUT_S: Final = 60.0
LISTEN_AFTER_S: Final = 0.5
"""A call that takes longer is given up when its client leaves."""
_IDEMPOTENCY_KEY: Final = b"idempotency-key"
_INGRESS_PATH: Final = b"x-restate-ingress-path"
"""Tells a handler under which path it was called; a proxy in front may have set it."""
_NOT_PASSED_ON: Final = frozenset(
    (
        b"connection",
        b"host",
        b"keep-alive",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        _IDEMPOTENCY_KEY,
    )
)
"""Of the connection, or of the ingress: a handler has no use for them."""


class ClientLeft(Exception):
    """The connection ended while the request was read: nobody waits for an answer."""


class IngressRequest:
    """One request, without its body."""

    __slots__ = ("_headers", "_query", "method", "raw_path")

    def __init__(self, scope: MutableMapping[str, Any]) -> None:
        self.method: str = scope["method"]
        self.raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        self._query: bytes = scope["query_string"]
        self._headers: list[tuple[bytes, bytes]] = list(scope["headers"])

    def header(self, name: bytes) -> bytes | None:
        """First value; `name` in lower case."""
        return next((value for known, value in self._headers if known == name), None)

    @property
    def content_type(self) -> str | None:
        value = self.header(b"content-type")
        return None if value is None else value.decode("latin-1")

    def idempotency_key(self) -> str | None:
        """Raises Refused for one that cannot be kept. An empty one is a key, too."""
        value = self.header(_IDEMPOTENCY_KEY)
        if value is None:
            return None
        if len(value) > IDEMPOTENCY_KEY_BYTES_MAX:
            text = f"the idempotency key is longer than {IDEMPOTENCY_KEY_BYTES_MAX} bytes"
            raise Refused(400, text)
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise Refused(400, "bad idempotency header: it is not UTF-8") from None

    def delay_ms(self) -> int | None:
        """`?delay=10s`; raises Refused for what is no duration, or no calendar goes so far."""
        given = next((value for name, value in self._parameters() if name.lower() == "delay"), None)
        if given is None:
            return None
        try:
            delay_ms = parse_duration_ms(given)
        except ValueError as error:
            raise Refused(400, f"bad delay query parameter: {error}") from None
        if delay_ms > DELAY_MS_MAX:
            raise Refused(400, f"bad delay query parameter: {given!r} is longer than 5000 years")
        return delay_ms

    def passed_on(self) -> tuple[Header, ...]:
        """What the handler gets to see."""
        told = [
            Header(name.decode("latin-1"), value.decode("latin-1"))
            for name, value in self._headers
            if name not in _NOT_PASSED_ON and not name.startswith(b":")
        ]
        if self.header(_INGRESS_PATH) is None:
            told.append(Header(_INGRESS_PATH.decode(), self._path_and_query()))
        return tuple(told)

    def _path_and_query(self) -> str:
        path = b"/" + self.raw_path.strip(b"/")
        return (path + b"?" + self._query if self._query else path).decode("latin-1")

    async def body(self, receive: Receive, bytes_max: int) -> bytes:
        """All of it. Raises Refused above the limit or when it takes too long, ClientLeft."""
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                return await self._body(receive, bytes_max)
        except TimeoutError:
            text = f"the request body did not arrive within {BODY_TIMEOUT_S:.0f} s"
            raise Refused(408, text) from None

    async def _body(self, receive: Receive, bytes_max: int) -> bytes:
        announced = self.header(b"content-length")
        if announced is not None and announced.isdigit() and int(announced) > bytes_max:
            raise _too_large(bytes_max)
        pieces: list[bytes] = []
        length = 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                raise ClientLeft
            piece: bytes = message.get("body", b"")
            length += len(piece)
            if length > bytes_max:
                raise _too_large(bytes_max)
            pieces.append(piece)
            if not message.get("more_body", False):
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _parameters(self) -> list[tuple[str, str]]:
        if not self._query:
            return []
        return parse_qsl(self._query.decode("latin-1"), keep_blank_values=True)


def _too_large(bytes_max: int) -> Refused:
    return Refused(
        413,
        f"the request body is larger than {bytes_max} bytes; "
        "send less, or raise ingress.request-size-limit",
    )


async def while_connected(request: Coroutine[Any, Any, Any], receive: Receive) -> Any:
    """The result; raises ClientLeft once nobody waits for it, which is noticed a little later."""
    departure = _Departure(receive)
    try:
        return await request
    except asyncio.CancelledError:
        if departure.has_left:
            departure.waiting.uncancel()
            raise ClientLeft from None
        raise
    finally:
        departure.forget()


class _Departure:
    """Listens for the end of the connection, and then cancels the task that made this.

    Most calls have ended before it begins to listen, and cost a timer instead of a task.
    """

    def __init__(self, receive: Receive) -> None:
        task = asyncio.current_task()
        assert task is not None, "requests run in tasks"
        self.waiting: asyncio.Task[Any] = task
        self.has_left = False
        self._receive = receive
        self._listening: asyncio.Future[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(LISTEN_AFTER_S, self._listen)

    def forget(self) -> None:
        """Nobody needs to know any more."""
        self._timer.cancel()
        if self._listening is not None:
            self._listening.remove_done_callback(self._gone)
            self._listening.cancel()

    def _listen(self) -> None:
        self._listening = asyncio.ensure_future(_until_gone(self._receive))
        self._listening.add_done_callback(self._gone)

    def _gone(self, _: asyncio.Future[None]) -> None:
        self.has_left = True
        self.waiting.cancel()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
