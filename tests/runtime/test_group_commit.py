"""Group commit against a disk that the test holds in its hand."""

from __future__ import annotations

import asyncio
import threading

import pytest

from restate_node.runtime.ports import StoreError
from restate_node.runtime.real.group_commit import GroupCommit


class SlowDisk:
    """Each commit waits until the test allows it, then fails if told so."""

    def __init__(self) -> None:
        self.started = threading.Semaphore(0)
        self.allowed = threading.Semaphore(0)
        self.error: Exception | None = None

    def commit(self) -> None:
        self.started.release()
        assert self.allowed.acquire(timeout=5)
        if self.error is not None:
            raise self.error

    async def commit_started(self) -> None:
        await asyncio.to_thread(self.started.acquire, True, 5)


async def test_who_joins_during_a_commit_belongs_to_the_next_round() -> None:
    """Goal: no early acknowledgement. Method: join during round 1, finish it, look who is woken."""
    disk = SlowDisk()
    group = GroupCommit(disk.commit, "test")
    first = group.join_round()
    await disk.commit_started()
    later = [group.join_round() for _ in range(50)]
    disk.allowed.release()
    await first
    assert not any(waiter.done() for waiter in later)
    disk.allowed.release()
    await asyncio.gather(*later)
    assert group.rounds == 2
    await asyncio.to_thread(group.stop)


@pytest.mark.parametrize("error", [StoreError("EIO"), RuntimeError("broken")])
async def test_after_a_failed_commit_every_later_one_fails(error: Exception) -> None:
    """Goal: fsync that succeeds after one that failed proves nothing. Method: fail once, go on."""
    disk = SlowDisk()
    disk.error = error
    group = GroupCommit(disk.commit, "test")
    during = group.join_round()
    await disk.commit_started()
    queued = group.join_round()
    disk.allowed.release()
    with pytest.raises(StoreError):
        await during
    with pytest.raises(StoreError):
        await queued
    disk.error = None
    with pytest.raises(StoreError):
        await group.join_round()
    assert group.rounds == 1
    await asyncio.to_thread(group.stop)


async def test_a_cancelled_caller_does_not_disturb_the_round() -> None:
    """Goal: callers are independent. Method: cancel one of two in the same round."""
    disk = SlowDisk()
    group = GroupCommit(disk.commit, "test")
    cancelled, kept = group.join_round(), group.join_round()
    cancelled.cancel()
    disk.allowed.release(2)
    await kept
    await asyncio.to_thread(group.stop)


async def test_stop_finishes_the_rounds_that_have_callers() -> None:
    """Goal: closing loses nobody. Method: join, stop, await; then join again and be refused."""
    disk = SlowDisk()
    disk.allowed.release(5)
    group = GroupCommit(disk.commit, "test")
    waiter = group.join_round()
    await asyncio.to_thread(group.stop)
    await waiter
    with pytest.raises(StoreError):
        await group.join_round()
