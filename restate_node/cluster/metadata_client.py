"""The client of the metadata store, one per node: linearizable reads, writes with preconditions.

    get, put, delete, update --> Candidates, Inquiry --> fabric --> the leader among the servers

A write carries a `RequestId`. If its answer is lost, the same request goes to the next server, and
the store answers it from memory if it was applied before: a write is applied once, however often
it is sent. When the time is over, `MetadataUnavailable` says why, server by server, and whether
the write may have happened.

`update` is the usual way to change an object: read, edit, write if nobody else was faster, else
again after a pause that is drawn from a seed, so that two rivals do not meet for ever.

`provision` is strict, because the answer "founded" must be given once per cluster: if any server
knows of a cluster there is nothing to found; otherwise exactly the first configured server is
asked, and never another one in its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Final

from restate_node.cluster.metadata_cache import MetadataCache
from restate_node.cluster.metadata_errors import (
    MetadataError,
    MetadataRejected,
    MetadataUnavailable,
    NotProvisioned,
    PreconditionNotMet,
)
from restate_node.cluster.metadata_inquiry import (
    Answered,
    Candidates,
    Finding,
    Inquiry,
    Round,
    Target,
    authority,
)
from restate_node.fabric.fabric import Fabric
from restate_node.runtime.ports import Clock
from restate_node.types.fabric import RpcCode, RpcFailure
from restate_node.types.ids import Version
from restate_node.types.metadata_kv import (
    NODES_CONFIGURATION_KEY,
    Delete,
    DoesNotExist,
    Done,
    MatchesVersion,
    Precondition,
    PreconditionFailed,
    Provision,
    Provisioned,
    Put,
    Rejected,
    RequestId,
    Unconditional,
    VersionedValue,
)
from restate_node.types.metadata_messages import (
    Executed,
    KvReply,
    KvRequest,
    LeaderHint,
    Operation,
    ReadValue,
    ReadVersion,
    ValueFound,
    VersionFound,
)
from restate_node.types.options import MetadataClientOptions, RetryOptions
from restate_node.wire.nodes import decode_nodes_configuration
from restate_node.wire.storage_codec import decode_version

__all__ = [
    "MetadataClient",
    "MetadataError",
    "MetadataRejected",
    "MetadataUnavailable",
    "NotProvisioned",
    "PreconditionNotMet",
]

REQUEST_TIMEOUT_S: Final = 5.0
UPDATE_TIMEOUT_S: Final = 15.0
ATTEMPT_TIMEOUT_FIRST_S: Final = 1.0
"""Patience with one server in the first round; it doubles with each round."""
FOUNDED_PATIENCE_MAX_S: Final = 1.5
"""How long to look for servers that know of a cluster before one is founded."""

Edit = Callable[["bytes | None"], "bytes | None"]
"""From what is stored to what shall be; None to leave it as it is. May be called several times."""


class MetadataClient:
    """Reads and writes; any number of requests at once. All methods are cancellation-safe, but a
    cancelled write may have happened.
    """

    def __init__(
        self,
        fabric: Fabric,
        cache: MetadataCache,
        addresses: tuple[str, ...],
        options: MetadataClientOptions,
        clock: Clock,
        rng: Random,
        client_id: int,
    ) -> None:
        """`client_id` MUST differ between any two lives of any two nodes: draw 63 random bits."""
        self._fabric = fabric
        self._candidates = Candidates(cache, addresses)
        self._retry = options.backoff_policy
        self._clock = clock
        self._rng = rng
        self._client_id = client_id
        self._sequence = 0

    # ------------------------------------------------------------ reading

    async def get(self, key: str, *, timeout_s: float = REQUEST_TIMEOUT_S) -> VersionedValue | None:
        """The value, at least as new as all that was acknowledged before; None if there is none."""
        answered = await self._ask(ReadValue(key), timeout_s)
        assert isinstance(answered.answer, ValueFound)
        return answered.answer.value

    async def get_version(
        self, key: str, *, timeout_s: float = REQUEST_TIMEOUT_S
    ) -> Version | None:
        """The value's version, as new as the value would be; None if there is none."""
        answered = await self._ask(ReadVersion(key), timeout_s)
        assert isinstance(answered.answer, VersionFound)
        return answered.answer.version

    # ------------------------------------------------------------ writing

    async def put(
        self,
        key: str,
        value: VersionedValue,
        precondition: Precondition,
        *,
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> None:
        """Write; raises PreconditionNotMet, MetadataRejected, MetadataUnavailable."""
        await self._execute(Put(self._next_request(), key, value, precondition), timeout_s)

    async def delete(
        self,
        key: str,
        precondition: Precondition | None = None,
        *,
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> None:
        """Remove; that there is nothing is fine. Raises as `put` does."""
        condition = precondition or Unconditional()
        await self._execute(Delete(self._next_request(), key, condition), timeout_s)

    async def update(
        self, key: str, edit: Edit, *, timeout_s: float = UPDATE_TIMEOUT_S
    ) -> bytes | None:
        """Edit what is stored, whoever else does; returns what is stored now.

        `edit` may raise to give up. MetadataUnavailable if rivals were faster for all that time.
        """
        deadline = self._clock.monotonic() + timeout_s
        attempt = 0
        while True:
            found = await self.get(key, timeout_s=self._share(deadline))
            blob = edit(None if found is None else found.data)
            if blob is None:
                return None if found is None else found.data
            try:
                await self._swap(key, found, blob, self._share(deadline))
            except PreconditionNotMet as error:
                await self._pause_before(attempt, deadline, error)
                attempt += 1
            else:
                return blob

    async def provision(
        self, nodes_configuration: bytes, *, timeout_s: float = REQUEST_TIMEOUT_S
    ) -> bool:
        """Found the cluster with this nodes configuration, which MUST have a fingerprint; False if
        there is a cluster already.
        """
        configuration = decode_nodes_configuration(nodes_configuration)
        fingerprint = configuration.cluster_fingerprint
        if not fingerprint:
            raise ValueError("the nodes configuration has no fingerprint: draw one first")
        deadline = self._clock.monotonic() + timeout_s
        if await self._is_founded(timeout_s):
            return False
        value = VersionedValue(configuration.version, nodes_configuration)
        name = configuration.cluster_name
        request = Provision(self._next_request(), value, name, fingerprint)
        return await self._found(request, deadline)

    # ------------------------------------------------------------ inside: commands

    async def _swap(
        self, key: str, found: VersionedValue | None, blob: bytes, timeout_s: float
    ) -> None:
        version = decode_version(blob)
        old = 0 if found is None else found.version
        assert version > old, f"the edit of {key} must raise the version above {old}"
        expected = DoesNotExist() if found is None else MatchesVersion(found.version)
        await self.put(key, VersionedValue(version, blob), expected, timeout_s=timeout_s)

    async def _execute(self, command: Put | Delete, timeout_s: float) -> None:
        answered = await self._ask(command, timeout_s)
        assert isinstance(answered.answer, Executed)
        match answered.answer.outcome:
            case Done():
                return
            case PreconditionFailed(message, found):
                raise PreconditionNotMet(message, found, answered.address)
            case Rejected(message):
                raise MetadataRejected(message, answered.address)
            case Provisioned():
                raise AssertionError("a write was answered as if it were a provisioning")

    def _next_request(self) -> RequestId:
        self._sequence += 1
        return RequestId(self._client_id, self._sequence)

    def _share(self, deadline: float) -> float:
        """What one of the requests of an update may take."""
        return min(REQUEST_TIMEOUT_S, max(0.0, deadline - self._clock.monotonic()))

    async def _pause_before(self, attempt: int, deadline: float, lost: PreconditionNotMet) -> None:
        pause = self._pause_s(attempt)
        if self._clock.monotonic() + pause > deadline:
            text = f"others change the object all the time; the last refusal was: {lost}"
            raise MetadataUnavailable(text, maybe_executed=False)
        await asyncio.sleep(pause)

    # ------------------------------------------------------------ inside: founding

    async def _is_founded(self, timeout_s: float) -> bool:
        """Whether any server knows of a cluster; silence counts as no."""
        try:
            patience_s = min(timeout_s / 2, FOUNDED_PATIENCE_MAX_S)
            return await self.get(NODES_CONFIGURATION_KEY, timeout_s=patience_s) is not None
        except MetadataUnavailable as unavailable:
            if isinstance(unavailable, NotProvisioned):
                return False
            raise

    async def _found(self, request: Provision, deadline: float) -> bool:
        """Ask the first configured server until it answers, for ever the same one."""
        inquiry = Inquiry()
        attempt = 0
        target = next(iter(self._candidates.configured()), None)
        while target is not None and self._clock.monotonic() < deadline:
            heard = await self._attempt(target, request, inquiry, deadline)
            if isinstance(heard, Answered):
                return await self._founded(heard)
            if inquiry.finding(self._candidates.name_of(target)) is Finding.NEVER:
                break
            await asyncio.sleep(self._pause_s(attempt))
            attempt += 1
        raise inquiry.error(is_write=True)

    async def _founded(self, answered: Answered) -> bool:
        assert isinstance(answered.answer, Executed)
        outcome = answered.answer.outcome
        if isinstance(outcome, Rejected):
            raise MetadataRejected(outcome.message, answered.address)
        assert isinstance(outcome, Provisioned)
        return outcome.newly_provisioned

    # ------------------------------------------------------------ inside: asking

    async def _ask(self, operation: Operation, timeout_s: float) -> Answered:
        is_write = not isinstance(operation, ReadValue | ReadVersion)
        inquiry = Inquiry()
        deadline = self._clock.monotonic() + timeout_s
        for attempt in range(self._retry.attempts_max or 1_000_000):
            patience_s = ATTEMPT_TIMEOUT_FIRST_S * 2 ** min(attempt, 10)
            round_ = Round(self._candidates.all(), self._candidates.name_of)
            answered = await self._go_round(round_, operation, inquiry, deadline, patience_s)
            if answered is not None:
                return answered
            pause = self._pause_s(attempt)
            if round_.is_hopeless or self._clock.monotonic() + pause >= deadline:
                break
            await asyncio.sleep(pause)
        raise inquiry.error(is_write)

    async def _go_round(
        self,
        round_: Round,
        operation: Operation,
        inquiry: Inquiry,
        deadline: float,
        patience_s: float,
    ) -> Answered | None:
        while (target := round_.next()) is not None:
            now = self._clock.monotonic()
            if now >= deadline:
                return None
            until = min(deadline, now + patience_s)
            heard = await self._attempt(target, operation, inquiry, until)
            if isinstance(heard, Answered):
                self._candidates.answered(target)
                return heard
            name = self._candidates.name_of(target)
            round_.findings[authority(name)] = inquiry.finding(name)
            better = None if heard is None else self._candidates.follow(heard)
            if better is not None:
                round_.prefer(better)
        return None

    async def _attempt(
        self, target: Target, operation: Operation, inquiry: Inquiry, until: float
    ) -> Answered | LeaderHint | None:
        """Ask one server. A time-out is this method's own: a call that waits for its connection
        has none.
        """
        name = self._candidates.name_of(target)
        patience_s = max(0.0, until - self._clock.monotonic())
        try:
            async with asyncio.timeout(patience_s):
                request = KvRequest(operation)
                reply = await self._fabric.call(target, request, KvReply, timeout_s=patience_s)
        except TimeoutError:
            self._candidates.kept_silent(target)
            text = f"no answer within {patience_s:.1f} s"
            inquiry.failed(name, RpcFailure(RpcCode.TIMEOUT, text))
        except RpcFailure as failure:
            self._candidates.kept_silent(target)
            inquiry.failed(name, failure)
        else:
            return inquiry.heard(name, reply)
        return None

    def _pause_s(self, attempt: int) -> float:
        return pause_s(self._retry, attempt, self._rng)


def pause_s(retry: RetryOptions, attempt: int, rng: Random) -> float:
    """The pause after attempt 0, 1, …: exponential, bounded, a third more or less by chance."""
    growth = retry.factor ** min(attempt, 30)
    pause_ms = min(retry.initial_interval_ms * growth, retry.interval_max_ms)
    return pause_ms / 1000 * rng.uniform(0.7, 1.3)
