"""The linearizability checker against small histories and against brute force."""

from __future__ import annotations

import random
from itertools import permutations

import pytest

from restate_node.sim.linearizability import (
    CompareAndSwap,
    Operation,
    Read,
    Recorder,
    Verdict,
    Write,
    check,
    check_register,
    step,
    violations,
)


def write(value: int, called: float, returned: float | None) -> Operation:
    return Operation("k", Write(value), called, returned)


def read(result: int | None, called: float, returned: float | None) -> Operation:
    return Operation("k", Read(), called, returned, result)


def swap(
    expected: int | None, value: int, called: float, returned: float | None, done: bool = False
) -> Operation:
    return Operation("k", CompareAndSwap(expected, value), called, returned, done)


GOOD = Verdict.LINEARIZABLE
BAD = Verdict.VIOLATION

CASES: dict[str, tuple[list[Operation], Verdict]] = {
    "empty": ([], GOOD),
    "initial value": ([read(None, 0, 1)], GOOD),
    "value from nowhere": ([read(1, 0, 1)], BAD),
    "read own write": ([write(1, 0, 1), read(1, 2, 3)], GOOD),
    "stale read": ([write(1, 0, 1), write(2, 2, 3), read(1, 4, 5)], BAD),
    "concurrent write, either": ([write(1, 0, 5), read(None, 1, 2), read(1, 3, 4)], GOOD),
    "concurrent write, back again": ([write(1, 0, 9), read(1, 1, 2), read(None, 3, 4)], BAD),
    "touching is concurrent": ([write(1, 0, 1), read(None, 1, 2)], GOOD),
    "swap": ([write(1, 0, 1), swap(1, 2, 2, 3, True), read(2, 4, 5)], GOOD),
    "swap of the wrong value": ([write(1, 0, 1), swap(3, 2, 2, 3, True)], BAD),
    "swap failed though it fits": ([write(1, 0, 1), swap(1, 2, 2, 3, False)], BAD),
    "two winners": ([swap(None, 1, 0, 9, True), swap(None, 2, 1, 8, True)], BAD),
    "one winner": ([swap(None, 1, 0, 9, True), swap(None, 2, 1, 8, False)], GOOD),
    "unanswered write never": ([write(1, 0, None), read(None, 1, 2)], GOOD),
    "unanswered write late": ([write(1, 0, None), read(None, 1, 2), read(1, 3, 4)], GOOD),
    "unanswered write twice": (
        [write(1, 0, None), read(1, 1, 2), write(2, 3, 4), read(2, 5, 6), read(1, 7, 8)],
        BAD,
    ),
    "unanswered swap": ([swap(None, 1, 0, None), read(1, 1, 2)], GOOD),
    "unanswered read": ([read(7, 0, None), write(1, 1, 2)], GOOD),
    "effect before the call": ([read(1, 0, 1), write(1, 2, None)], BAD),
}


@pytest.mark.parametrize("name", CASES)
def test_small_histories(name: str) -> None:
    """Goal: the verdict people reach by hand."""
    operations, verdict = CASES[name]
    assert check_register("k", operations).verdict is verdict


def by_brute_force(operations: list[Operation]) -> bool:
    """Try every order of every subset that holds all answered operations."""
    optional = [o for o in operations if o.returned_at is None]
    required = [o for o in operations if o.returned_at is not None]
    for mask in range(1 << len(optional)):
        chosen = required + [o for bit, o in enumerate(optional) if mask >> bit & 1]
        if any(explains(order) for order in permutations(chosen)):
            return True
    return False


def explains(order: tuple[Operation, ...]) -> bool:
    state = None
    for position, operation in enumerate(order):
        for later in order[position + 1 :]:
            if later.returned_at is not None and later.returned_at < operation.called_at:
                return False
        outcome = step(state, operation)
        if outcome is None:
            return False
        state = outcome.state
    return True


def random_operation(randomness: random.Random) -> Operation:
    called = randomness.randrange(12)
    returned = None if randomness.random() < 0.25 else called + randomness.randrange(1, 6)
    value = randomness.randrange(2)
    match randomness.randrange(3):
        case 0:
            return write(value, called, returned)
        case 1:
            return read(randomness.choice([None, 0, 1]), called, returned)
        case _:
            expected = randomness.choice([None, 0, 1])
            return swap(expected, value, called, returned, randomness.random() < 0.5)


def test_agrees_with_brute_force() -> None:
    """Goal: search and enumeration agree. Method: random histories of up to six operations."""
    randomness = random.Random(1)
    seen = {True: 0, False: 0}
    for _ in range(1500):
        operations = [random_operation(randomness) for _ in range(randomness.randint(1, 6))]
        expected = by_brute_force(operations)
        found = check_register("k", operations).verdict is Verdict.LINEARIZABLE
        assert found is expected, operations
        seen[expected] += 1
    assert min(seen.values()) > 200


def true_history(count: int, clients: int, unanswered: float, seed: int) -> list[Operation]:
    """What clients of a real register see, each operation with an instant inside its interval."""
    randomness = random.Random(seed)
    free = [0.0] * clients
    plan: list[tuple[float, float, float]] = []
    for _ in range(count):
        client = free.index(min(free))
        called = free[client] + randomness.random() * 0.1
        effect = called + randomness.random()
        free[client] = effect + randomness.random()
        plan.append((effect, called, free[client]))
    history: list[Operation] = []
    state: int | None = None
    for _, called, returned in sorted(plan):
        end = None if randomness.random() < unanswered else returned
        match randomness.randrange(3):
            case 0:
                state = randomness.randrange(100)
                history.append(write(state, called, end))
            case 1:
                history.append(read(state, called, end))
            case _:
                expected, value = randomness.choice([state, 5]), randomness.randrange(100)
                history.append(swap(expected, value, called, end, state == expected))
                state = value if state == expected else state
    return history


@pytest.mark.parametrize("seed", range(3))
def test_long_histories(seed: int) -> None:
    """Goal: hundreds of operations of five clients, some unanswered, and one planted lie."""
    history = true_history(400, 5, 0.03, seed)
    assert check_register("k", history).verdict is Verdict.LINEARIZABLE
    victim = next(
        index
        for index, operation in enumerate(history)
        if index > 200 and operation.request == Read() and operation.returned_at is not None
    )
    lie = history[victim]
    history[victim] = read(-1, lie.called_at, lie.returned_at)
    finding = check_register("k", history)
    assert finding.verdict is Verdict.VIOLATION
    assert finding.operation == history[victim]
    assert "violation at" in str(finding)


def test_gives_up_within_bounds() -> None:
    """Goal: a history too wide for the limit is undecided, which is not a success."""
    history = [write(number, 0, 10) for number in range(30)]
    findings = check(history, configurations_max=1000)
    assert [finding.verdict for finding in findings] == [Verdict.UNDECIDED]
    assert violations(findings) == findings


def test_keys_are_judged_alone() -> None:
    """Goal: one finding per key; a violation of one does not touch another."""
    good = Operation("a", Write(1), 0, 1)
    bad = Operation("b", Read(), 0, 1, 7)
    findings = check([good, bad], initial=0)
    assert [(f.key, f.verdict) for f in findings] == [("a", GOOD), ("b", BAD)]
    assert findings[1].states == (0,)


def test_recorder_tells_the_three_ends() -> None:
    """Goal: answered, refused and unknown operations enter the history as such."""
    times = iter(range(100))
    recorder = Recorder(lambda: float(next(times)))
    recorder.call("k", Write(1)).returned()
    recorder.call("k", Write(2)).refused()
    recorder.call("k", Write(3))
    recorder.call("k", Read()).returned(3)
    assert recorder.history() == [write(1, 0, 1), write(3, 3, None), read(3, 4, 5)]
    assert violations(check(recorder.history())) == []
