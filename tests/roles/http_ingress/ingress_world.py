"""An ingress on node 1 and hand-made leaders on others, over the simulated network."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from restate_node.cluster.partition_calls import CallPatience, PartitionCalls
from restate_node.roles.http_ingress.application import Ingress, IngressLimits
from restate_node.roles.http_ingress.submission import InvocationClient
from restate_node.sim.loop import SimLoop, simulate
from restate_node.types.fabric import Peer, RpcFailure
from restate_node.types.gossip import Leadership
from restate_node.types.ids import LeaderEpoch, PartitionId, Version
from restate_node.types.invocation_messages import (
    Attached,
    AttachInvocation,
    AttachStatus,
    NotifyInvocation,
    SubmitInvocation,
    Submitted,
)
from restate_node.types.invocations import Invocation, Outcome, Success
from restate_node.types.metadata import MetadataKind
from restate_node.types.offsets import Lsn
from restate_node.types.processor_messages import Proposed
from restate_node.types.schema import (
    Body,
    ContentPattern,
    Deployment,
    Handler,
    HandlerDefaults,
    HttpVersion,
    InputRules,
    NoBody,
    OutputRules,
    ProtocolMode,
    Schema,
    Service,
)
from restate_node.types.targets import ServiceType, TargetKind
from tests.roles.admin.admin_world import HandLiveness, World, life

BODY_BYTES_MAX = 1000
JSON_INPUT = InputRules((NoBody(), Body(ContentPattern("application", "json"))))
NOTHING = InputRules((NoBody(),))


def handler(name: str, kind: TargetKind, **fields: Any) -> Handler:
    return Handler(name=name, kind=kind, **fields)


def service(name: str, kind: ServiceType, *handlers: Handler, **fields: Any) -> Service:
    return Service(name=name, type=kind, handlers={h.name: h for h in handlers}, **fields)


SERVICES = (
    service(
        "Greeter",
        ServiceType.SERVICE,
        handler("greet", TargetKind.SERVICE, input=JSON_INPUT),
        handler("nothing", TargetKind.SERVICE, input=NOTHING, output=OutputRules(None)),
        handler(
            "raw",
            TargetKind.SERVICE,
            output=OutputRules("application/octet-stream", even_if_empty=True),
        ),
        handler("closed", TargetKind.SERVICE, public=False),
        handler("picky", TargetKind.SERVICE, input=InputRules((Body(ContentPattern("text")),))),
        handler("any", TargetKind.SERVICE, input=InputRules((Body(ContentPattern()),))),
        handler("told", TargetKind.SERVICE, input=InputRules((Body(ContentPattern("text"), {}),))),
        handler("broken", TargetKind.SERVICE, input=InputRules(())),
    ),
    service(
        "Counter",
        ServiceType.VIRTUAL_OBJECT,
        handler("add", TargetKind.OBJECT_EXCLUSIVE),
        handler("send", TargetKind.OBJECT_SHARED),
    ),
    service(
        "Signup",
        ServiceType.WORKFLOW,
        handler("run", TargetKind.WORKFLOW_RUN),
        handler("status", TargetKind.WORKFLOW_SHARED),
    ),
    service("Secret", ServiceType.SERVICE, handler("x", TargetKind.SERVICE), public=False),
)
SCHEMA = Schema(
    Version(1),
    {
        "dp_1": Deployment(
            id="dp_1",
            uri="http://host/",
            mode=ProtocolMode.BIDIRECTIONAL,
            http_version=HttpVersion.HTTP_2,
            services={known.name: known for known in SERVICES},
        )
    },
)


@dataclass
class Reply:
    """A response, taken apart."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Client:
    """A connection: sends one request, and may hang up."""

    pieces: list[bytes]
    left: asyncio.Event = field(default_factory=asyncio.Event)
    sent: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    async def receive(self) -> dict[str, Any]:
        if self.pieces:
            body = self.pieces.pop(0)
            return {"type": "http.request", "body": body, "more_body": bool(self.pieces)}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(dict(message))


@dataclass
class Bench:
    """Leaders that keep invocations in a dictionary; what they answer is up to the test."""

    world: World
    liveness: HandLiveness = field(default_factory=lambda: HandLiveness(life(1), life(2), life(3)))
    submitted: list[tuple[int, SubmitInvocation]] = field(
        default_factory=list[tuple[int, SubmitInvocation]]
    )
    signals: list[NotifyInvocation] = field(default_factory=list[NotifyInvocation])
    attached: list[AttachInvocation] = field(default_factory=list[AttachInvocation])
    failures: list[RpcFailure] = field(default_factory=list[RpcFailure])
    known: dict[bytes, Invocation] = field(default_factory=dict[bytes, Invocation])
    outcomes: dict[bytes, Outcome] = field(default_factory=dict[bytes, Outcome])
    outcome: Outcome | None = field(default_factory=lambda: Success(b'"done"'))
    """Of new invocations; None: they do not end by themselves."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        for node in (1, 2, 3):
            self.world.start(node)
        self.world.partition(2, 1)
        for node in (2, 3):
            self._serve(node)
        host = self.world.hosts[1]
        host.cache.install(MetadataKind.SCHEMA, SCHEMA)
        self.calls = PartitionCalls(
            host.cache, self.liveness, host.fabric, CallPatience(unanswered_s=6, round_s=10)
        )
        self.calls.start(host.tasks)
        client = InvocationClient(self.calls, self.world.clock, random.Random(1))
        self.ingress = Ingress(
            host.cache.schema, client, HandlerDefaults(), IngressLimits(BODY_BYTES_MAX)
        )
        self.lead(2)

    def lead(self, node: int, epoch: int = 1) -> None:
        self.liveness.leaders.set(
            {
                PartitionId(p): Leadership(PartitionId(p), LeaderEpoch(epoch), life(node))
                for p in range(2)
            }
        )

    def _serve(self, node: int) -> None:
        router = self.world.hosts[node].fabric.router

        async def submit(_: Peer, request: SubmitInvocation) -> Submitted:
            self.submitted.append((node, request))
            if self.failures:
                raise self.failures.pop(0)
            invocation = request.invocation
            known = self.known.get(invocation.id)
            is_new = known is None or known.random_seed == invocation.random_seed
            self.known.setdefault(invocation.id, invocation)
            if known is None and self.outcome is not None:
                self.outcomes[invocation.id] = self.outcome
            if not request.wait:
                return Submitted(is_new, invocation.start_at_ms)
            while invocation.id not in self.outcomes:
                await self.ended.wait()
            expires_at_ms = 1_000_000
            return Submitted(is_new, None, self.outcomes[invocation.id], expires_at_ms)

        async def attach(_: Peer, request: AttachInvocation) -> Attached:
            self.attached.append(request)
            if request.invocation not in self.known:
                return Attached(AttachStatus.NOT_FOUND)
            while request.wait and request.invocation not in self.outcomes:
                await self.ended.wait()
            outcome = self.outcomes.get(request.invocation)
            if outcome is None:
                return Attached(AttachStatus.NOT_READY)
            target = self.known[request.invocation].target
            return Attached(AttachStatus.ENDED, outcome, 1_000_000, target)

        async def notify(_: Peer, request: NotifyInvocation) -> Proposed:
            self.signals.append(request)
            return Proposed(Lsn(1))

        router.serve(SubmitInvocation, submit)
        router.serve(AttachInvocation, attach)
        router.serve(NotifyInvocation, notify)

    def end(self, outcome: Outcome) -> None:
        """All invocations that run end like this."""
        for invocation in self.known:
            self.outcomes.setdefault(invocation, outcome)
        self.ended.set()
        self.ended.clear()

    async def request(
        self,
        method: str,
        path: str,
        body: bytes | list[bytes] = b"",
        *,
        headers: dict[str, str] | None = None,
        client: Client | None = None,
    ) -> Reply:
        """One request; the default content type of a body is JSON."""
        pieces = body if isinstance(body, list) else [body]
        client = client or Client(pieces)
        raw_path, _, query = path.partition("?")
        given = headers if headers is not None else {}
        if any(pieces) and "content-type" not in given:
            given = {**given, "content-type": "application/json"}
        scope = {
            "type": "http", "http_version": "1.1", "method": method, "path": raw_path,
            "raw_path": raw_path.encode(), "query_string": query.encode(),
            "headers": [(k.lower().encode(), v.encode("latin-1")) for k, v in given.items()],
        }  # fmt: skip
        await self.ingress(scope, client.receive, client.send)
        if not client.sent:
            return Reply(0, {}, b"")
        start, end = client.sent
        told = {name.decode(): value.decode() for name, value in start["headers"]}
        return Reply(start["status"], told, end["body"])


def ingress_world(scenario: Callable[[Bench], Awaitable[None]]) -> None:
    async def main(loop: SimLoop) -> None:
        await scenario(Bench(World(loop)))

    simulate(1, main)
