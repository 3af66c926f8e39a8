"""Clients of AWS Lambda: one per region and role, made when they are needed.

    (region, role) ─▶ session ─▶ client ─▶ its connections
                         └ with a role: credentials that STS gives, renewed before they expire

Everything here runs on the loop of an `AwsThread`. Credentials are found where the tools of AWS
find them: variables, profiles, containers, machines; endpoints too (AWS_ENDPOINT_URL_LAMBDA).

Invariant: not more than CLIENTS_MAX at a time; the one that was used the longest ago and serves
nobody makes room.

Driven by `runtime.real.service_lambda`.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeAlias

CLIENTS_MAX: Final = 32
CONNECTIONS_MAX: Final = 1000
"""Of one client: calls of functions that run at a time."""
FUNCTION_SECONDS_MAX: Final = 15 * 60
"""That AWS lets a function run, silently."""
STS_SECONDS_MAX: Final = 10
KEEP_ALIVE_SECONDS: Final = 60
"""Gateways forget a connection that is silent for 350 seconds."""

Client: TypeAlias = Any
"""aiobotocore makes the client's methods at run time; no type describes them."""
Place: TypeAlias = tuple[str, str | None]
"""A region, and the role that is assumed."""


class NoRoom(Exception):
    """Every client is in use."""


@dataclass(frozen=True, slots=True)
class LambdaOptions:
    """What an operator may change about it."""

    profile: str | None = None
    external_id: str | None = None
    session_name: str = "restate"
    """Under which AWS records what an assumed role did."""
    connect_timeout_ms: int = 10_000


@dataclass(slots=True)
class _Opened:
    client: Client
    resources: AsyncExitStack
    users: int = 0


@dataclass(slots=True)
class LambdaClients:
    """See the module."""

    options: LambdaOptions
    _opened: dict[Place, _Opened] = field(init=False, default_factory=dict[Place, _Opened])
    """The one that was used last is last."""
    _opening: asyncio.Lock = field(init=False, default_factory=asyncio.Lock)
    _session: Any = field(init=False, default=None)

    @asynccontextmanager
    async def client(self, region: str, role: str | None) -> AsyncGenerator[Client]:
        """One that stays open meanwhile. Raises NoRoom, and what AWS's library raises."""
        place = (region, role)
        async with self._opening:
            opened = self._opened.pop(place, None)
            if opened is None:
                await self._make_room()
                opened = await self._open(region, role)
            self._opened[place] = opened
            opened.users += 1
        try:
            yield opened.client
        finally:
            opened.users -= 1

    async def close(self) -> None:
        """Close all connections."""
        while self._opened:
            _, opened = self._opened.popitem()
            await opened.resources.aclose()

    async def _make_room(self) -> None:
        if len(self._opened) < CLIENTS_MAX:
            return
        idle = next((place for place, opened in self._opened.items() if not opened.users), None)
        if idle is None:
            raise NoRoom(f"{CLIENTS_MAX} regions and roles are in use at a time")
        await self._opened.pop(idle).resources.aclose()

    async def _open(self, region: str, role: str | None) -> _Opened:
        from aiobotocore.config import AioConfig  # pyright: ignore[reportMissingTypeStubs]

        session = await self._session_of(region, role)
        connect_seconds = self.options.connect_timeout_ms / 1000
        configuration = AioConfig(
            connect_timeout=connect_seconds,
            read_timeout=FUNCTION_SECONDS_MAX + connect_seconds,
            max_pool_connections=CONNECTIONS_MAX,
            # Invocations are retried by their own policy, which users see and set.
            retries={"total_max_attempts": 1},
            connector_args={"socket_factory": _socket_that_stays},
        )
        resources = AsyncExitStack()
        creation = session.create_client("lambda", region_name=region, config=configuration)
        return _Opened(await resources.enter_async_context(creation), resources)

    async def _session_of(self, region: str, role: str | None) -> Any:
        from aiobotocore import credentials  # pyright: ignore[reportMissingTypeStubs]
        from aiobotocore.config import AioConfig  # pyright: ignore[reportMissingTypeStubs]
        from aiobotocore.session import AioSession  # pyright: ignore[reportMissingTypeStubs]

        if self._session is None:
            self._session = AioSession(profile=self.options.profile)
        own = self._session
        if role is None:
            return own
        limits = AioConfig(connect_timeout=STS_SECONDS_MAX, read_timeout=STS_SECONDS_MAX)
        fetcher = credentials.AioAssumeRoleCredentialFetcher(
            client_creator=partial(own.create_client, region_name=region, config=limits),
            source_credentials=await self._own_credentials(),
            role_arn=role,
            extra_args=self._role_arguments(),
        )
        assumed: Any = AioSession()
        # Descriptions of services are megabytes: read once.
        assumed.register_component("data_loader", own.get_component("data_loader"))
        # There is no other way in for credentials that expire.
        assumed._credentials = credentials.AioDeferredRefreshableCredentials(
            fetcher.fetch_credentials, "assume-role"
        )
        return assumed

    async def _own_credentials(self) -> Any:
        from botocore.exceptions import (  # pyright: ignore[reportMissingTypeStubs]
            NoCredentialsError,
        )

        own = await self._session.get_credentials()
        if own is None:
            raise NoCredentialsError
        return own

    def _role_arguments(self) -> dict[str, str]:
        given = {"RoleSessionName": self.options.session_name}
        external = os.environ.get("AWS_EXTERNAL_ID") or self.options.external_id
        return {**given, "ExternalId": external} if external else given


def _socket_that_stays(address: Any) -> socket.socket:
    """A function may be silent for minutes: what is between must not forget the connection."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEP_ALIVE_SECONDS)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEP_ALIVE_SECONDS)
    return made
