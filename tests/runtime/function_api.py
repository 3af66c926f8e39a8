"""AWS Lambda and STS as a small HTTP server, which hands events to functions of the test.

    POST /2015-03-31/functions/{ARN}/invocations    the function's answer, or an error of the API
    POST /                                          AssumeRole

It checks that requests are signed, not the signature. What AWS would answer is from its API
reference, and was tried with Restate 1.7.12 as the caller.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import parse_qs

import pytest
from aiohttp import web

Function: TypeAlias = Callable[[dict[str, Any]], Awaitable[Any]]
"""An event in, an answer out; what it raises is an error of the function."""

ROLE_KEY = "ASIAROLE"
NODE_KEY = "AKIANODE"
ASSUMED = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleResult><AssumedRoleUser><Arn>arn:aws:sts::1:assumed-role/r/s</Arn>
<AssumedRoleId>A:s</AssumedRoleId></AssumedRoleUser><Credentials>
<AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey>
<SessionToken>token</SessionToken><Expiration>{expiration}</Expiration></Credentials>
</AssumeRoleResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata>
</AssumeRoleResponse>"""
DENIED = """<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error>
<Type>Sender</Type><Code>AccessDenied</Code><Message>not you</Message></Error>
<RequestId>r</RequestId></ErrorResponse>"""


@dataclass(frozen=True)
class ApiError:
    """What the API answers instead of calling the function."""

    status: int
    code: str
    message: str = "said AWS"

    def response(self) -> web.Response:
        body = {"message": self.message, "Type": "User"}
        headers = {"x-amzn-errortype": self.code}
        return web.json_response(body, status=self.status, headers=headers)


@dataclass
class Asked:
    """One call of a function."""

    path: str
    headers: Mapping[str, str]
    event: dict[str, Any]

    @property
    def body(self) -> bytes:
        return base64.b64decode(self.event["body"])


@dataclass
class FunctionApi:
    """Functions by ARN, what was asked for, and errors that come first."""

    functions: dict[str, Function] = field(default_factory=dict[str, Function])
    asked: list[Asked] = field(default_factory=list[Asked])
    errors: list[ApiError] = field(default_factory=list[ApiError])
    roles: list[dict[str, list[str]]] = field(default_factory=list[dict[str, list[str]]])
    """Forms of AssumeRole."""
    denied_role: str = ""
    expiration: str = "2099-01-01T00:00:00Z"
    """Of the credentials that a role has."""
    url: str = ""

    async def invoke(self, request: web.Request) -> web.StreamResponse:
        data = await request.read()
        assert "/lambda/aws4_request" in request.headers["authorization"], "it is not signed"
        self.asked.append(Asked(request.raw_path, dict(request.headers), json.loads(data)))
        if self.errors:
            return self.errors.pop(0).response()
        function = self.functions.get(request.match_info["arn"])
        if function is None:
            return ApiError(404, "ResourceNotFoundException", "Function not found").response()
        try:
            return web.json_response(await function(self.asked[-1].event))
        except Exception as error:
            told = {"errorMessage": str(error), "errorType": type(error).__name__}
            return web.json_response(told, headers={"x-amz-function-error": "Unhandled"})

    async def assume_role(self, request: web.Request) -> web.StreamResponse:
        form = parse_qs((await request.read()).decode())
        self.roles.append(form)
        if form["RoleArn"] == [self.denied_role]:
            return web.Response(status=403, text=DENIED, content_type="text/xml")
        return web.Response(
            text=ASSUMED.format(expiration=self.expiration), content_type="text/xml"
        )

    @contextmanager
    def reached(self) -> Generator[None]:
        """Whoever calls AWS in this process comes here, with the node's credentials."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", self.url)
            patch.setenv("AWS_ACCESS_KEY_ID", NODE_KEY)
            patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
            patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
            patch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
            patch.setenv("AWS_CONFIG_FILE", "/nonexistent")
            for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_EXTERNAL_ID"):
                patch.delenv(name, raising=False)
            yield


@asynccontextmanager
async def function_api() -> AsyncGenerator[FunctionApi]:
    """On a free port of this machine; clients of AWS in this process find it."""
    api = FunctionApi()
    application = web.Application(client_max_size=1 << 24)
    application.router.add_post("/2015-03-31/functions/{arn}/invocations", api.invoke)
    application.router.add_post("/", api.assume_role)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        api.url = f"http://{host}:{port}"
        with api.reached():
            yield api
    finally:
        await runner.cleanup()


def answer(
    body: bytes, status: int = 200, headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """What an SDK answers."""
    return {
        "statusCode": status,
        "headers": dict(headers or {}),
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
    }
