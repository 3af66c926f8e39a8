"""Operators who do something to invocations, from one node: cancel, kill, pause, resume, purge, and
make a call again that has ended.

They know of calls that were promised to run, and of what has begun lately, whoever called it. What
they order they tell the history before they ask, and what became of it afterwards: an order whose
answer is lost may have been carried out.
"""

from __future__ import annotations

from random import Random
from typing import Final

import msgspec

from restate_node.cluster.partition_calls import Unanswered
from restate_node.roles.admin.invocation_control import ControlRequest, InvocationControl
from restate_node.sim.history_invocations import (
    ControlOrdered,
    ControlSaid,
    InvocationAcknowledged,
    InvocationCalled,
)
from restate_node.sim.workloads.book import SAFE_FROM_OPERATORS, Book, OpenCall
from restate_node.sim.workloads.workload import Client, Stage, pause
from restate_node.sim.world import NodeLife
from restate_node.types.invocation_messages import Control, Controlled
from restate_node.types.invocations import Invocation, RawInvocationId, id_text

WEIGHTS: Final = {
    Control.CANCEL: 3,
    Control.KILL: 3,
    Control.PAUSE: 4,
    Control.RESUME: 3,
    Control.PURGE: 2,
    Control.PURGE_JOURNAL: 1,
    Control.RESTART_AS_NEW: 2,
}
CALL_PROBABILITY: Final = 0.5
"""That it is about a call that is open; else about what has begun lately."""
SETTLED_SECONDS: Final = 2.0
"""What was promised so long ago is submitted by nobody any more: it may be purged."""


class Meddler:
    """The operators at one node."""

    def __init__(self, life: NodeLife) -> None:
        node = life.node
        assert node.calls is not None, "a node that is ready calls partitions"
        self._life = life
        self._control = InvocationControl(node.calls, Random(life.rng.getrandbits(64)))

    async def order(self, control: Control, invocation: RawInvocationId) -> Controlled | None:
        """Ask until it is known what became of it, or nobody answers: None."""
        recorder, name = self._life.recorder, self._life.name
        number = recorder.next_number()
        text = id_text(invocation)
        recorder.add(ControlOrdered(recorder.now(), name, number, text, control.name))
        try:
            said = await self._control.control(ControlRequest(control, invocation))
        except Unanswered:
            return None
        recorder.add(ControlSaid(recorder.now(), name, number, said.status.name))
        return said

    async def meddle(self, stage: Stage) -> None:
        """With one invocation, if there is any."""
        rng = self._life.rng
        controls, weights = zip(*WEIGHTS.items(), strict=True)
        control = rng.choices(controls, weights)[0]
        found = self._find(stage, control, about_a_call=rng.random() < CALL_PROBABILITY)
        if control is Control.RESTART_AS_NEW:
            if stage.book.ended:
                await self._again(stage.book, rng.choice(stage.book.ended))
        elif found:
            await self.order(control, rng.choice(found))

    async def _again(self, book: Book, before: Invocation) -> None:
        """Make a call once more. It is promised to run then, and clients ask how it ended."""
        said = await self.order(Control.RESTART_AS_NEW, before.id)
        if said is None or said.new_invocation is None:
            return
        again = msgspec.structs.replace(before, id=said.new_invocation, start_at_ms=None)
        recorder, name, target = self._life.recorder, self._life.name, before.target
        number, now = recorder.next_number(), recorder.now()
        path, argument = f"{target.service}/{target.handler}", before.argument.decode()
        where = (now, name, number, id_text(again.id))
        recorder.add(InvocationCalled(*where, path, target.key, argument, ""))
        recorder.add(InvocationAcknowledged(now, name, number))
        book.open[number] = OpenCall(number, again, False, None, True, now)

    def _find(self, stage: Stage, control: Control, *, about_a_call: bool) -> list[RawInvocationId]:
        is_purge = control in (Control.PURGE, Control.PURGE_JOURNAL)
        if not (about_a_call or is_purge):
            return list(stage.book.running)
        calls = [call for call in stage.book.open.values() if _is_fair_game(call)]
        if is_purge:
            limit = self._life.recorder.now() - SETTLED_SECONDS
            ended = [c for c in calls if c.invocation.id in stage.book.returned]
            calls = [c for c in ended if c.acknowledged_at < limit and not c.is_single]
        return [call.invocation.id for call in calls]


def _is_fair_game(call: OpenCall) -> bool:
    target = call.invocation.target
    path = f"{target.service}/{target.handler}"
    return call.is_acknowledged and not any(name in path for name in SAFE_FROM_OPERATORS)


async def _run(life: NodeLife, stage: Stage) -> None:
    """As long as there is trouble: what was paused has to end in time."""
    load = stage.load
    assert load is not None, "without invocations there is nothing to do"
    meddler = Meddler(life)
    while stage.writing:
        await pause(life.rng, load.pause_seconds)
        if life.rng.random() < load.meddling_probability:
            await meddler.meddle(stage)


CLIENT: Final = Client("meddling", _run)
