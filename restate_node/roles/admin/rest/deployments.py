"""`/deployments`: registering, looking, updating, removing. An address is a `uri` or an `arn`.

POST   /deployments                    discover and register; 201, or 200 if it was known
GET    /deployments[/{deployment}]
PATCH  /deployments/{deployment}       another address or other headers
DELETE /deployments/{deployment}       only with ?force=true: calls that stay there cannot go on
"""

from __future__ import annotations

import re
from collections.abc import Awaitable
from typing import Final, TypeVar
from urllib.parse import SplitResult, urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from restate_node.cluster.metadata_errors import MetadataError
from restate_node.roles.admin.discovery import DeploymentAddress, DiscoveryFailed
from restate_node.roles.admin.registry import (
    DeploymentChange,
    Registration,
    RegistryRefused,
    SchemaRegistry,
)
from restate_node.roles.admin.rest.exchange import Refused, flag, json_response, read
from restate_node.roles.admin.rest.views import (
    deployment_view,
    detailed_deployment_view,
    registration_view,
)
from restate_node.types.function_arns import is_arn, parse_function_arn, parse_role_arn
from restate_node.types.schema import Deployment, HandlerDefaults
from restate_node.types.textual_ids import IdKind, parse_id
from restate_node.wire.storage_codec import CodecError

URI_CHARACTERS_MAX: Final = 4096
HEADERS_MAX: Final = 128
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]{0,8192}")

Result = TypeVar("Result")


class _Register(msgspec.Struct):
    uri: str | None = None
    arn: str | None = None
    assume_role_arn: str | None = None
    additional_headers: dict[str, str] | None = None
    use_http_11: bool = False
    force: bool | None = None
    dry_run: bool = False
    breaking: bool = False
    metadata: dict[str, str] | None = None


class _Update(msgspec.Struct):
    uri: str | None = None
    arn: str | None = None
    assume_role_arn: str | None = None
    additional_headers: dict[str, str] | None = None
    use_http_11: bool | None = None
    overwrite: bool = False
    dry_run: bool = False


class Deployments:
    """The handlers."""

    def __init__(self, registry: SchemaRegistry, defaults: HandlerDefaults) -> None:
        self._registry = registry
        self._defaults = defaults

    async def register(self, request: Request) -> Response:
        wanted = await read(request, _Register)
        address = _address(wanted)
        if address is None:
            raise Refused(
                422, "The request field 'uri', or 'arn', is missing: where is the deployment?"
            )
        headers = _checked_headers(wanted.additional_headers or {})
        role = _role(wanted, address)
        registered = await changing(
            self._registry.register(
                Registration(
                    address=DeploymentAddress(address, wanted.use_http_11, headers, role),
                    metadata=wanted.metadata or {},
                    force=bool(wanted.force),
                    breaking=wanted.breaking,
                    dry_run=wanted.dry_run,
                )
            )
        )
        deployment = registered.deployment
        return json_response(
            201 if registered.is_new else 200,
            registration_view(deployment, self._defaults),
            {"location": f"deployments/{deployment.id}"},
        )

    async def list(self, _: Request) -> Response:
        known = self._registry.schema.deployments.values()
        newest = sorted(known, key=lambda deployment: (deployment.created_at_ms, deployment.id))
        return json_response(200, {"deployments": [deployment_view(item) for item in newest]})

    async def get(self, request: Request) -> Response:
        deployment = self._find(request)
        return json_response(200, detailed_deployment_view(deployment, self._defaults))

    async def update(self, request: Request) -> Response:
        deployment = _deployment_id(request)
        wanted = await read(request, _Update)
        address, headers = _address(wanted), wanted.additional_headers
        change = DeploymentChange(
            uri=address,
            use_http_11=wanted.use_http_11,
            assume_role_arn=_role(wanted, address or self._find(request).uri),
            additional_headers=None if headers is None else _checked_headers(headers),
            overwrite=wanted.overwrite,
            dry_run=wanted.dry_run,
        )
        registered = await changing(self._registry.update(deployment, change))
        view = detailed_deployment_view(registered.deployment, self._defaults)
        return json_response(200, view)

    async def remove(self, request: Request) -> Response:
        deployment = _deployment_id(request)
        if not flag(request, "force"):
            raise Refused(
                501,
                "a deployment cannot be drained: when no invocation uses it any more, remove it "
                "with ?force=true",
            )
        await changing(self._registry.remove(deployment))
        return Response(status_code=202)

    def _find(self, request: Request) -> Deployment:
        deployment = _deployment_id(request)
        known = self._registry.schema.deployments.get(deployment)
        if known is None:
            raise Refused(404, f"The requested deployment '{deployment}' does not exist")
        return known


async def changing(work: Awaitable[Result]) -> Result:
    """The result of a change to the registry; raises Refused."""
    try:
        return await work
    except RegistryRefused as refused:
        refusal = refused.refusal
        raise Refused(refusal.kind.value, refusal.message, refusal.code) from None
    except DiscoveryFailed as failed:
        raise Refused(500, str(failed), failed.code) from None
    except CodecError as error:
        raise Refused(500, f"what is registered cannot be read here: {error}") from None
    except MetadataError as error:
        raise Refused(503, f"the registry cannot be changed now: {error}; try again") from None


def _address(wanted: _Register | _Update) -> str | None:
    """Where the deployment is, in one spelling; raises Refused."""
    if wanted.uri is not None:
        if wanted.arn is not None:
            raise Refused(422, "The request has both 'uri' and 'arn': which of them is it?")
        return normal_uri(wanted.uri)
    if wanted.arn is None:
        return None
    try:
        return str(parse_function_arn(wanted.arn))
    except ValueError as error:
        raise _invalid("arn", error) from None


def _role(wanted: _Register | _Update, address: str) -> str | None:
    if not wanted.assume_role_arn:
        return None
    try:
        if not is_arn(address):
            raise ValueError("a role can only be assumed to call a function on AWS Lambda")
        return parse_role_arn(wanted.assume_role_arn)
    except ValueError as error:
        raise _invalid("assume_role_arn", error) from None


def _invalid(field: str, error: ValueError) -> Refused:
    return Refused(400, f"The request field '{field}' is invalid. Reason: {error}")


def normal_uri(uri: str) -> str:
    """One spelling for one address; raises Refused for what is no address over HTTP."""
    try:
        if len(uri) > URI_CHARACTERS_MAX or not uri.isascii():
            raise ValueError(f"not more than {URI_CHARACTERS_MAX} ASCII characters")
        return _normal(urlsplit(uri.strip()))
    except ValueError as error:
        raise _invalid("uri", ValueError(f"{uri[:256]!r}: {error}")) from None


def _normal(parts: SplitResult) -> str:
    _ = parts.port  # checks that it is a number
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("only absolute URIs such as http://host:9080 can be used")
    if parts.username is not None or parts.password is not None:
        raise ValueError("send credentials in additional_headers")
    if parts.query or parts.fragment:
        raise ValueError("an address has neither query nor fragment")
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path or '/'}"


def _deployment_id(request: Request) -> str:
    text: str = request.path_params["deployment"]
    try:
        parse_id(IdKind.DEPLOYMENT, text)
    except ValueError as error:
        raise Refused(400, f"Cannot parse `deployment`: {error}") from None
    return text


def _checked_headers(headers: dict[str, str]) -> dict[str, str]:
    if len(headers) > HEADERS_MAX:
        raise Refused(422, f"more than {HEADERS_MAX} additional_headers")
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise Refused(422, f"additional_headers: {name[:64]!r} is no usable HTTP header")
    return {name.lower(): value for name, value in headers.items()}
