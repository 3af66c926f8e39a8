"""Who waits for what of a partition: the open questions of ingresses and operators, at its leader.

    SubmitInvocation ─▶ Accepted ─▶ answer, or wait on ─▶ Ended ─▶ answer
    AttachInvocation ───────────────────────────────────▶ Ended ─▶ answer
    ControlInvocation ─▶ Operated ─▶ answer

Nothing here is in any table. When the term ends, all who wait are told that nobody knows, and ask
again, with the same id, whoever leads then. Who has waited for `ROUND_S` is told that it takes
longer, and asks again if somebody still wants to know: so nothing is kept for those who left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from restate_node.fabric.router import Reply
from restate_node.protocol.partition.effects import Accepted, Ended, Operated
from restate_node.types.fabric import RpcCode, RpcFailure
from restate_node.types.invocation_messages import (
    Attached,
    AttachStatus,
    Controlled,
    Submitted,
)
from restate_node.types.invocations import RawInvocationId

QUESTIONS_MAX: Final = 100_000
ROUND_S: Final = 20.0
SWEEP_S: Final = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class _Submission:
    """A call on its way to the log."""

    reply: Reply
    wait: bool
    joins: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """Somebody who wants to know the end. `is_new` is None for who attached."""

    reply: Reply
    is_new: bool | None
    until: float

    def answer(self, ended: Ended) -> None:
        """Tell the end."""
        if self.is_new is not None:
            self.reply(Submitted(self.is_new, None, ended.outcome, ended.expires_at_ms))
        else:
            status, expires = AttachStatus.ENDED, ended.expires_at_ms
            self.reply(Attached(status, ended.outcome, expires, ended.target))


class Submissions:
    """The open questions of one term. `now` is monotonic time in seconds."""

    def __init__(self) -> None:
        self._submitted: dict[tuple[RawInvocationId, int], list[_Submission]] = {}
        self._waiting: dict[RawInvocationId, list[_Waiting]] = {}
        self._operations: dict[bytes, Reply] = {}

    @property
    def is_full(self) -> bool:
        """True when no further question can be kept."""
        open_questions = len(self._submitted) + len(self._waiting) + len(self._operations)
        return open_questions >= QUESTIONS_MAX

    # ------------------------------------------------------------ questions

    def submitted(
        self, invocation: RawInvocationId, seed: int, reply: Reply, wait: bool, joins: bool
    ) -> None:
        """A call was submitted: answer when it is accepted, or has ended. `joins`: also wait for
        the end when another call has begun it.
        """
        submission = _Submission(reply, wait, joins)
        self._submitted.setdefault((invocation, seed), []).append(submission)

    def failed(self, invocation: RawInvocationId, seed: int, failure: RpcFailure) -> None:
        """The call could not be written."""
        for submission in self._submitted.pop((invocation, seed), []):
            submission.reply(failure)

    def wait(
        self, invocation: RawInvocationId, reply: Reply, is_new: bool | None, now: float
    ) -> None:
        """Answer when the invocation has ended."""
        waiting = _Waiting(reply, is_new, now + ROUND_S)
        self._waiting.setdefault(invocation, []).append(waiting)

    def operate(self, ticket: bytes, reply: Reply) -> None:
        """Answer when the operation was applied."""
        self._operations[ticket] = reply

    # ------------------------------------------------------------ answers

    def accepted(self, effect: Accepted, now: float) -> None:
        """The call is in the log."""
        submissions = self._submitted.pop((effect.invocation, effect.random_seed), [])
        for submission in submissions:
            if submission.wait and (effect.is_new or submission.joins):
                self.wait(effect.invocation, submission.reply, effect.is_new, now)
            else:
                submission.reply(Submitted(effect.is_new, effect.start_at_ms))

    def ended(self, effect: Ended) -> None:
        """The invocation has an outcome."""
        for waiting in self._waiting.pop(effect.invocation, []):
            waiting.answer(effect)

    def operated(self, effect: Operated) -> None:
        """The operation was applied."""
        reply = self._operations.pop(effect.ticket, None)
        if reply is not None:
            reply(Controlled(effect.status, effect.new_invocation))

    def operation_failed(self, ticket: bytes, failure: RpcFailure) -> None:
        """The operation could not be written."""
        reply = self._operations.pop(ticket, None)
        if reply is not None:
            reply(failure)

    def sweep(self, now: float) -> None:
        """End the rounds that are over."""
        for invocation, questions in list(self._waiting.items()):
            if questions[0].until > now:
                continue
            left = [question for question in questions if question.until > now]
            for question in questions[: len(questions) - len(left)]:
                question.reply(RpcFailure(RpcCode.TIMEOUT, "it has not ended yet: ask again"))
            if left:
                self._waiting[invocation] = left
            else:
                del self._waiting[invocation]

    def close(self, reason: str) -> None:
        """The term is over: all may have happened."""
        failure = RpcFailure(RpcCode.CONNECTION_LOST, reason)
        replies = [one.reply for some in self._submitted.values() for one in some]
        replies += [one.reply for some in self._waiting.values() for one in some]
        replies += self._operations.values()
        self._submitted.clear()
        self._waiting.clear()
        self._operations.clear()
        for reply in replies:
            reply(failure)
