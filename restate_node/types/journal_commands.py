"""What the commands of a journal mean, decoded: what a partition has to do about each.

An SDK's message is kept as it came (`types.journal.Entry`); this is what a server has to know of
it. Whatever has no consequence beyond being recorded (Run, eager reads, Input, commands of an SDK's
own) means `Nothing`.

`completion` numbers are chosen by the SDK and come back in the notification that completes the
command.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from restate_node.types.invocations import Header, Outcome, RawInvocationId
from restate_node.types.journal import SignalIndex, SignalName


class _Meaning(msgspec.Struct, frozen=True):
    """Base of all meanings."""


class Nothing(_Meaning, frozen=True):
    """Recorded, and that is all."""


class Output(_Meaning, frozen=True):
    """How the handler ended."""

    outcome: Outcome


class SetState(_Meaning, frozen=True):
    name: str
    value: bytes


class ClearState(_Meaning, frozen=True):
    name: str


class ClearAllState(_Meaning, frozen=True):
    pass


class GetState(_Meaning, frozen=True):
    """Read an entry that was not sent along with the start."""

    name: str
    completion: int


class GetStateKeys(_Meaning, frozen=True):
    completion: int


class GetPromise(_Meaning, frozen=True):
    """Wait for a promise of the workflow."""

    name: str
    completion: int


class PeekPromise(_Meaning, frozen=True):
    name: str
    completion: int


class CompletePromise(_Meaning, frozen=True):
    name: str
    outcome: Outcome
    completion: int


class Sleep(_Meaning, frozen=True):
    wake_up_ms: int
    completion: int


class Call(_Meaning, frozen=True):
    """A call of another handler. `completion` is None when nobody waits for its end."""

    service: str
    handler: str
    key: str
    argument: bytes
    headers: tuple[Header, ...]
    idempotency_key: str | None
    id_completion: int
    """Completed by the id of the new invocation."""
    completion: int | None
    start_at_ms: int | None = None


class SendSignal(_Meaning, frozen=True):
    """Give another invocation a signal, None being a signal without a value. An awakeable is
    completed the same way.
    """

    invocation: RawInvocationId
    signal: SignalIndex | SignalName
    outcome: Outcome | None


class WorkflowTarget(_Meaning, frozen=True):
    """The run of a workflow."""

    service: str
    key: str


class IdempotentTarget(_Meaning, frozen=True):
    """The invocation that was made with an idempotency key; `key` is None for a service."""

    service: str
    key: str | None
    handler: str
    idempotency_key: str


OtherInvocation: TypeAlias = RawInvocationId | WorkflowTarget | IdempotentTarget


class Attach(_Meaning, frozen=True):
    """Learn how another invocation ended; with `wait` not before it has."""

    other: OtherInvocation
    completion: int
    wait: bool


Meaning: TypeAlias = (
    Nothing
    | Output
    | SetState
    | ClearState
    | ClearAllState
    | GetState
    | GetStateKeys
    | GetPromise
    | PeekPromise
    | CompletePromise
    | Sleep
    | Call
    | SendSignal
    | Attach
)
