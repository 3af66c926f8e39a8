"""The admin API by plain ASGI calls, with services that answer discovery from a table."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Any

from restate_node.cluster.metadata_cache import MetadataCache
from restate_node.roles.admin.invocation_control import ControlRequest, Standing
from restate_node.roles.admin.registry import SchemaRegistry
from restate_node.roles.admin.rest.application import AdminApplication, AdminSources
from restate_node.roles.admin.rest.cluster import About
from restate_node.runtime.services import (
    EndpointAddress,
    Exchange,
    ExchangeBroken,
    FailureCause,
    HttpVersion,
    RequestHead,
    ResponseHead,
    ServiceUnreachable,
)
from restate_node.types.invocation_messages import Controlled, ControlStatus
from restate_node.types.invocations import RawInvocationId
from restate_node.types.offsets import Lsn
from restate_node.types.schema import HandlerDefaults
from tests.roles.admin.admin_world import MemoryStore

MANIFEST_TYPE = "application/vnd.restate.endpointmanifest.v4+json"
NOW_MS = 1_795_416_147_571


def service(name: str, ty: str = "SERVICE", *handlers: dict[str, Any], **fields: Any) -> Any:
    return {"name": name, "ty": ty, "handlers": list(handlers) or [{"name": "run"}], **fields}


def manifest(*services: Any, **fields: Any) -> dict[str, Any]:
    head = {"protocolMode": "BIDI_STREAM", "minProtocolVersion": 5, "maxProtocolVersion": 7}
    return {**head, "services": list(services), **fields}


class StoppedClock:
    """Always the same moment."""

    def unix_ms(self) -> int:
        return NOW_MS

    def monotonic(self) -> float:
        return 0.0


class Answering:
    """An exchange whose response is there at once."""

    backlog_bytes = 0

    def __init__(self, head: ResponseHead, body: bytes) -> None:
        self._head = head
        self._pieces = [body] if body else []

    def send(self, data: bytes) -> None:
        raise AssertionError("discovery has no body")

    async def drained(self) -> None:
        return

    def finish(self) -> None:
        return

    async def response(self) -> ResponseHead:
        return self._head

    async def receive(self) -> bytes:
        return self._pieces.pop() if self._pieces else b""

    def abort(self) -> None:
        return


@dataclass
class Endpoints:
    """What is reachable: manifests by address; anything else refuses connections."""

    manifests: dict[str, Any] = field(default_factory=dict[str, Any])
    asked: list[tuple[EndpointAddress, RequestHead]] = field(
        default_factory=list[tuple[EndpointAddress, RequestHead]]
    )
    failure: FailureCause = FailureCause.REFUSED
    status: int = 200
    losses: list[FailureCause] = field(default_factory=list[FailureCause])
    """How the next attempts end, before there is an answer."""

    async def open(self, address: EndpointAddress, head: RequestHead) -> Exchange:
        self.asked.append((address, head))
        if self.losses:
            raise ExchangeBroken(address, self.losses.pop(0), "it was not to be")
        if address.uri not in self.manifests:
            raise ServiceUnreachable(address, self.failure, "it did not work")
        version = address.http_version
        if version is HttpVersion.NEGOTIATED:
            version = HttpVersion.HTTP_2
        headers = (("content-type", MANIFEST_TYPE), ("x-restate-server", "sdk/1"))
        body = json.dumps(self.manifests[address.uri]).encode()
        return Answering(ResponseHead(self.status, headers, version), body)

    async def close(self) -> None:
        return


@dataclass
class Patches:
    """Stands for a patcher: remembers, or fails as told."""

    patches: list[tuple[str, str, dict[str, bytes], str | None]] = field(
        default_factory=list[tuple[str, str, dict[str, bytes], str | None]]
    )
    error: Exception | None = None

    async def patch(
        self, service: str, key: str, new_state: dict[str, bytes], expected_version: str | None
    ) -> Lsn:
        if self.error is not None:
            raise self.error
        self.patches.append((service, key, new_state, expected_version))
        return Lsn(1)


@dataclass
class Controls:
    """Stands for the leaders: remembers, and answers as told."""

    asked: list[ControlRequest] = field(default_factory=list[ControlRequest])
    answer: Controlled = field(default_factory=lambda: Controlled(ControlStatus.DONE))
    standing: Standing | None = field(
        default_factory=lambda: Standing("Greeter", False, None, None)
    )
    error: Exception | None = None

    async def control(self, request: ControlRequest) -> Controlled:
        if self.error is not None:
            raise self.error
        self.asked.append(request)
        return self.answer

    async def standing_of(self, invocation: RawInvocationId) -> Standing | None:
        return self.standing


@dataclass
class Reply:
    """A response, taken apart."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def refused(self, status: int, code: str | None = None) -> str:
        """The message of an error, once its form is right."""
        assert self.status == status, self
        content = self.json
        assert set(content) == {"message", "restate_code"} and content["restate_code"] == code
        return content["message"]


class Bench:
    """One admin server."""

    def __init__(self) -> None:
        self.cache = MetadataCache("test")
        self.store = MemoryStore()
        self.endpoints = Endpoints()
        self.patches = Patches()
        self.controls = Controls()
        registry = SchemaRegistry(
            self.cache, self.store, self.endpoints, StoppedClock(), random.Random(1)
        )
        self.application = AdminApplication(
            AdminSources(
                about=About("1.2.3", "http://ingress:8080/"),
                defaults=HandlerDefaults(),
                nodes=self.cache.nodes,
                registry=registry,
                patcher=self.patches,
                controls=self.controls,
            )
        )

    async def call(
        self, method: str, path: str, *chunks: bytes, content_type: str = "application/json"
    ) -> Reply:
        """One request in as many pieces as given."""
        pieces = list(chunks or (b"",))
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if not pieces:
                return {"type": "http.disconnect"}
            body = pieces.pop(0)
            return {"type": "http.request", "body": body, "more_body": bool(pieces)}

        async def send(message: Any) -> None:
            sent.append(dict(message))

        path, _, query = path.partition("?")
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method,
            "path": path, "raw_path": path.encode(), "query_string": query.encode(),
            "root_path": "", "headers": [(b"content-type", content_type.encode())],
            "scheme": "http", "server": ("test", 80), "client": ("test", 1),
        }  # fmt: skip
        await self.application(scope, receive, send)
        body = b"".join(message.get("body", b"") for message in sent[1:])
        headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Reply(sent[0]["status"], headers, body)

    async def post(self, path: str, **content: Any) -> Reply:
        return await self.call("POST", path, json.dumps(content).encode())

    async def patch(self, path: str, **content: Any) -> Reply:
        return await self.call("PATCH", path, json.dumps(content).encode())

    async def register(self, uri: str, *services: Any, **options: Any) -> str:
        """Register what is there; the id of the deployment."""
        self.endpoints.manifests[uri] = manifest(*services)
        reply = await self.post("/deployments", uri=uri, **options)
        assert reply.status in (200, 201), reply
        return reply.json["id"]
