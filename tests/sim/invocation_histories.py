"""Good and bad histories of invocations; see `test_checkers`."""

from __future__ import annotations

from restate_node.sim.history import Event, Healed
from restate_node.sim.history_invocations import (
    EntryForgotten,
    EntryWritten,
    InvocationAcknowledged,
    InvocationAnswered,
    InvocationCalled,
    InvocationsSettled,
    InvocationUnknown,
    ObjectWritten,
    ReplayBroken,
    StepSeen,
    TimerRang,
    TimerSet,
)

SKEW = 0.2


def called(
    call: int, at: float, handler: str, argument: str = "", single: str = "", key: str = "k"
) -> Event:
    return InvocationCalled(at, "n1#1", call, f"inv_{call}", handler, key, argument, single)


def promised(call: int, at: float = 2.0) -> Event:
    return InvocationAcknowledged(at, "n1#1", call)


def answered(call: int, at: float, outcome: str, *, is_failure: bool = False) -> Event:
    return InvocationAnswered(at, "n1#1", call, outcome, is_failure)


def settled(at: float, *left: str) -> Event:
    return InvocationsSettled(at, left)


def entry(
    lsn: int, index: int, digest: str, node: str = "n1#1", *, is_command: bool = True
) -> Event:
    return EntryWritten(3.0, node, 0, lsn, "inv_1", index, is_command, digest)


def forgotten(lsn: int, index: int) -> Event:
    return EntryForgotten(3.0, "n1#1", 0, lsn, "inv_1", index)


def wrote(lsn: int, writer: str, node: str = "n1#1") -> Event:
    return ObjectWritten(3.0, node, 0, lsn, "Counter/k", writer)


def step(value: str, at: float = 3.0, expected: str = "") -> Event:
    return StepSeen(at, "inv_1", 0, value, expected)


def rang(at: float, due: float, timer: str = "t") -> Event:
    return TimerRang(at, timer, due, SKEW)


def added(call: int, at: float, token: str, total: str) -> list[Event]:
    return [called(call, at, "Counter/add", token), answered(call, at + 1, total)]


def tokens(call: int, at: float, text: str) -> list[Event]:
    return [called(call, at, "Counter/tokens"), answered(call, at + 1, text)]


def used(call: int, at: float, until: float, what: str, argument: str, result: str) -> list[Event]:
    return [called(call, at, f"Register/{what}", argument), answered(call, until, result)]


GOOD: dict[str, list[list[Event]]] = {
    "P4": [
        [entry(5, 1, "aa"), entry(5, 1, "aa", "n2#1"), entry(6, 2, "aa"), entry(5, 1, "aa")],
        [entry(5, 1, "aa"), forgotten(8, 1), entry(9, 1, "bb")],
        [entry(5, 1, "aa"), forgotten(9, 1), entry(9, 1, "bb")],
    ],
    "P5": [
        [wrote(1, "a"), wrote(2, "a"), wrote(3, "b"), wrote(1, "a", "n2#1")],
        [*used(1, 1, 2, "set", "x", ""), *used(2, 3, 4, "get", "", "x")],
        [*used(1, 1, 9, "set", "x", ""), *used(2, 3, 4, "get", "", "")],
        [*used(1, 1, 2, "swap", ">x", "yes"), *used(2, 3, 4, "swap", ">y", "no")],
        [called(1, 1, "Register/set", "x"), *used(2, 3, 4, "get", "", "x")],
    ],
    "P6": [
        [
            called(1, 1, "Signup/run", single="w"),
            called(2, 1, "Signup/run", single="w"),
            called(3, 1, "Signup/run", single="v"),
            answered(1, 2, "#1"),
            answered(2, 2, "#1"),
            answered(3, 2, "#2"),
        ],
        [*added(1, 1, "x", "1"), *added(2, 1, "y", "2")],
    ],
    "P7": [[rang(5.0, 5.0), rang(4.81, 5.0), rang(90.0, 5.0)]],
    "P7, in the end": [
        [TimerSet(1.0, "t", 5.0), rang(5.1, 5.0), settled(9.0)],
        [TimerSet(1.0, "t", 5.0)],
        [TimerSet(1.0, "t", 50.0), settled(9.0)],
    ],
    "P9": [
        [called(1, 1, "Program/run"), promised(1), answered(1, 3, "[]"), settled(9.0)],
        [called(1, 1, "Program/run"), settled(9.0)],
        [called(1, 1, "Program/run"), promised(1)],
    ],
    "P10": [
        [step("#1"), step("#1", 4.0), called(1, 1, "Program/run"), answered(1, 5, '["#1"]')],
        [step("inv_1/0", expected="inv_1/0")],
        [*added(1, 1, "x", "1"), *added(2, 5, "y", "2"), *tokens(3, 7, "x y z")],
        [*tokens(3, 1, ""), *added(1, 1, "x", "1")],
        [entry(5, 1, "aa"), entry(5, 1, "aa", "n2#1"), entry(6, 2, "bb")],
        [entry(5, 1, "aa", is_command=False), entry(6, 2, "aa", is_command=False)],
    ],
    "V3": [
        [Healed(9.0), called(1, 1, "Program/run"), answered(1, 68, "[]"), settled(70.0)],
        [Healed(9.0), called(1, 1, "Program/run")],
    ],
}

BAD: dict[str, list[list[Event]]] = {
    "P4": [
        [entry(5, 1, "aa"), entry(5, 1, "bb", "n2#1")],
        [entry(5, 1, "aa"), entry(6, 1, "aa")],
        [entry(5, 1, "aa"), forgotten(8, 2), entry(9, 1, "bb")],
        [ReplayBroken(3.0, "inv_1", "came twice")],
    ],
    "P5": [
        [wrote(1, "a"), wrote(2, "b"), wrote(3, "a")],
        [*used(1, 1, 2, "set", "x", ""), *used(2, 3, 4, "get", "", "")],
        [*used(1, 1, 2, "swap", ">x", "yes"), *used(2, 3, 4, "swap", ">y", "yes")],
    ],
    "P6": [
        [
            called(1, 1, "Signup/run", single="w"),
            called(2, 1, "Signup/run", single="w"),
            answered(1, 2, "#1"),
            answered(2, 2, "#2"),
        ],
    ],
    "P7": [[rang(4.7, 5.0)]],
    "P7, in the end": [[TimerSet(1.0, "t", 5.0), rang(5.1, 5.0, "u"), settled(9.0)]],
    "P9": [
        [called(1, 1, "Program/run"), promised(1), settled(9.0)],
        [called(1, 1, "Program/run"), promised(1), InvocationUnknown(3.0, "n1#1", 1)],
        [called(1, 1, "Program/run"), answered(1, 3, "500 no", is_failure=True)],
    ],
    "P10": [
        [step("#1"), step("#2", 4.0)],
        [step("#1"), called(1, 1, "Program/run"), answered(1, 5, '["#2"]')],
        [called(1, 1, "Program/run"), answered(1, 5, '["#2"]')],
        [step("#1", expected="inv_1/0")],
        [*added(1, 1, "x", "1"), *added(2, 1, "y", "1")],
        [*added(1, 1, "x", "1"), *tokens(3, 7, "")],
        [*tokens(3, 7, "x y x")],
        [entry(5, 1, "aa"), entry(5, 2, "aa")],
    ],
    "V3": [
        [Healed(9.0), called(1, 1, "Program/run"), settled(70.0)],
        [Healed(9.0), called(1, 1, "Program/run"), answered(1, 70, "[]"), settled(71.0)],
        [Healed(9.0), settled(70.0, "inv_7 Counter/k/add SUSPENDED")],
    ],
}
