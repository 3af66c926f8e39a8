"""Good and bad histories of invocations; see `test_checkers`."""

from __future__ import annotations

from restate_node.sim.history import Event, Healed
from restate_node.sim.history_invocations import (
    ControlOrdered,
    ControlSaid,
    EntryForgotten,
    EntryWritten,
    HandlerReturned,
    InvocationAcknowledged,
    InvocationAnswered,
    InvocationCalled,
    InvocationsSettled,
    InvocationUnknown,
    ObjectWritten,
    OutcomeSeen,
    ReplayBroken,
    StageReached,
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


def ordered(control: str, at: float = 2.0, invocation: str = "inv_1", order: int = 7) -> Event:
    return ControlOrdered(at, "n1#1", order, invocation, control)


def said(status: str, at: float = 5.0, order: int = 7) -> Event:
    return ControlSaid(at, "n1#1", order, status)


def stage(name: str, lsn: int, node: str = "n1#1", invocation: str = "inv_1") -> Event:
    return StageReached(3.0, node, 0, lsn, invocation, name, 1)


def ended(
    outcome: str,
    *,
    is_failure: bool = False,
    lsn: int = 9,
    invocation: str = "inv_1",
    caller: str = "",
) -> Event:
    return StageReached(
        3.0, "n1#1", 0, lsn, invocation, "COMPLETED", 2, outcome, is_failure, caller
    )


def killed(invocation: str = "inv_1", caller: str = "") -> Event:
    return ended("409 killed", is_failure=True, invocation=invocation, caller=caller)


def sees(outcome: str, other: str = "inv_1") -> Event:
    return OutcomeSeen(4.0, "inv_8", other, outcome)


def returned(value: str) -> Event:
    return HandlerReturned(2.5, "inv_1", value)


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
        [
            called(1, 1, "Register/set", "x"),
            answered(1, 2, "409 killed", is_failure=True),
            *used(2, 3, 4, "get", "", "x"),
        ],
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
        [TimerSet(1.0, "inv_1/3", 5.0), killed(), settled(9.0)],
        [called(1, 1, "Counter/add", "t"), TimerSet(1.0, "t", 5.0), killed(), settled(9.0)],
    ],
    "P9": [
        [called(1, 1, "Program/run"), promised(1), answered(1, 3, "[]"), settled(9.0)],
        [called(1, 1, "Program/run"), settled(9.0)],
        [called(1, 1, "Program/run"), promised(1)],
        [
            called(1, 1, "Program/run"),
            ordered("KILL"),
            answered(1, 3, "409 killed", is_failure=True),
        ],
        [called(1, 1, "Program/run"), ordered("PURGE"), InvocationUnknown(3.0, "n1#1", 1)],
        [called(1, 1, "Program/run"), ordered("KILL"), InvocationUnknown(3.0, "n1#1", 1)],
    ],
    "P10": [
        [step("#1"), step("#1", 4.0), called(1, 1, "Program/run"), answered(1, 5, '["#1"]')],
        [step("inv_1/0", expected="inv_1/0")],
        [*added(1, 1, "x", "1"), *added(2, 5, "y", "2"), *tokens(3, 7, "x y z")],
        [*tokens(3, 1, ""), *added(1, 1, "x", "1")],
        [entry(5, 1, "aa"), entry(5, 1, "aa", "n2#1"), entry(6, 2, "bb")],
        [entry(5, 1, "aa", is_command=False), entry(6, 2, "aa", is_command=False)],
    ],
    "P11": [
        [entry(5, 0, "aa"), stage("INVOKED", 5), entry(6, 1, "bb"), stage("SUSPENDED", 6)],
        [stage("INVOKED", 5), ended("#1"), entry(9, 2, "bb"), wrote(9, "inv_1")],
        [
            stage("PAUSED", 5),
            entry(6, 1, "aa", is_command=False),
            stage("INVOKED", 7, "n2#1"),
            entry(8, 2, "bb"),
        ],
        [stage("INVOKED", 5), ended("#1"), stage("FORGOTTEN", 9), stage("INVOKED", 12)],
    ],
    "P12": [
        [
            called(1, 1, "Program/run"),
            returned("#1"),
            ended("#1"),
            sees("#1"),
            answered(1, 5, "#1"),
        ],
        [returned("#1"), killed(), sees("409 killed")],
        [ordered("KILL"), killed(), sees("404 not found")],
        [called(1, 1, "Signup/run", single="Signup w"), sees("404 not found", "Signup w")],
        [sees("404 not found", "Signup v")],
        [
            called(1, 1, "Signup/run", single="Signup w"),
            returned("#1"),
            sees("404 not found", "Signup w"),
            ended("#1"),
            sees("#1", "Signup w"),
        ],
    ],
    "P13": [
        [ordered("KILL"), killed(), said("DONE")],
        [ordered("KILL"), said("NOT_RUNNING")],
        [ordered("KILL", invocation="inv_2"), killed(caller="inv_2")],
        [ordered("PAUSE"), stage("PAUSED", 5), said("DONE")],
        [ordered("CANCEL"), said("ACCEPTED"), ended("409 cancelled", is_failure=True)],
    ],
    "V3": [
        [Healed(9.0), called(1, 1, "Program/run"), answered(1, 68, "[]"), settled(70.0)],
        [Healed(9.0), called(1, 1, "Program/run")],
        [
            called(1, 1, "Program/run"),
            ordered("PURGE"),
            InvocationUnknown(3.0, "n1#1", 1),
            Healed(9.0),
            settled(70.0),
        ],
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
    "P7, in the end": [
        [TimerSet(1.0, "t", 5.0), rang(5.1, 5.0, "u"), settled(9.0)],
        [TimerSet(1.0, "inv_2/3", 5.0), killed(), settled(9.0)],
    ],
    "P9": [
        [called(1, 1, "Program/run"), promised(1), settled(9.0)],
        [called(1, 1, "Program/run"), promised(1), InvocationUnknown(3.0, "n1#1", 1)],
        [called(1, 1, "Program/run"), answered(1, 3, "500 no", is_failure=True)],
        [
            called(1, 1, "Program/run"),
            answered(1, 3, "409 killed", is_failure=True),
            ordered("KILL", at=4.0),
        ],
        [
            called(1, 1, "Program/run"),
            ordered("KILL"),
            stage("INVOKED", 5),
            InvocationUnknown(4.0, "n1#1", 1),
        ],
        [called(1, 1, "Program/run"), ordered("PAUSE"), InvocationUnknown(3.0, "n1#1", 1)],
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
    "P11": [
        [stage("INVOKED", 5), killed(), entry(10, 2, "bb")],
        [stage("INVOKED", 5), killed(), wrote(10, "inv_1")],
        [stage("INVOKED", 5), stage("PAUSED", 6, "n2#1"), entry(7, 2, "bb")],
        [stage("SUSPENDED", 6), entry(7, 2, "bb"), stage("INVOKED", 8)],
    ],
    "P12": [
        [returned("#1"), ended("#1"), sees("#2")],
        [called(1, 1, "Program/run"), killed(), answered(1, 5, "#1")],
        [ended("#1")],
        [returned("#1"), ended("#1"), sees("404 not found")],
        [ordered("KILL"), stage("INVOKED", 5), killed(), sees("404 not found")],
    ],
    "P13": [
        [ordered("KILL"), said("DONE"), killed()],
        [ordered("PAUSE"), stage("INVOKED", 5), said("DONE")],
        [ordered("PURGE"), killed(), said("DONE")],
        [ordered("PAUSE"), killed()],
        [ordered("KILL", at=4.0), killed()],
        [ordered("KILL", invocation="inv_3"), killed(caller="inv_2")],
    ],
    "V3": [
        [Healed(9.0), called(1, 1, "Program/run"), settled(70.0)],
        [Healed(9.0), called(1, 1, "Program/run"), answered(1, 70, "[]"), settled(71.0)],
        [Healed(9.0), settled(70.0, "inv_7 Counter/k/add SUSPENDED")],
    ],
}
