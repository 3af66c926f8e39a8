"""What follows a failed attempt."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restate_node.protocol.invocation.retry import (
    JITTER_SHARE,
    WAIT_ASKED_MS_MAX,
    Kill,
    NextStep,
    Pause,
    RetryAfter,
    RetryPolicy,
    next_step,
    wait_asked_for_ms,
)
from restate_node.types.attempts import AttemptFailure, FailureBehavior
from restate_node.types.options import OnAttemptsExhausted

POLICY = RetryPolicy(100, 2.0, 1000, 5, OnAttemptsExhausted.PAUSE)
KILLING = replace(POLICY, on_exhausted=OnAttemptsExhausted.KILL)
ENDLESS = replace(POLICY, attempts_max=None)
ONCE = replace(KILLING, attempts_max=1)
FAILURE = AttemptFailure(500, "m")
IN_A_MINUTE = AttemptFailure(500, "m", next_retry_delay_ms=60_000)
AT_ONCE = AttemptFailure(500, "m", next_retry_delay_ms=0)
PAUSING = AttemptFailure(500, "m", behavior=FailureBehavior.PAUSE, next_retry_delay_ms=1)
FAILING = AttemptFailure(500, "m", behavior=FailureBehavior.FAIL)

STEPS: list[tuple[RetryPolicy, int, AttemptFailure, NextStep]] = [
    (POLICY, 1, FAILURE, RetryAfter(100)),
    (POLICY, 2, FAILURE, RetryAfter(200)),
    (POLICY, 4, FAILURE, RetryAfter(800)),
    (POLICY, 5, FAILURE, Pause()),
    (KILLING, 5, FAILURE, Kill()),
    (ONCE, 1, FAILURE, Kill()),
    (ENDLESS, 5, FAILURE, RetryAfter(1000)),
    (ENDLESS, 10**9, FAILURE, RetryAfter(1000)),
    (replace(ENDLESS, factor=1.0), 9, FAILURE, RetryAfter(100)),
    (replace(ENDLESS, initial_ms=0), 9, FAILURE, RetryAfter(0)),
    (replace(ENDLESS, initial_ms=2000), 1, FAILURE, RetryAfter(1000)),
    (POLICY, 1, IN_A_MINUTE, RetryAfter(60_000)),
    (POLICY, 9, IN_A_MINUTE, RetryAfter(60_000)),
    (POLICY, 1, AT_ONCE, RetryAfter(0)),
    (ENDLESS, 1, PAUSING, Pause()),
    (POLICY, 1, FAILING, Kill()),
]


@pytest.mark.parametrize(("policy", "attempts", "failure", "expected"), STEPS)
def test_steps(
    policy: RetryPolicy, attempts: int, failure: AttemptFailure, expected: NextStep
) -> None:
    """Goal: the rules of the module. How: policy, attempts, failure, what follows; no jitter."""
    assert next_step(policy, attempts, failure, 0.0) == expected


@pytest.mark.parametrize(
    ("status", "header", "expected"),
    [
        (503, "2", 2000),
        (429, " 0 ", 0),
        (503, None, None),
        (500, "2", None),
        (503, "soon", None),
        (503, "-1", None),
        (503, "Wed, 21 Oct 2026 07:28:00 GMT", None),
        (429, "9" * 400, WAIT_ASKED_MS_MAX),
    ],
)
def test_a_busy_service_asks_for_a_pause(
    status: int, header: str | None, expected: int | None
) -> None:
    """Goal: seconds of 429 and 503, bounded. Method: table."""
    assert wait_asked_for_ms(status, header) == expected


@given(st.integers(1, 10**6), st.floats(0, 1, exclude_max=True), st.floats(1.0, 50.0))
def test_pauses_are_within_bounds(attempts: int, jitter: float, factor: float) -> None:
    """Goal: jitter only adds, and not much. How: any attempt, any jitter, any factor."""
    policy = replace(ENDLESS, factor=factor)
    plain = next_step(policy, attempts, FAILURE, 0.0)
    jittered = next_step(policy, attempts, FAILURE, jitter)
    assert isinstance(plain, RetryAfter)
    assert isinstance(jittered, RetryAfter)
    assert 100 <= plain.delay_ms <= 1000
    assert plain.delay_ms <= jittered.delay_ms <= plain.delay_ms * (1 + JITTER_SHARE) + 1
