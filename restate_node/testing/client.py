"""How a test talks to the cluster: calls handlers and looks at what became of them, without HTTP.

    call("Greeter/greet", "Ada") ─▶ Invocation, made once ─▶ any node that is ready ─▶ leader
                                        └─ that node dies ─▶ the same, through another one

A target is written as in the URL of an ingress: `Service/handler`, or `Service/key/handler` for
virtual objects and workflows. Arguments and results are JSON; bytes go and come as they are.

What is asked of a node is asked inside its life, and dies with it. The invocation has its id by
then, so asking another node is no second call.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, TypeVar

import msgspec

from restate_node.cluster.partition_calls import PartitionCalls, Unanswered
from restate_node.node.node import Node
from restate_node.roles.admin.invocation_control import ControlRequest, InvocationControl
from restate_node.roles.http_ingress.submission import CallRequest, InvocationClient
from restate_node.testing.errors import (
    HandlerFailed,
    NotEnded,
    NotFound,
    NotPossible,
    NotRegistered,
    TestingError,
)
from restate_node.testing.machines import Machine, Machines
from restate_node.types import introspection as sql
from restate_node.types.ids import PartitionId
from restate_node.types.introspection import Table
from restate_node.types.invocation_messages import (
    Attached,
    AttachStatus,
    Control,
    ControlStatus,
    ReadRows,
    Rows,
)
from restate_node.types.invocations import (
    WORKFLOW_ALREADY_INVOKED,
    Failure,
    Header,
    Outcome,
    RawInvocationId,
    Retention,
    Success,
    id_text,
    parse_id_text,
    partition_key_of_id,
)
from restate_node.types.invocations import Invocation as Submission
from restate_node.types.journal import Entry, SignalIndex
from restate_node.types.partition_keys import partition_key_of_key
from restate_node.types.schema import HandlerDefaults, ResolvedHandler
from restate_node.types.targets import TargetKind
from restate_node.wire.awakeable_ids import parse_awakeable_id
from restate_node.wire.journal_codec import signal

Reply = TypeVar("Reply")
Ask = Callable[[Node], Coroutine[Any, Any, Reply]]

LOOK_S: Final = 0.02
LOOKS_MAX: Final = 3000
KEPT_MS: Final = 400 * 24 * 3600 * 1000
"""Outcomes of plain calls are kept so long: a test may ask late, and what it asks again because a
node died finds what has happened, also when time has leapt. Those of workflows and of calls with an
idempotency key are kept as long as the services say.
"""
REJECTED_CODE: Final = 500
JSON: Final = "application/json"
_DONE: Final = (ControlStatus.DONE, ControlStatus.ALREADY, ControlStatus.ACCEPTED)


@dataclass(frozen=True, slots=True)
class InvocationStatus:
    """What is known of an invocation. `status` is one of scheduled, pending, ready, running,
    backing-off, suspended, paused, completed.
    """

    id: str
    target: str
    status: str
    retry_count: int
    last_failure: str | None
    columns: Mapping[str, Any]
    """Everything that `sys_invocation` has."""


class Client:
    """Asks whatever node is ready."""

    def __init__(self, machines: Machines) -> None:
        self._machines = machines
        self.asked = 0
        """Requests so far: changes as long as something happens."""

    # ------------------------------------------------------------ calls

    async def call(
        self,
        target: str,
        argument: object = None,
        *,
        idempotency_key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Run a handler and wait for its result. Raises HandlerFailed, NotRegistered."""
        made, content_type = await self._make(target, argument, None, idempotency_key, headers)
        done = await self._ask(lambda node: _invocations(node).submit(made, wait=True))
        if made.target.kind is TargetKind.WORKFLOW_RUN and not done.is_new:
            return _value(WORKFLOW_ALREADY_INVOKED, content_type)
        assert done.outcome is not None, "a leader answered a waiting call without outcome"
        return _value(done.outcome, content_type)

    async def send(
        self,
        target: str,
        argument: object = None,
        *,
        delay: timedelta | float | None = None,
        idempotency_key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Invocation:
        """Run a handler, at once or later, and do not wait. Raises NotRegistered."""
        made, content_type = await self._make(target, argument, delay, idempotency_key, headers)
        await self._ask(lambda node: _invocations(node).submit(made, wait=False))
        return Invocation(self, made.id, content_type)

    def invocation(self, id: str) -> Invocation:
        """One that is known by its id."""
        try:
            return Invocation(self, parse_id_text(id), JSON)
        except ValueError as error:
            raise NotPossible(str(error)) from None

    async def resolve_awakeable(self, id: str, value: object = None) -> None:
        """Give an awakeable its value."""
        await self._notify(id, Success(_encode(value)))

    async def reject_awakeable(self, id: str, reason: str) -> None:
        """Let whoever waits for an awakeable fail."""
        await self._notify(id, Failure(REJECTED_CODE, reason))

    # ------------------------------------------------------------ looking

    async def state(self, service: str, key: str) -> dict[str, Any]:
        """The state of a virtual object or workflow; values in JSON, bytes where they are none."""
        partition_key = partition_key_of_key(key)
        rows = await self.rows(sql.STATE, partition_key, service=service, key=key)
        return {str(row["key"]): _decode(row["value"]) for row in rows}

    async def invocations(self) -> list[InvocationStatus]:
        """All that the cluster knows, of all partitions."""
        node = (await self._ready()).node
        assert node is not None
        table = node.cache.partition_table.value
        found: list[InvocationStatus] = []
        for partition in table.partitions.values():
            rows = await self.rows(sql.SYS_INVOCATION, partition.key_range.start)
            found.extend(map(_status, rows))
        return found

    async def rows(
        self,
        table: Table,
        partition_key: int,
        *,
        invocation: RawInvocationId | None = None,
        service: str | None = None,
        key: str | None = None,
    ) -> list[dict[str, Any]]:
        """Rows of a table of introspection, by column, from the partition of that key."""
        rows: list[dict[str, Any]] = []
        after: bytes | None = b""
        while after is not None:
            request = _read(table.name, after, invocation, service, key)
            page = await self._ask(
                lambda node, request=request: _calls(node).call(partition_key, request, Rows)
            )
            rows.extend(dict(zip(table.names, row, strict=True)) for row in page.rows)
            after = page.after
        return rows

    # ------------------------------------------------------------ inside

    async def _make(
        self,
        target: str,
        argument: object,
        delay: timedelta | float | None,
        idempotency_key: str | None,
        headers: Mapping[str, str] | None,
    ) -> tuple[Submission, str | None]:
        """The invocation, and the content type of its result."""
        node = (await self._ready()).node
        assert node is not None, "a machine that is ready has a node"
        handler, key = self._handler(node, target)
        wanted = CallRequest(
            handler,
            key,
            _encode(argument),
            _headers(argument, headers or {}),
            idempotency_key,
            _milliseconds(delay),
        )
        made = _invocations(node).invocation(wanted)
        if idempotency_key is None and made.target.kind is not TargetKind.WORKFLOW_RUN:
            kept = Retention(KEPT_MS, made.retention.journal_ms)
            made = msgspec.structs.replace(made, retention=kept)
        return made, handler.output.content_type

    async def attach_to(self, invocation: RawInvocationId, *, wait: bool) -> Attached:
        """For `Invocation`."""
        return await self._ask(lambda node: _invocations(node).attach(invocation, wait=wait))

    async def control(self, invocation: RawInvocationId, control: Control) -> None:
        """For `Invocation`."""
        request = ControlRequest(control, invocation)
        done = await self._ask(lambda node: _controls(node).control(request))
        if done.status is ControlStatus.NOT_FOUND:
            raise NotFound(f"there is no invocation {id_text(invocation)}")
        if done.status not in _DONE:
            what = control.name.lower()
            raise NotPossible(f"cannot {what} {id_text(invocation)}: {done.status.name}")

    async def _notify(self, awakeable: str, outcome: Outcome) -> None:
        invocation, number = parse_awakeable_id(awakeable)
        entry: Entry = signal(SignalIndex(number), outcome)
        await self._ask(lambda node: _invocations(node).notify(invocation, entry))

    async def _ask(self, ask: Ask[Reply]) -> Reply:
        """The answer; of another node if the one dies that was asked, or knows no leader that
        answers. Raises TestingError when no node does.
        """
        in_vain: set[str] = set()
        while True:
            machine = await self._ready(in_vain)
            asking = await self._ask_one(machine, ask)
            if not asking.done():
                continue
            try:
                return asking.result()
            except Unanswered as unanswered:
                in_vain.add(machine.name)
                if in_vain.issuperset(each.name for each in self._machines.ready):
                    raise TestingError(f"no leader has answered: {unanswered}") from None

    async def _ask_one(self, machine: Machine, ask: Ask[Reply]) -> asyncio.Task[Reply]:
        """The request, as part of the node's life: done, unless that has ended first."""
        assert machine.node is not None and machine.incarnation is not None
        life = machine.incarnation
        died: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        life.at_death(lambda _: None if died.done() else died.set_result(None))
        self.asked += 1
        asking = self._machines.processes.spawn(life, ask(machine.node), "test client")
        # Cancellation leaves the request to itself: its answer finds nobody.
        await asyncio.wait((asking, died), return_when=asyncio.FIRST_COMPLETED)
        self.asked += 1
        return asking

    async def _ready(self, avoided: Collection[str] = ()) -> Machine:
        for _ in range(LOOKS_MAX):
            ready = [each for each in self._machines.ready if each.name not in avoided]
            if ready:
                return ready[0]
            await asyncio.sleep(LOOK_S)
        raise NotPossible("no node is up: start one before you ask")

    def _handler(self, node: Node, target: str) -> tuple[ResolvedHandler, str | None]:
        service, *key, handler = target.split("/")
        schema, defaults = node.cache.schema.value, HandlerDefaults.of(node.options)
        found = schema.handler(service, handler, defaults)
        if found is None or (not key and found.kind.is_keyed) or (key and not found.kind.is_keyed):
            known = ", ".join(schema.service_names()) or "none"
            raise NotRegistered(
                f"there is no {target!r}; it is Service/handler, or Service/key/handler for "
                f"virtual objects and workflows. Registered services: {known}"
            )
        return found, "/".join(key) if key else None


@dataclass(frozen=True, slots=True)
class Invocation:
    """One invocation, to be followed."""

    client: Client
    raw_id: RawInvocationId
    content_type: str | None

    @property
    def id(self) -> str:
        """`inv_1…`."""
        return id_text(self.raw_id)

    async def attach(self) -> Any:
        """Its result, as soon as it has one. Raises HandlerFailed, NotFound."""
        return self._result(await self.client.attach_to(self.raw_id, wait=True))

    async def output(self) -> Any:
        """Its result. Raises NotEnded if it has none yet, HandlerFailed, NotFound."""
        return self._result(await self.client.attach_to(self.raw_id, wait=False))

    async def status(self) -> InvocationStatus:
        """Raises NotFound."""
        key = partition_key_of_id(self.raw_id)
        rows = await self.client.rows(sql.SYS_INVOCATION, key, invocation=self.raw_id)
        if not rows:
            raise NotFound(f"there is no invocation {self.id}")
        return _status(rows[0])

    async def journal(self) -> list[dict[str, Any]]:
        """Its journal so far, rows of `sys_journal`."""
        key = partition_key_of_id(self.raw_id)
        return await self.client.rows(sql.SYS_JOURNAL, key, invocation=self.raw_id)

    async def events(self) -> list[dict[str, Any]]:
        """What went wrong with it, rows of `sys_journal_events`."""
        key = partition_key_of_id(self.raw_id)
        return await self.client.rows(sql.SYS_JOURNAL_EVENTS, key, invocation=self.raw_id)

    async def cancel(self) -> None:
        """Let it fail at its next step, so that it can compensate."""
        await self.client.control(self.raw_id, Control.CANCEL)

    async def kill(self) -> None:
        """End it at once."""
        await self.client.control(self.raw_id, Control.KILL)

    async def pause(self) -> None:
        await self.client.control(self.raw_id, Control.PAUSE)

    async def resume(self) -> None:
        await self.client.control(self.raw_id, Control.RESUME)

    async def purge(self) -> None:
        """Forget it."""
        await self.client.control(self.raw_id, Control.PURGE)

    def _result(self, attached: Attached) -> Any:
        match attached.status:
            case AttachStatus.NOT_FOUND:
                raise NotFound(f"there is no invocation {self.id}")
            case AttachStatus.NOT_READY:
                raise NotEnded(f"{self.id} has no outcome yet")
            case AttachStatus.OUTPUT_FORGOTTEN:
                raise NotFound(f"the outcome of {self.id} is forgotten")
            case AttachStatus.ENDED:
                assert attached.outcome is not None
                return _value(attached.outcome, self.content_type)


def _value(outcome: Outcome, content_type: str | None) -> Any:
    if isinstance(outcome, Failure):
        raise HandlerFailed(outcome.code, outcome.message)
    is_json = content_type is None or content_type == JSON
    return _decode(outcome.value) if is_json else outcome.value


def _status(row: dict[str, Any]) -> InvocationStatus:
    return InvocationStatus(
        id=row["id"],
        target=row["target"],
        status=row["status"],
        retry_count=row["retry_count"] or 0,
        last_failure=row["last_failure"],
        columns=row,
    )


def _read(
    table: str,
    after: bytes,
    invocation: RawInvocationId | None,
    service: str | None,
    key: str | None,
) -> Callable[[PartitionId], ReadRows]:
    return lambda partition: ReadRows(partition, table, after, invocation, service, key)


def _calls(node: Node) -> PartitionCalls:
    assert node.calls is not None, "a node that is ready has them"
    return node.calls


def _invocations(node: Node) -> InvocationClient:
    return InvocationClient(_calls(node), node.ports.clock, node.ports.stream())


def _controls(node: Node) -> InvocationControl:
    return InvocationControl(_calls(node), node.ports.stream())


def _headers(argument: object, given: Mapping[str, str]) -> tuple[Header, ...]:
    headers = {name.lower(): value for name, value in given.items()}
    if argument is not None and not isinstance(argument, bytes):
        headers.setdefault("content-type", JSON)
    return tuple(Header(name, value) for name, value in headers.items())


def _milliseconds(duration: timedelta | float | None) -> int | None:
    if duration is None:
        return None
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
    return int(seconds * 1000)


def _encode(argument: object) -> bytes:
    if argument is None:
        return b""
    return argument if isinstance(argument, bytes) else json.dumps(argument).encode()


def _decode(value: bytes) -> Any:
    """JSON, or the bytes that are none."""
    if not value:
        return None
    try:
        return json.loads(value)
    except ValueError:
        return value
