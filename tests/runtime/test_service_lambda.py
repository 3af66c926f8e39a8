"""Functions on AWS Lambda: what is asked of AWS, with whose permissions, and how it fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import zstandard
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ProfileNotFound,
    ReadTimeoutError,
)

from restate_node.runtime.real import service_lambda, service_lambda_clients
from restate_node.runtime.real.service_lambda import BODY_BYTES_MAX, LambdaTransport
from restate_node.runtime.real.service_lambda_clients import LambdaOptions
from restate_node.runtime.real.service_lambda_errors import mapped
from restate_node.runtime.request_identity import Unsigned
from restate_node.runtime.services import (
    EndpointAddress,
    ExchangeBroken,
    FailureCause,
    Fetched,
    RequestHead,
    ServiceError,
    ServiceUnreachable,
    fetch,
)
from tests.runtime.function_api import (
    NODE_KEY,
    ROLE_KEY,
    ApiError,
    FunctionApi,
    answer,
    function_api,
)
from tests.runtime.service_servers import limited

ARN = "arn:aws:lambda:eu-central-1:123456789012:function:greeter:3"
ROLE = "arn:aws:iam::123456789012:role/invoker"
HEAD = RequestHead("POST", "/invoke/Greeter/greet", (("content-type", "x/y"),))
MIB = 1024 * 1024


@asynccontextmanager
async def calling(options: LambdaOptions | None = None) -> AsyncIterator[Caller]:
    async with function_api() as api:
        transport = LambdaTransport(
            options or LambdaOptions(), Unsigned(), (("x-restate-cluster-name", "c"),), MIB
        )
        api.functions[ARN] = greeted
        yield Caller(api, transport)
        await transport.close()


async def greeted(_: dict[str, Any]) -> Any:
    return answer(b"hi", 200, {"Content-Type": "a/b"})


class Caller:
    """One who calls functions, and what AWS saw."""

    def __init__(self, api: FunctionApi, transport: LambdaTransport) -> None:
        self.api = api
        self.transport = transport

    async def call(
        self, body: bytes = b"", arn: str = ARN, role: str | None = None, zstd: bool = False
    ) -> Fetched:
        address = EndpointAddress(arn, assume_role_arn=role, unpacks_zstd=zstd)
        return await fetch(self.transport, address, HEAD, body, body_bytes_max=1 << 27)

    async def fails(self, body: bytes = b"", **how: Any) -> ServiceError:
        with pytest.raises(ServiceError) as caught:
            await self.call(body, **how)
        error = caught.value
        assert str(error).startswith("arn:aws:lambda:") and "\n" not in str(error)
        return error


@limited
async def test_what_aws_is_asked() -> None:
    """Goal: path, signature for the function's region, event; the answer as a response. Method:
    look at what the API saw.
    """
    async with calling() as caller:
        found = await caller.call(b"body")
        assert (found.head.status, found.body) == (200, b"hi")
        assert found.head.header("content-type") == "a/b"
        (asked,) = caller.api.asked
        name = ARN.replace(":", "%3A")
        assert asked.path == f"/2015-03-31/functions/{name}/invocations"
        signed = asked.headers["Authorization"]
        assert signed.startswith(f"AWS4-HMAC-SHA256 Credential={NODE_KEY}/")
        assert "/eu-central-1/lambda/aws4_request" in signed
        assert asked.body == b"body"
        assert {**asked.event, "body": ""} == {
            "path": "/invoke/Greeter/greet",
            "httpMethod": "POST",
            "headers": {
                "content-type": "x/y",
                "x-restate-signature-scheme": "unsigned",
                "x-restate-cluster-name": "c",
            },
            "body": "",
            "isBase64Encoded": True,
        }


@limited
async def test_roles() -> None:
    """Goal: a role is assumed once, with the external ID, and its credentials are used. Method:
    two calls with a role, then one without.
    """
    options = LambdaOptions(external_id="outside", session_name="restate-test")
    async with calling(options) as caller:
        for role in (ROLE, ROLE, None):
            await caller.call(role=role)
        (form,) = caller.api.roles
        assert form["RoleArn"] == [ROLE]
        assert (form["RoleSessionName"], form["ExternalId"]) == (["restate-test"], ["outside"])
        keys = [
            asked.headers["Authorization"].split("=")[1].split("/")[0] for asked in caller.api.asked
        ]
        assert keys == [ROLE_KEY, ROLE_KEY, NODE_KEY]
        assert caller.api.asked[0].headers["X-Amz-Security-Token"] == "token"


@limited
async def test_roles_are_renewed() -> None:
    """Goal: a node goes on when the credentials of a role expire. Method: they last ten minutes,
    which is too short to rely on: each call asks for new ones.
    """
    soon = datetime.now(UTC) + timedelta(minutes=9)
    async with calling() as caller:
        caller.api.expiration = soon.strftime("%Y-%m-%dT%H:%M:%SZ")
        for _ in range(2):
            assert (await caller.call(role=ROLE)).body == b"hi"
        assert len(caller.api.roles) >= 2
        caller.api.expiration = "2099-01-01T00:00:00Z"
        await caller.call(role=ROLE)
        count = len(caller.api.roles)
        await caller.call(role=ROLE)
        assert len(caller.api.roles) == count


@limited
async def test_external_id_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: as with Restate, AWS_EXTERNAL_ID goes first. Method: both."""
    async with calling(LambdaOptions(external_id="outside")) as caller:
        monkeypatch.setenv("AWS_EXTERNAL_ID", "inside")
        await caller.call(role=ROLE)
        assert caller.api.roles[0]["ExternalId"] == ["inside"]


@limited
async def test_what_aws_refuses() -> None:
    """Goal: people are told what to change, and callers whether the function saw anything. Method:
    one failure after another on one transport, then it works.
    """
    async with calling() as caller:
        caller.api.errors = [ApiError(429, "TooManyRequestsException", "Rate Exceeded.")]
        error = await caller.fails()
        assert isinstance(error, ServiceUnreachable) and error.cause is FailureCause.BUSY
        assert "429 TooManyRequestsException: Rate Exceeded." in str(error)
        caller.api.denied_role = ROLE
        assert "trust" in str(error := await caller.fails(role=ROLE))
        assert error.cause is FailureCause.DENIED
        caller.api.denied_role = ""
        error = await caller.fails(arn=ARN.replace("greeter", "nobody"))
        assert (error.cause, "not found" in str(error)) == (FailureCause.BAD_ADDRESS, True)
        assert len(caller.api.asked) == 2, "nothing was repeated"
        assert (await caller.call(role=ROLE)).body == b"hi"


@limited
async def test_answers_that_are_none() -> None:
    """Goal: what a function does wrong is told, and may have had effects. Method: it raises,
    answers something else, packs badly, unpacks to too much.
    """
    bomb = zstandard.compress(bytes(BODY_BYTES_MAX + 1))
    answers: dict[FailureCause, Any] = {
        FailureCause.PROTOCOL: ["not", "http"],
        FailureCause.TOO_LARGE: answer(bomb, 200, {"content-encoding": "zstd"}),
    }
    async with calling() as caller:

        async def fails(_: dict[str, Any]) -> Any:
            raise RuntimeError("Task timed\nout")

        caller.api.functions[ARN] = fails
        error = await caller.fails()
        assert isinstance(error, ExchangeBroken) and error.cause is FailureCause.FAILED
        assert "Unhandled" in str(error) and "Task timed" in str(error)
        for cause, told in answers.items():

            async def answers_so(_: dict[str, Any], told: Any = told) -> Any:
                return told

            caller.api.functions[ARN] = answers_so
            error = await caller.fails()
            assert isinstance(error, ExchangeBroken) and error.cause is cause
        bad = answer(b"no zstd", 200, {"content-encoding": "zstd"})

        async def packs_badly(_: dict[str, Any]) -> Any:
            return bad

        caller.api.functions[ARN] = packs_badly
        assert (await caller.fails()).cause is FailureCause.PROTOCOL


@limited
async def test_large_requests() -> None:
    """Goal: what AWS does not take is not sent, what is packed fits. Method: 5 MiB that are packed
    or not, a little that is never packed, and more than is kept.
    """
    async with calling() as caller:
        error = await caller.fails(bytes(5 * MIB))
        assert error.cause is FailureCause.TOO_LARGE and "6291456" in str(error)
        assert caller.api.asked == []
        assert (await caller.call(bytes(5 * MIB), zstd=True)).body == b"hi"
        await caller.call(b"small", zstd=True)
        packed, small = caller.api.asked
        assert packed.event["headers"]["accept-encoding"] == "zstd"
        assert packed.event["headers"]["content-encoding"] == "zstd"
        assert zstandard.decompress(packed.body) == bytes(5 * MIB)
        assert "content-encoding" not in small.event["headers"] and small.body == b"small"
        assert "smaller" in str(await caller.fails(bytes(BODY_BYTES_MAX + 1), zstd=True))
        assert len(caller.api.asked) == 2


@limited
async def test_clients_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: as many regions and roles as one likes, one after the other. Method: room for one:
    another region takes it, and is refused while a function runs.
    """
    monkeypatch.setattr(service_lambda_clients, "CLIENTS_MAX", 1)
    other = ARN.replace("eu-central-1", "us-east-1")
    async with calling() as caller:
        caller.api.functions[other] = greeted
        for arn in (ARN, other, ARN):
            assert (await caller.call(arn=arn)).body == b"hi"
        begun = asyncio.Event()

        async def never(_: dict[str, Any]) -> Any:
            begun.set()
            await asyncio.Event().wait()

        caller.api.functions[ARN] = never
        stuck = asyncio.ensure_future(caller.call())
        await begun.wait()
        assert (await caller.fails(arn=other)).cause is FailureCause.OVERLOADED
        await caller.transport.close()
        with pytest.raises(ExchangeBroken, match="stopping"):
            await stuck


@limited
async def test_nothing_to_call_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: a node without credentials says what it needs. Method: none, and no such profile."""
    async with calling() as caller:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        for role in (None, ROLE):
            error = await caller.fails(role=role)
            assert error.cause is FailureCause.DENIED and "AWS_ACCESS_KEY_ID" in str(error)
    async with calling(LambdaOptions(profile="nope")) as caller:
        assert "worker.invoker.aws-profile" in str(await caller.fails())
        assert "write arn:" in str(await caller.fails(arn="arn:aws:lambda:x"))


def test_a_large_answer_is_cut_off() -> None:
    """Goal: what AWS promises is checked. Method: a stream without end."""

    class Endless:
        async def read(self, count: int) -> bytes:
            return bytes(count)

    with pytest.raises(ExchangeBroken, match="larger than 8388608"):
        asyncio.run(service_lambda._read(Endless(), EndpointAddress(ARN)))


def refused(status: int, code: str, operation: str = "Invoke") -> ClientError:
    error = {"Code": code, "Message": "said\nAWS"}
    response: Any = {"Error": error, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, operation)


ERRORS: list[tuple[Exception, type[ServiceError], FailureCause, str]] = [
    (refused(429, "TooManyRequestsException"), ServiceUnreachable, FailureCause.BUSY, "429"),
    (refused(400, "ThrottlingException"), ServiceUnreachable, FailureCause.BUSY, "said AWS"),
    (refused(500, "ServiceException"), ExchangeBroken, FailureCause.BUSY, "said AWS"),
    (refused(502, "EC2ThrottledException"), ServiceUnreachable, FailureCause.BUSY, "said AWS"),
    (refused(413, "RequestTooLargeException"), ServiceUnreachable, FailureCause.TOO_LARGE, "413"),
    (refused(403, "AccessDeniedException"), ServiceUnreachable, FailureCause.DENIED, ROLE),
    (refused(403, "AccessDenied", "AssumeRole"), ServiceUnreachable, FailureCause.DENIED, "trust"),
    (refused(403, "ExpiredTokenException"), ServiceUnreachable, FailureCause.DENIED, "credentials"),
    (refused(403, "Strange"), ServiceUnreachable, FailureCause.DENIED, "credentials"),
    (refused(404, "NotFoundException"), ServiceUnreachable, FailureCause.BAD_ADDRESS, "404"),
    (NoCredentialsError(), ServiceUnreachable, FailureCause.DENIED, "AWS_ACCESS_KEY_ID"),
    (ProfileNotFound(profile="x"), ServiceUnreachable, FailureCause.DENIED, "aws-profile"),
    (
        EndpointConnectionError(endpoint_url="http://x"),
        ServiceUnreachable, FailureCause.REFUSED, "http://x",
    ),
    (ConnectTimeoutError(endpoint_url="x"), ServiceUnreachable, FailureCause.TIMEOUT, "timeout"),
    (ReadTimeoutError(endpoint_url="x"), ExchangeBroken, FailureCause.TIMEOUT, "no answer"),
    (ConnectionClosedError(endpoint_url="x"), ExchangeBroken, FailureCause.CLOSED, "closed"),
    (ConnectionResetError("reset"), ExchangeBroken, FailureCause.CLOSED, "reset"),
    (TimeoutError(), ExchangeBroken, FailureCause.TIMEOUT, "no answer"),
    (ValueError("Invalid endpoint: x"), ServiceUnreachable, FailureCause.BAD_ADDRESS, "Invalid"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "kind", "cause", "says"),
    ERRORS,
    ids=[f"{type(e[0]).__name__}-{e[3]}" for e in ERRORS],
)
def test_errors(error: Exception, kind: type[ServiceError], cause: FailureCause, says: str) -> None:
    """Goal: callers know whether the function was called, people what to change. How: a table."""
    failure = mapped(error, EndpointAddress(ARN, assume_role_arn=ROLE))
    assert type(failure) is kind and failure.cause is cause
    assert says in str(failure) and str(failure).startswith(ARN) and "\n" not in str(failure)


def test_bugs_are_not_errors_of_aws() -> None:
    """Goal: a bug is seen. How: an exception of Python itself."""
    with pytest.raises(KeyError):
        mapped(KeyError("Payload"), EndpointAddress(ARN))
