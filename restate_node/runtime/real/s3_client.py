"""An S3 client that lives on a thread of its own: `runtime.real.aws_thread` says why.

The library is imported there too, at the first request: a node without a bucket never pays its
forty megabytes. `run` may be cancelled; the request is then cancelled on its own loop.

Driven by `runtime.real.objects_s3`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, Final, TypeAlias, TypeVar

from restate_node.runtime.real.aws_thread import AwsThread
from restate_node.types.options import SnapshotOptions

CONNECT_SECONDS_MAX: Final = 5
SILENCE_SECONDS_MAX: Final = 30
CONNECTIONS_MAX: Final = 32
_REGION_OF_OTHERS = "us-east-1"
"""What services that know no regions expect in a signature."""

Client: TypeAlias = Any
"""aiobotocore makes the client's methods at run time; no type describes them."""
Result = TypeVar("Result")
Call: TypeAlias = Callable[[Client], Awaitable[Result]]


class S3Client:
    """Starts its thread with the first call."""

    def __init__(self, options: SnapshotOptions) -> None:
        self._options = options
        self._thread = AwsThread("s3")
        self._client: Client | None = None
        self._resources = AsyncExitStack()
        self._connecting = asyncio.Lock()  # bound to the client's loop, where it is first used

    async def run(self, call: Call[Result]) -> Result:
        """The result of `call(client)`, called on the client's loop; raises what it raises."""
        return await self._thread.run(self._called(call))

    async def close(self) -> None:
        """Close the connections and end the thread. Idempotent."""
        self._client = None
        await self._thread.close(self._resources.aclose)

    # -- on the client's loop

    async def _called(self, call: Call[Result]) -> Result:
        async with self._connecting:
            if self._client is None:
                self._client = await self._connected()
        return await call(self._client)

    async def _connected(self) -> Client:
        from aiobotocore.config import AioConfig  # pyright: ignore[reportMissingTypeStubs]
        from aiobotocore.session import AioSession  # pyright: ignore[reportMissingTypeStubs]

        options = self._options
        endpoint = options.aws_endpoint_url or _endpoint_of_environment()
        configuration = AioConfig(
            connect_timeout=CONNECT_SECONDS_MAX,
            read_timeout=SILENCE_SECONDS_MAX,
            max_pool_connections=CONNECTIONS_MAX,
            # We retry ourselves, with dice that a seed decides.
            retries={"total_max_attempts": 1},
            # Other services often know neither host names per bucket nor the newest checksums;
            # bodies are protected by Content-MD5, files by their SHA-256.
            s3={
                "addressing_style": "path" if endpoint else "auto",
                "payload_signing_enabled": False,
            },
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        session: Any = AioSession(profile=options.aws_profile)
        region = options.aws_region or session.get_config_variable("region")
        creation = session.create_client(
            "s3",
            region_name=region or (_REGION_OF_OTHERS if endpoint else None),
            endpoint_url=endpoint,
            aws_access_key_id=options.aws_access_key_id,
            aws_secret_access_key=options.aws_secret_access_key,
            aws_session_token=options.aws_session_token,
            config=configuration,
        )
        return await self._resources.enter_async_context(creation)


def _endpoint_of_environment() -> str | None:
    """The variables that the tools of AWS read too."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
