"""What follows a failed attempt: another one after a pause, or none.

    attempt fails ──▶ the SDK says PAUSE or FAIL ─▶ that
                  ├─▶ the SDK names a pause, or a busy service asks for one ─▶ attempt after it
                  ├─▶ attempts are used up       ─▶ pause the invocation, or kill it
                  └─▶ otherwise                  ─▶ initial · factor^(attempts - 1), within a bound

Attempts count from the last progress: a new entry in the journal begins again at one. A pause that
the SDK names comes from a policy in user code (that of a run), which has its own end; it is obeyed
even when attempts are used up. So is that of a service that answers 429 or 503 with `Retry-After`:
it is well, and will have time for us.

Driven by the invoker of a partition's leader.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import Final, TypeAlias

from restate_node.types.attempts import AttemptFailure, FailureBehavior
from restate_node.types.options import OnAttemptsExhausted

JITTER_SHARE: Final = 0.3
"""A pause is up to this much longer, so that those who failed together do not return together."""

WAIT_ASKED_MS_MAX: Final = 24 * 60 * 60 * 1000
BUSY: Final = (429, 503)
"""Statuses of a service, or of a proxy before it, that takes no more requests now."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Pauses between attempts; `attempts_max` counts all attempts, None is for ever."""

    initial_ms: int
    factor: float
    max_interval_ms: int
    attempts_max: int | None
    on_exhausted: OnAttemptsExhausted


def wait_asked_for_ms(status: int, retry_after: str | None) -> int | None:
    """What a service that has too much to do asks for in `Retry-After`, in seconds. The other form
    of the header, a date, is not taken: clocks differ by more than such a wait lasts.
    """
    if status not in BUSY or retry_after is None or not retry_after.strip().isdecimal():
        return None
    return min(int(retry_after.strip()[:12]) * 1000, WAIT_ASKED_MS_MAX)


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """Try again, not sooner than in this time."""

    delay_ms: int


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait for an operator."""


@dataclass(frozen=True, slots=True)
class Kill:
    """The invocation ends with this failure."""


NextStep: TypeAlias = RetryAfter | Pause | Kill


def next_step(
    policy: RetryPolicy, attempts: int, failure: AttemptFailure, jitter: float
) -> NextStep:
    """After so many attempts in a row without progress, this one included.

    `jitter` is a number in [0, 1), drawn by the caller.
    """
    assert attempts >= 1, f"{attempts} attempts cannot have failed"
    assert 0 <= jitter < 1, f"jitter {jitter} is not in [0, 1)"
    match failure.behavior:
        case FailureBehavior.PAUSE:
            return Pause()
        case FailureBehavior.FAIL:
            return Kill()
        case FailureBehavior.RETRY:
            return _retry(policy, attempts, failure.next_retry_delay_ms, jitter)


def _retry(policy: RetryPolicy, attempts: int, wanted_ms: int | None, jitter: float) -> NextStep:
    if wanted_ms is not None:
        return RetryAfter(wanted_ms)
    if policy.attempts_max is not None and attempts >= policy.attempts_max:
        return Kill() if policy.on_exhausted is OnAttemptsExhausted.KILL else Pause()
    return RetryAfter(round(_pause_ms(policy, attempts) * (1 + JITTER_SHARE * jitter)))


def _pause_ms(policy: RetryPolicy, attempts: int) -> float:
    """Compares exponents first: a thousand attempts are no number that a float can hold."""
    first, longest = policy.initial_ms, policy.max_interval_ms
    if first >= longest:
        return longest
    if policy.factor <= 1 or first == 0:
        return first
    if (attempts - 1) * log(policy.factor) >= log(longest / first):
        return longest
    return min(first * policy.factor ** (attempts - 1), longest)
