"""What an ingress and an admin node ask of the leader of a partition, about invocations.

    SubmitInvocation    run this; answered when it is in the log, or with its outcome
    AttachInvocation    how did that end? at once, or when it has ended
    NotifyInvocation    a signal for it: an awakeable, a cancellation
    ControlInvocation   kill, pause, resume, purge, restart
    ReadRows            rows of one table of the partition, for queries

All are idempotent by the id of the invocation, so that whoever lost an answer asks again, of
whoever leads by then. A node that does not lead the partition answers NOT_READY.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import msgspec

from restate_node.types.ids import PartitionId
from restate_node.types.invocations import Invocation, Outcome, RawInvocationId
from restate_node.types.journal import Entry
from restate_node.types.targets import Target


class _Message(msgspec.Struct, frozen=True, array_like=True):
    """Base of all messages here."""


class SubmitInvocation(_Message, frozen=True):
    """Run it, unless an invocation of that id exists: then this is about that one.

    With `wait` the answer comes when it has ended, and may take as long as the handler does; a
    caller that stops waiting asks again with the same invocation, or attaches.
    """

    partition: PartitionId
    invocation: Invocation
    wait: bool


class Submitted(_Message, frozen=True):
    """It is in the log. `outcome` is there if the caller wanted to wait for it."""

    is_new: bool
    """False: an invocation of that id existed before."""
    start_at_ms: int | None = None
    outcome: Outcome | None = None
    expires_at_ms: int | None = None
    """When the outcome is forgotten."""


class AttachInvocation(_Message, frozen=True):
    """How did it end? With `wait` the answer comes when it has."""

    partition: PartitionId
    invocation: RawInvocationId
    wait: bool


class AttachStatus(IntEnum):
    """What is known."""

    NOT_FOUND = 0
    """No such invocation, or it is forgotten."""
    NOT_READY = 1
    """It has not ended."""
    ENDED = 2
    OUTPUT_FORGOTTEN = 3
    """It has ended, and how is no longer known."""


class Attached(_Message, frozen=True):
    """How it ended, if it has."""

    status: AttachStatus
    outcome: Outcome | None = None
    expires_at_ms: int | None = None
    target: Target | None = None
    """What was called, with an outcome: its handler says what kind of content that is."""


class NotifyInvocation(_Message, frozen=True):
    """Give a signal to an invocation: a SIGNAL_NOTIFICATION entry. Answered by `Proposed`, also
    when there is no such invocation: a signal is sent, not delivered.
    """

    partition: PartitionId
    invocation: RawInvocationId
    signal: Entry


class Control(IntEnum):
    """What an operator can do with an invocation."""

    CANCEL = 0
    KILL = 1
    PAUSE = 2
    RESUME = 3
    PURGE = 4
    PURGE_JOURNAL = 5
    RESTART_AS_NEW = 6


class ControlInvocation(_Message, frozen=True):
    """Do it; answered when it was applied, or refused.

    `deployment` names the one to resume or restart on. None: a resumed one stays where it is
    pinned, a restarted one goes to the latest when it runs. `copy_entries`: how many entries behind
    the input a restart keeps; then it MUST name the deployment.
    """

    partition: PartitionId
    invocation: RawInvocationId
    control: Control
    deployment: str | None = None
    new_invocation: RawInvocationId | None = None
    """The id that a restart gives out: drawn by the caller, so that a second try is no second
    restart.
    """
    copy_entries: int = 0
    protocol_version: int | None = None
    """What a restart from the beginning speaks with `deployment`."""


class ControlStatus(IntEnum):
    """What became of it."""

    DONE = 0
    ALREADY = 1
    """There was nothing to do: it was paused already, and the like."""
    ACCEPTED = 2
    """It will happen: a running invocation was told."""
    NOT_FOUND = 3
    NOT_RUNNING = 4
    """It has ended, or has not begun and cannot be paused: refused."""
    NOT_COMPLETED = 5
    """It has not ended: refused."""
    UNSUPPORTED = 6
    """Such an invocation cannot be treated so: refused."""
    JOURNAL_MISSING = 7
    """The journal that it needs is gone: refused."""
    NOT_BEGUN = 8
    """It waits for its time or its key: refused."""
    PREFIX_OPEN = 9
    """What a restart is to keep is not all there, or not all answered: refused."""
    PIN_FIXED = 10
    """It runs, or is not pinned yet: going on elsewhere is refused."""


class Controlled(_Message, frozen=True):
    """What became of it."""

    status: ControlStatus
    new_invocation: RawInvocationId | None = None


class ReadRows(_Message, frozen=True):
    """Rows of a table of one partition, as of some moment while the answer is made.

    A page: as many as fit, behind the key `after` (opaque, from the last answer; empty begins).
    `invocation`, `service` and `key` leave out rows of others, if the table has such a column.
    """

    partition: PartitionId
    table: str
    after: bytes = b""
    invocation: RawInvocationId | None = None
    service: str | None = None
    key: str | None = None
    rows_max: int = 1024


class Rows(_Message, frozen=True):
    """A page. `after` is None when it is the last one. A row is its values in the order of the
    table's columns: None, bool, int, str, bytes, or a list of these; times in ms since 1970.
    """

    rows: list[list[Any]]
    after: bytes | None
