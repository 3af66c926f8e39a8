"""Group commit: many callers, one fsync.

An fsync costs about the same for one record as for ten thousand, and may take from 0.2 to 50 ms. So
callers do not sync: they join the round that is being gathered, and one thread makes each round
durable with a single call.

    loop     write a, join ─┐ write b, join ─┐        write c, join ─┐      wake a, b        wake c
    thread                  └────────────────┴─ round 1 ─────────────┴──────┘ round 2 ───────┘

Invariants
    1. A caller joins after its write, and a round is taken before the commit starts: what a round
    covers was written
       before. Who joins during a commit belongs to the next round.
    2. One wake-up of the loop per round, whatever the number of its callers.
    3. After one failed commit every later one fails. A kernel that could not write a page drops it
    and reports the
       error once; the next fsync succeeds and proves nothing (the lesson PostgreSQL learnt in
       2018).

The commit must release the interpreter lock while it waits for the disk, or the loop stands still:
this is the reason for a thread that only calls `flush_wal`, and for not using synchronous writes.

Driven by `runtime.real.rocksdb`, one per store. The thread starts with the first caller.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from restate_node.runtime.ports import StoreError

__all__ = ["GroupCommit"]

Waiters = list[asyncio.Future[None]]


class GroupCommit:
    """Makes rounds of earlier writes durable by calling `commit` on a thread of its own."""

    def __init__(self, commit: Callable[[], None], name: str) -> None:
        """`commit` raises StoreError when durability is in doubt; `name` names the thread."""
        self._commit = commit
        self._name = name
        self._gathering: Waiters = []
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._rounds = 0
        self.failure: StoreError | None = None

    @property
    def rounds(self) -> int:
        """How many commits were made; compare with the callers to see how well they are grouped."""
        return self._rounds

    def join_round(self) -> asyncio.Future[None]:
        """Join on the loop, after the write; the future completes when that write is durable."""
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        if self.failure is not None or self._stopping:
            waiter.set_exception(self.failure or StoreError("the store is closed: reopen it"))
            return waiter
        if self._thread is None:
            self._start(loop)
        with self._changed:
            self._gathering.append(waiter)
            if len(self._gathering) == 1:
                self._changed.notify()
        return waiter

    def fail(self, failure: StoreError) -> None:
        """Stop promising durability, from the next caller on."""
        if self.failure is None:
            self.failure = failure

    def stop(self) -> None:
        """Finish the rounds that have callers, end the thread. Blocks: not on the loop."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        # A daemon: a process that ends without closing its stores must not hang on them.
        self._thread = threading.Thread(
            target=self._run, args=(loop,), name=self._name, daemon=True
        )
        self._thread.start()

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while (waiters := self._take_round()) is not None:
            if self.failure is None:
                self._commit_round()
            try:
                loop.call_soon_threadsafe(_wake, waiters, self.failure)
            except RuntimeError:  # the loop is closed: nobody is left to be told
                return

    def _take_round(self) -> Waiters | None:
        with self._changed:
            while not self._gathering:
                if self._stopping:
                    return None
                self._changed.wait()
            waiters, self._gathering = self._gathering, []
            return waiters

    def _commit_round(self) -> None:
        self._rounds += 1
        try:
            self._commit()
        except StoreError as error:
            self.fail(error)
        except Exception as error:
            # A thread that dies in silence would leave its callers waiting for ever.
            self.fail(StoreError(f"commit failed: {error}"))


def _wake(waiters: Waiters, failure: StoreError | None) -> None:
    for waiter in waiters:
        if waiter.done():  # its caller was cancelled
            continue
        if failure is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(failure)
