"""A world of workers with a service whose handlers are plain functions, and what is asked of it."""

from __future__ import annotations

from typing import Any

from worker_world import P0, Worker, World

from restate_node.sim.hosts import SimClock
from restate_node.sim.workloads.tiny_sdk import Handler, served
from restate_node.types.ids import Version
from restate_node.types.introspection import SYS_INVOCATION
from restate_node.types.invocation_messages import (
    Attached,
    AttachInvocation,
    ReadRows,
    Rows,
    SubmitInvocation,
    Submitted,
)
from restate_node.types.invocations import (
    Invocation,
    RawInvocationId,
    Retention,
    raw_id,
)
from restate_node.types.options import (
    InvocationRetryOptions,
)
from restate_node.types.partition_keys import partition_key_of_key
from restate_node.types.schema import (
    Deployment,
    HandlerDefaults,
    HttpVersion,
    ProtocolMode,
    Schema,
)
from restate_node.types.schema import Handler as HandlerSchema
from restate_node.types.schema import Service as ServiceSchema
from restate_node.types.targets import Target, TargetKind

URI = "http://service:9080"
DAY_MS = 24 * 60 * 60 * 1000
KEPT = Retention(DAY_MS, DAY_MS)


class Playground:
    """A world with a service whose handlers are plain functions."""

    def __init__(
        self,
        world: World,
        handlers: dict[str, Handler],
        retry: Any = None,
        protocol_version_max: int = 6,
    ) -> None:
        self.world = world
        self.services = world.add_services()
        self.service = served(handlers)
        self.services.serve(URI, self.service)
        self.made = 0
        known = [path.split("/") for path in handlers]
        services = {
            name: ServiceSchema(
                name=name,
                type=kind_of(name).service_type,
                handlers={
                    handler: HandlerSchema(name=handler, kind=kind_of(name))
                    for owner, handler in known
                    if owner == name
                },
            )
            for name in {name for name, _ in known}
        }
        deployment = Deployment(
            id="dp_1",
            uri=URI,
            mode=ProtocolMode.BIDIRECTIONAL,
            http_version=HttpVersion.HTTP_2,
            protocol_version_min=5,
            protocol_version_max=protocol_version_max,
            services=services,
        )
        world.schema.set(Schema(Version(1), {"dp_1": deployment}))
        world.defaults = HandlerDefaults(
            inactivity_timeout_ms=500, retry=retry or InvocationRetryOptions()
        )

    def call(self, service: str, handler: str, key: str = "", argument: bytes = b"") -> Invocation:
        """A call that was not submitted yet."""
        self.made += 1
        partition_key = partition_key_of_key(key) if key else 7
        return Invocation(
            raw_id(partition_key, self.made),
            Target(kind_of(service), service, handler, key),
            argument,
            retention=KEPT,
            created_at_ms=now_ms(self.world),
            random_seed=self.made,
        )


def kind_of(service: str) -> TargetKind:
    known = {"Counter": TargetKind.OBJECT_EXCLUSIVE, "Flow": TargetKind.WORKFLOW_RUN}
    return known.get(service, TargetKind.SERVICE)


def now_ms(world: World) -> int:
    return SimClock(world.loop).unix_ms()


async def submit(worker: Worker, call: Invocation, wait: bool = True) -> Submitted:
    return await worker.ask(SubmitInvocation(P0, call, wait))


async def ended(worker: Worker, invocation: RawInvocationId) -> Attached:
    return await worker.ask(AttachInvocation(P0, invocation, True))


async def status(worker: Worker, invocation: RawInvocationId) -> str:
    """What SQL says of it."""
    rows: Rows = await worker.ask(ReadRows(P0, "sys_invocation", invocation=invocation))
    return "none" if not rows.rows else next(v for v in rows.rows[0][-3:-2])


async def column(worker: Worker, invocation: RawInvocationId, name: str) -> object:
    """One column of its row in sys_invocation."""
    rows: Rows = await worker.ask(ReadRows(P0, "sys_invocation", invocation=invocation))
    return rows.rows[0][SYS_INVOCATION.names.index(name)]


async def becomes(worker: Worker, invocation: RawInvocationId, wanted: str) -> None:
    async def is_so() -> bool:
        return await status(worker, invocation) == wanted

    await worker.world.until(is_so)
