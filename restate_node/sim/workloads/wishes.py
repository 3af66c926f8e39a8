"""What users want next: drawn from the kinds of invocations of a run."""

from __future__ import annotations

import json
from random import Random
from typing import Final, assert_never

from restate_node.sim.load import Kind, Load
from restate_node.sim.workloads.book import Book, Wish

STEPS_MAX: Final = 5
DEPTH_MAX: Final = 2
CONFIRM_PROBABILITY: Final = 0.2
WISH_PROBABILITY: Final = 0.7
"""That a workflow is confirmed soon after somebody began with it; some wait until the end."""
REGISTER_CALLS_MAX: Final = 5
SAME_PROBABILITY: Final = 0.6
"""That a workflow, or an idempotency key, is one that was used before."""


class Wishes:
    """One client's source of them. `name` makes tokens and values differ from those of others."""

    def __init__(self, load: Load, book: Book, rng: Random, name: str) -> None:
        self._load = load
        self._book = book
        self._rng = rng
        self._name = name
        self._made = 0

    def next(self) -> Wish | None:
        """None: not now."""
        kind = self._rng.choice(self._load.kinds)
        match kind:
            case Kind.PROGRAM:
                return Wish("Program", "run", argument=json.dumps(self._program(0)))
            case Kind.REGISTER:
                return self._register()
            case Kind.COUNTER:
                waits = self._rng.random() < 0.7
                return Wish("Counter", "add", self._counter(), self._token(), waits=waits)
            case Kind.WORKFLOW:
                return self._workflow()
            case Kind.ONCE:
                key = f"i{self._rng.randrange(self._load.keys_max * 3)}"
                single = f"Program/draw {key}"
                return Wish("Program", "draw", single=single, idempotency_key=key)
            case Kind.DELAYED:
                ms = self._rng.choice((0, 100, 800, 2500))
                key = self._counter()
                return Wish("Counter", "add", key, self._token(), delay_ms=ms, waits=False)
            case _:
                assert_never(kind)

    def _token(self) -> str:
        self._made += 1
        return f"{self._name}.{self._made}"

    def _counter(self) -> str:
        key = f"c{self._rng.randrange(self._load.keys_max)}"
        self._book.counters[key] = None
        return key

    def _register(self) -> Wish | None:
        """To say whether a register is linearizable takes a search that is exponential in what is
        under way at once.
        """
        key = f"r{self._rng.randrange(self._load.keys_max)}"
        if self._book.under_way("Register", key) >= REGISTER_CALLS_MAX:
            return None
        choice = self._rng.random()
        if choice < 0.3:
            return Wish("Register", "set", key, self._token())
        if choice < 0.6:
            return Wish("Register", "get", key)
        expected = self._book.values.get(key, "")
        return Wish("Register", "swap", key, f"{expected}>{self._token()}")

    def _workflow(self) -> Wish:
        known = self._book.workflows
        if not known or self._rng.random() >= SAME_PROBABILITY:
            known.append(f"w{len(known)}")
            if self._rng.random() < WISH_PROBABILITY:
                wish = Wish("Signup", "confirm", known[-1], self._token())
                self._book.wishes.append(wish)
        key = self._rng.choice(known[-self._load.keys_max :])
        if self._rng.random() < CONFIRM_PROBABILITY:
            return Wish("Signup", "confirm", key, self._token())
        return Wish("Signup", "run", key, single=f"Signup {key}", waits=self._rng.random() < 0.5)

    def _program(self, depth: int) -> list[list[object]]:
        return [self._step(depth) for _ in range(self._rng.randint(1, STEPS_MAX))]

    def _step(self, depth: int) -> list[object]:
        kinds = ["draw", "draw", "sleep", "add", "later", "signal", "named", "both", "stop"]
        if depth < DEPTH_MAX:
            kinds += ["child", "attach"]
        if self._book.workflows:
            kinds.append("workflow")
        kind = self._rng.choice(kinds)
        match kind:
            case "sleep":
                return [kind, self._rng.choice((1, 30, 400, 1500))]
            case "add":
                return [kind, self._counter()]
            case "later":
                return [kind, self._counter(), self._rng.choice((0, 200, 1500))]
            case "stop":
                return [kind, self._rng.choice((1, 800))]
            case "both":
                return [kind, self._counter(), self._counter()]
            case "child" | "attach":
                return [kind, self._program(depth + 1)]
            case "workflow":
                return [kind, self._rng.choice(self._book.workflows)]
            case _:
                return [kind]
