"""Calls services through the ingress of a node: what it wants, and what clients of dead nodes
wanted, for the same invocations.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from random import Random
from typing import Any, Final

import msgspec

from restate_node.cluster.partition_calls import Unanswered
from restate_node.roles.http_ingress.submission import CallRequest, InvocationClient
from restate_node.sim.history_invocations import (
    InvocationAcknowledged,
    InvocationAnswered,
    InvocationCalled,
    InvocationUnknown,
    TimerSet,
)
from restate_node.sim.workloads.book import OpenCall, Wish
from restate_node.sim.workloads.handlers import DUE, outcome_text
from restate_node.sim.workloads.wishes import Wishes
from restate_node.sim.workloads.workload import Client, Stage, pause
from restate_node.sim.world import NodeLife
from restate_node.types.invocation_messages import AttachStatus
from restate_node.types.invocations import Outcome, Success, id_text

WONDER_PROBABILITY: Final = 0.3
WONDERING_MAX: Final = 8
LEAVE_PROBABILITY: Final = 0.2
"""That a client which has the promise goes away, and somebody else asks how it ended."""


class Caller:
    """The client of one life."""

    def __init__(self, life: NodeLife, stage: Stage) -> None:
        assert stage.load is not None, "who calls needs something to call"
        node, rng = life.node, life.rng
        assert node.calls is not None, "a node that is ready calls partitions"
        self._life = life
        self._book = stage.book
        self._load = stage.load
        self._wishes = Wishes(stage.load, stage.book, rng, life.name)
        self._client = InvocationClient(node.calls, node.ports.clock, Random(rng.getrandbits(64)))
        self._under_way: dict[asyncio.Task[None], None] = {}
        self._wondering = 0

    def adopt(self) -> None:
        """Go on with what nobody is at."""
        for call in self._book.orphans():
            if self._has_room:
                self._follow(call)

    def begin(self, *, may_invent: bool) -> None:
        """Call something new: what somebody wants, or, if it may, something of its own. A wish
        needs no room: who fills the room may wait for it.
        """
        if not self._life.node.cache.schema.value.deployments:
            return
        if self._book.wishes:
            self._follow(self._call(self._book.wishes.popleft()))
        elif may_invent and self._has_room and (wish := self._wishes.next()) is not None:
            self._follow(self._call(wish))

    def wonder(self) -> None:
        """Ask about a call of anybody that was promised to run: is it there? Also when calls fill
        the room: who is cut off with a leader of former days has no other questions answered.
        """
        promised = [call for call in self._book.open.values() if call.is_acknowledged]
        is_free = self._wondering < WONDERING_MAX
        if promised and is_free and self._life.rng.random() < WONDER_PROBABILITY:
            self._spawn(self._look_at(self._life.rng.choice(promised)))

    @property
    def _has_room(self) -> bool:
        return len(self._under_way) - self._wondering < self._load.under_way_max

    def _follow(self, call: OpenCall) -> None:
        call.owner = self._life.incarnation
        self._spawn(self._to_its_end(call))

    def _spawn(self, activity: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(activity)
        self._under_way[task] = None
        task.add_done_callback(lambda done: self._under_way.pop(done, None))

    def _call(self, wish: Wish) -> OpenCall:
        recorder, name = self._life.recorder, self._life.name
        handler = self._life.node.cache.schema.value.handler(wish.service, wish.handler)
        assert handler is not None, f"{wish.service}/{wish.handler} is registered"
        request = CallRequest(
            handler,
            wish.key or None,
            wish.argument.encode(),
            idempotency_key=wish.idempotency_key,
            delay_ms=wish.delay_ms,
        )
        invocation = self._client.invocation(request)
        if invocation.start_at_ms is not None:
            argument = f"{DUE}/{invocation.start_at_ms}/{wish.argument}".encode()
            invocation = msgspec.structs.replace(invocation, argument=argument)
        number, me = recorder.next_number(), self._life.incarnation
        call = OpenCall(number, invocation, wish.waits, me, is_single=bool(wish.single))
        self._book.open[call.number] = call
        where = (recorder.now(), name, call.number, id_text(invocation.id))
        what = (f"{wish.service}/{wish.handler}", wish.key, wish.argument, wish.single)
        recorder.add(InvocationCalled(*where, *what))
        return call

    # ------------------------------------------------------------ one call

    async def _to_its_end(self, call: OpenCall) -> None:
        """Until it is answered, or this client does not want to wait any longer."""
        try:
            if not call.is_acknowledged:
                await self._submit(call)
            if call.number in self._book.open and self._life.rng.random() >= LEAVE_PROBABILITY:
                await self._attach(call)
        except Unanswered:
            pass
        call.owner = None

    async def _submit(self, call: OpenCall) -> None:
        submitted = await self._client.submit(call.invocation, wait=call.waits)
        self._acknowledged(call)
        if submitted.outcome is not None:
            self._answered(call, submitted.outcome)

    async def _attach(self, call: OpenCall) -> None:
        attached = await self._client.attach(call.invocation.id, wait=True)
        if attached.status is AttachStatus.ENDED and attached.outcome is not None:
            self._answered(call, attached.outcome)
        else:
            assert attached.status is not AttachStatus.NOT_READY, "who waits is not told so"
            self._unknown(call)
            del self._book.open[call.number]

    async def _look_at(self, call: OpenCall) -> None:
        """It may be answered to another client meanwhile; it is known all the same."""
        self._wondering += 1
        try:
            attached = await self._client.attach(call.invocation.id, wait=False)
        except Unanswered:
            return
        finally:
            self._wondering -= 1
        if attached.status is AttachStatus.NOT_FOUND:
            self._unknown(call)

    # ------------------------------------------------------------ what it was told

    def _acknowledged(self, call: OpenCall) -> None:
        recorder = self._life.recorder
        call.is_acknowledged, call.acknowledged_at = True, recorder.now()
        recorder.add(InvocationAcknowledged(recorder.now(), self._life.name, call.number))
        due_ms = call.invocation.start_at_ms
        if due_ms is not None:
            name = call.invocation.argument.decode().split("/", 2)[2]
            due = recorder.now() + (due_ms - self._life.node.ports.clock.unix_ms()) / 1000
            recorder.add(TimerSet(recorder.now(), name, due))

    def _answered(self, call: OpenCall, outcome: Outcome) -> None:
        is_success = isinstance(outcome, Success)
        text = outcome_text(outcome)
        recorder = self._life.recorder
        where = (recorder.now(), self._life.name, call.number)
        recorder.add(InvocationAnswered(*where, text, not is_success))
        self._book.answered(call)
        target = call.invocation.target
        if (target.service, target.handler) == ("Register", "get"):
            self._book.values[target.key] = text

    def _unknown(self, call: OpenCall) -> None:
        recorder = self._life.recorder
        recorder.add(InvocationUnknown(recorder.now(), self._life.name, call.number))


async def _run(life: NodeLife, stage: Stage) -> None:
    """What was begun is ended, also when nothing new is begun any more."""
    if stage.load is None:
        return
    caller = Caller(life, stage)
    while True:
        await pause(life.rng, stage.load.pause_seconds)
        caller.adopt()
        caller.begin(may_invent=stage.writing)
        caller.wonder()


CLIENT: Final = Client("invocations", _run)
