"""Invocations from the outside: given an id here, and from then on the same one.

    request ─▶ Invocation (id, target, retention …) ─▶ leader of its partition ─▶ in the log
                    └─ the same again, to whoever leads by then, until somebody answers

The id is what makes repeating harmless. It follows from the workflow key or from the idempotency
key if there is one, so that two clients, or one client twice, mean the same invocation; otherwise
it is drawn here, once for each request.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from restate_node.cluster.partition_calls import PartitionCalls
from restate_node.runtime.ports import Clock
from restate_node.types import textual_ids
from restate_node.types.invocation_messages import (
    Attached,
    AttachInvocation,
    NotifyInvocation,
    SubmitInvocation,
    Submitted,
)
from restate_node.types.invocations import (
    Header,
    Invocation,
    RawInvocationId,
    partition_key_of_id,
    raw_id,
)
from restate_node.types.journal import Entry
from restate_node.types.partition_keys import SERVICE_BUCKETS
from restate_node.types.processor_messages import Proposed
from restate_node.types.schema import WORKFLOW_RUN_HANDLER, ResolvedHandler
from restate_node.types.targets import Target, TargetKind

_UUID_BITS: Final = 128
_SEED_BITS: Final = 64


@dataclass(frozen=True, slots=True)
class CallRequest:
    """What a client wants to run."""

    handler: ResolvedHandler
    key: str | None
    argument: bytes
    headers: tuple[Header, ...] = ()
    idempotency_key: str | None = None
    delay_ms: int | None = None


class InvocationClient:
    """Makes invocations and follows them."""

    def __init__(self, calls: PartitionCalls, clock: Clock, rng: random.Random) -> None:
        self._calls = calls
        self._clock = clock
        self._rng = rng

    def invocation(self, request: CallRequest) -> Invocation:
        """The invocation that a request means."""
        handler = request.handler
        target = Target(handler.kind, handler.service, handler.handler, request.key or "")
        now_ms = self._clock.unix_ms()
        return Invocation(
            id=self._id_of(target, request.idempotency_key),
            target=target,
            argument=request.argument,
            headers=request.headers,
            idempotency_key=request.idempotency_key,
            start_at_ms=None if request.delay_ms is None else now_ms + request.delay_ms,
            retention=handler.retention(),
            created_at_ms=now_ms,
            random_seed=self._rng.getrandbits(_SEED_BITS),
        )

    async def submit(self, invocation: Invocation, *, wait: bool) -> Submitted:
        """Run it; with `wait` the answer comes with its outcome. Raises Unanswered.

        The leader knows by the random seed whether an invocation that exists is this very one,
        submitted before by an attempt whose answer was lost.
        """
        return await self._calls.call(
            partition_key_of_id(invocation.id),
            lambda partition: SubmitInvocation(partition, invocation, wait),
            Submitted,
            waits=wait,
        )

    async def attach(self, invocation: RawInvocationId, *, wait: bool) -> Attached:
        """How it ended; with `wait` not before it has. Raises Unanswered."""
        return await self._calls.call(
            partition_key_of_id(invocation),
            lambda partition: AttachInvocation(partition, invocation, wait),
            Attached,
            waits=wait,
        )

    async def notify(self, invocation: RawInvocationId, signal: Entry) -> None:
        """Give it a signal. Raises Unanswered."""
        await self._calls.call(
            partition_key_of_id(invocation),
            lambda partition: NotifyInvocation(partition, invocation, signal),
            Proposed,
        )

    def _id_of(self, target: Target, idempotency_key: str | None) -> RawInvocationId:
        known = known_id(target, idempotency_key)
        if known is not None:
            return known
        bucket = self._rng.randrange(SERVICE_BUCKETS)
        return raw_id(target.partition_key(None, bucket), self._rng.getrandbits(_UUID_BITS))


def known_id(target: Target, idempotency_key: str | None) -> RawInvocationId | None:
    """The id that follows from the call itself; None when it is drawn."""
    if target.kind is TargetKind.WORKFLOW_RUN:
        uuid = textual_ids.workflow_uuid(target.service, target.key)
    elif idempotency_key is not None:
        key = target.key if target.kind.is_keyed else None
        uuid = textual_ids.idempotent_uuid(target.service, target.handler, idempotency_key, key)
    else:
        return None
    return raw_id(target.partition_key(idempotency_key, 0), uuid)


def idempotent_target(service: str, handler: str, key: str | None) -> Target:
    """What a call with an idempotency key was made to. All kinds with a key lead to the same id;
    the run of a workflow takes no idempotency key, so there is nothing to be found.
    """
    kind = TargetKind.SERVICE if key is None else TargetKind.OBJECT_SHARED
    return Target(kind, service, handler, key or "")


def workflow_target(service: str, key: str) -> Target:
    """The run of a workflow."""
    return Target(TargetKind.WORKFLOW_RUN, service, WORKFLOW_RUN_HANDLER, key)
