"""Asking a deployment what it is: `GET /discover`, of a function on AWS Lambda too.

    address, headers ─▶ ServiceTransport ─▶ SDK ─▶ endpoint manifest ─▶ Deployment

The address comes from whoever registers; what may be reached at all is the transport's to decide.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from restate_node.runtime.services import (
    EndpointAddress,
    FailureCause,
    Fetched,
    RequestHead,
    ServiceError,
    ServiceTransport,
    fetch,
)
from restate_node.runtime.services import HttpVersion as TransportVersion
from restate_node.types.function_arns import is_arn
from restate_node.types.schema import Deployment, HttpVersion, ProtocolMode
from restate_node.wire.endpoint_manifest import ACCEPT, BadManifest, parse_manifest

MANIFEST_BYTES_MAX: Final = 16 * 1024 * 1024
DISCOVERY_TIMEOUT_S: Final = 20.0
PAUSES_S: Final = (0.1, 0.2, 0.4, 0.6, 0.6)
"""Between attempts: a deployment may be about to start, and asking again costs nothing."""
_PASSING: Final = (
    FailureCause.REFUSED,
    FailureCause.CLOSED,
    FailureCause.RESET,
    FailureCause.GOAWAY,
    FailureCause.BUSY,
)
"""Nobody listens yet; or a connection ended that was open from before it was replaced."""
SHOWN_BYTES_MAX: Final = 512
"""Of an answer that is no manifest, in the error."""


class DiscoveryFailed(Exception):
    """The deployment cannot be registered like this. `code` is one of Restate's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"[{code}] {message}")
        self.code = code


@dataclass(frozen=True, slots=True)
class DeploymentAddress:
    """Where a deployment is, and how to ask it."""

    uri: str
    """Or an ARN."""
    use_http_11: bool
    additional_headers: Mapping[str, str]
    assume_role_arn: str | None = None

    @property
    def version(self) -> TransportVersion:
        """Over TLS, HTTP/1.1 is a wish that ALPN may exceed."""
        if is_arn(self.uri):
            return TransportVersion.HTTP_1_1
        if not self.use_http_11:
            return TransportVersion.HTTP_2
        secure = self.uri.startswith("https:")
        return TransportVersion.NEGOTIATED if secure else TransportVersion.HTTP_1_1


async def discover(
    transport: ServiceTransport, address: DeploymentAddress, cluster_name: str
) -> Deployment:
    """What is there, without id and time. Raises DiscoveryFailed."""
    headers = {
        "accept": ACCEPT,
        "x-restate-cluster-name": cluster_name,
        **{name.lower(): value for name, value in address.additional_headers.items()},
    }
    head = RequestHead("GET", "/discover", tuple(headers.items()))
    where = EndpointAddress(address.uri, address.version, address.assume_role_arn)
    answer = await _ask(transport, where, head)
    if answer.head.status != 200:
        shown = answer.body[:SHOWN_BYTES_MAX].decode(errors="replace")
        text = f"'{address.uri}' answered with status code {answer.head.status}: {shown}"
        raise DiscoveryFailed("META0003", text)
    try:
        manifest = parse_manifest(answer.head.header("content-type"), answer.body)
    except BadManifest as error:
        raise DiscoveryFailed(
            "META0013", f"received a bad response from the SDK: {error}"
        ) from None
    http_2 = answer.head.http_version is TransportVersion.HTTP_2
    return Deployment(
        id="",
        uri=address.uri,
        # An SDK knows by which HTTP it was asked: one that offers both directions at once over
        # HTTP/1.1 was told by its user that nothing between us is in the way. A function takes
        # one request and gives one answer.
        mode=ProtocolMode.REQUEST_RESPONSE if is_arn(address.uri) else manifest.mode,
        http_version=HttpVersion.HTTP_2 if http_2 else HttpVersion.HTTP_11,
        assume_role_arn=address.assume_role_arn,
        compression=manifest.compression if is_arn(address.uri) else None,
        additional_headers=dict(address.additional_headers),
        protocol_version_min=manifest.protocol_version_min,
        protocol_version_max=manifest.protocol_version_max,
        sdk_version=answer.head.header("x-restate-server"),
        services={service.name: service for service in manifest.services},
    )


async def _ask(transport: ServiceTransport, address: EndpointAddress, head: RequestHead) -> Fetched:
    try:
        async with asyncio.timeout(DISCOVERY_TIMEOUT_S):
            return await _fetch(transport, address, head)
    except ServiceError as error:
        code, hint = "META0003", ""
        if error.cause is FailureCause.PROTOCOL and not is_arn(address.uri):
            code, hint = _other_version(address)
        raise DiscoveryFailed(code, f"error when calling {error}{hint}") from None
    except TimeoutError:
        text = f"'{address.uri}' did not answer within {DISCOVERY_TIMEOUT_S:.0f} s"
        raise DiscoveryFailed("META0003", text) from None


def _other_version(address: EndpointAddress) -> tuple[str, str]:
    """What to do about a service that does not speak HTTP as it was asked to."""
    may_be = "; server possibly supports only"
    if address.http_version is TransportVersion.HTTP_2:
        return "META0014", f"{may_be} HTTP1.1, consider discovery with --use-http1.1"
    return "META0003", f"{may_be} HTTP/2, consider discovery without --use-http1.1"


async def _fetch(
    transport: ServiceTransport, address: EndpointAddress, head: RequestHead
) -> Fetched:
    """Raises ServiceError."""
    for pause_s in PAUSES_S:
        try:
            return await fetch(transport, address, head, body_bytes_max=MANIFEST_BYTES_MAX)
        except ServiceError as error:
            if error.cause not in _PASSING:
                raise
        await asyncio.sleep(pause_s)
    return await fetch(transport, address, head, body_bytes_max=MANIFEST_BYTES_MAX)
