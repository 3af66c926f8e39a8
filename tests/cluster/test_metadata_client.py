"""The metadata client against servers that follow a script, over a simulated network."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from restate_node.cluster.metadata_cache import MetadataCache
from restate_node.cluster.metadata_client import (
    MetadataClient,
    MetadataRejected,
    MetadataUnavailable,
    NotProvisioned,
    PreconditionNotMet,
)
from restate_node.fabric.fabric import Fabric
from restate_node.runtime.tasks import TaskCenter
from restate_node.sim.hosts import SimClock
from restate_node.sim.loop import SimLoop, simulate
from restate_node.sim.network import SimNetwork
from restate_node.types.ids import PlainNodeId, Version
from restate_node.types.metadata_kv import (
    DoesNotExist,
    Done,
    MatchesVersion,
    Outcome,
    PreconditionFailed,
    Put,
    Rejected,
    RequestId,
    VersionedValue,
)
from restate_node.types.metadata_messages import (
    Answer,
    Executed,
    KvReply,
    KvRequest,
    LeaderHint,
    NotFounded,
    NotLeading,
    NotMember,
    Operation,
    ReadValue,
    TryAgain,
    ValueFound,
    VersionFound,
)
from restate_node.types.options import MetadataClientOptions
from restate_node.wire.storage_codec import encode_shape

VALUE = VersionedValue(Version(3), encode_shape({"version": 3}))

Script = Callable[[Operation], Answer]


def address(host: str) -> str:
    return f"http://{host}:5122/"


def leader_is(host: str, node: int) -> NotLeading:
    return NotLeading(LeaderHint(PlainNodeId(node), address(host)))


@dataclass(slots=True)
class World:
    """Scripted servers, what they were asked, and one client."""

    loop: SimLoop
    network: SimNetwork
    asked: list[tuple[str, Operation]]

    def _fabric(self, host: str, cluster: str, fingerprint: int) -> tuple[Fabric, MetadataCache]:
        incarnation = self.loop.boot(host)
        cache = MetadataCache(cluster)
        if fingerprint:
            cache.bind_fingerprint(fingerprint)
        transport = self.network.transport(incarnation, address(host))
        rng = self.loop.streams.stream(host)
        return Fabric(transport, cache, TaskCenter(), rng), cache

    def serve(self, host: str, script: Script, fingerprint: int = 1) -> None:
        fabric, _ = self._fabric(host, "test", fingerprint)

        async def answer(_: object, request: KvRequest) -> KvReply:
            self.asked.append((host, request.operation))
            return KvReply(script(request.operation))

        fabric.router.serve(KvRequest, answer)

    def client(self, *hosts: str, fingerprint: int = 1) -> MetadataClient:
        fabric, cache = self._fabric("client", "test", fingerprint)
        return MetadataClient(
            fabric,
            cache,
            tuple(address(host) for host in hosts),
            MetadataClientOptions(),
            SimClock(self.loop),
            random.Random(1),
            77,
        )


def run(test: Callable[[World], Awaitable[None]]) -> None:
    async def main(loop: SimLoop) -> None:
        network = SimNetwork(loop, loop.streams.stream("network"))
        await test(World(loop, network, []))

    simulate(1, main)


def test_follows_hints_and_remembers_the_leader() -> None:
    """Goal: one detour, once. Method: the only address known leads to a follower that names the
    leader; the second request goes to the leader directly.
    """

    async def test(world: World) -> None:
        world.serve("s1", lambda _: leader_is("s2", 2))
        world.serve("s2", lambda _: ValueFound(VALUE))
        client = world.client("s1")
        assert await client.get("k") == VALUE
        assert await client.get("k") == VALUE
        assert [host for host, _ in world.asked] == ["s1", "s2", "s2"]

    run(test)


def test_hints_that_go_round_end_in_an_error() -> None:
    """Goal: two servers that name each other do not trap a request. Method: they do; the error
    comes within the time and names both.
    """

    async def test(world: World) -> None:
        world.serve("s1", lambda _: leader_is("s2", 2))
        world.serve("s2", lambda _: NotMember(LeaderHint(PlainNodeId(1), address("s1"))))
        client = world.client("s1")
        with pytest.raises(MetadataUnavailable) as raised:
            await client.get("k")
        assert world.loop.time() < 6
        assert "[http://s1:5122/] is not the leader" in str(raised.value)
        assert "Not being part of the metadata store cluster." in str(raised.value)
        assert not raised.value.maybe_executed

    run(test)


def test_another_cluster_is_refused_at_once_with_the_reason() -> None:
    """Goal: an operator sees that the address belongs to another cluster. Method: fingerprints
    differ; the handshake's words survive, and nobody waits for them.
    """

    async def test(world: World) -> None:
        world.serve("s1", lambda _: ValueFound(VALUE), fingerprint=2)
        client = world.client("s1", fingerprint=1)
        with pytest.raises(MetadataUnavailable) as raised:
            await client.get("k")
        assert world.loop.time() < 1
        assert "cluster fingerprint mismatch" in str(raised.value)
        assert "a different cluster" in str(raised.value)
        assert "[http://s1:5122/]" in str(raised.value)
        assert world.asked == []

    run(test)


def test_a_retried_write_keeps_its_request_id() -> None:
    """Goal: the store can tell a repetition. Method: the first server fails halfway, the second
    one executes; both saw the same request, and the next write has another number.
    """

    async def test(world: World) -> None:
        world.serve("s1", lambda _: TryAgain("the leadership was lost meanwhile", True))
        world.serve("s2", lambda _: Executed(Done()))
        client = world.client("s1", "s2")
        await client.put("k", VALUE, DoesNotExist())
        (first, one), (second, other) = world.asked
        assert (first, second) == ("s1", "s2") and one == other
        await client.put("k", VALUE, DoesNotExist())
        assert isinstance(one, Put) and one.request == RequestId(77, 1)
        last = world.asked[-1][1]
        assert isinstance(last, Put) and last.request == RequestId(77, 2)

    run(test)


@pytest.mark.parametrize(
    ("script", "maybe"), [(TryAgain("busy", False), False), (TryAgain("lost", True), True)]
)
def test_an_unfinished_write_tells_if_it_may_have_happened(script: Answer, maybe: bool) -> None:
    """Goal: honesty about unknown outcomes. Method: the only server never finishes."""

    async def test(world: World) -> None:
        world.serve("s1", lambda _: script)
        client = world.client("s1")
        with pytest.raises(MetadataUnavailable) as raised:
            await client.put("k", VALUE, DoesNotExist())
        assert raised.value.maybe_executed is maybe
        assert world.loop.time() < 6

    run(test)


def test_a_silent_server_does_not_use_up_the_time() -> None:
    """Goal: one server that swallows packets costs a second. Method: the first address is cut
    off; the second one answers; the next request does not even try the first.
    """

    async def test(world: World) -> None:
        world.serve("s1", lambda _: ValueFound(VALUE))
        world.serve("s2", lambda _: ValueFound(VALUE))
        client = world.client("s1", "s2")
        world.network.cut("client", "s1")
        assert await world.loop.spawn(world.loop.boot("w"), client.get("k")) == VALUE
        waited = world.loop.time()
        assert waited < 2.5
        assert await client.get("k") == VALUE
        assert world.loop.time() - waited < 0.1

    run(test)


def test_waiting_for_provisioning_has_an_error_of_its_own() -> None:
    """Goal: booting nodes tell "not yet" from "broken". Method: one server waits, one is down."""

    async def test(world: World) -> None:
        world.serve("s1", lambda _: NotFounded())
        client = world.client("s1", "nowhere")
        with pytest.raises(NotProvisioned, match="has not been provisioned yet"):
            await client.get("k")

    run(test)


def test_a_member_without_a_leader_proves_that_there_is_a_cluster() -> None:
    """Goal: nobody founds a second cluster while the first has no leader. Method: one server waits
    to be provisioned, another one is a member that knows no leader.
    """

    async def test(world: World) -> None:
        world.serve("s1", lambda _: NotFounded())
        world.serve("s2", lambda _: NotLeading(None))
        with pytest.raises(MetadataUnavailable) as raised:
            await world.client("s1", "s2").get("k")
        assert not isinstance(raised.value, NotProvisioned)

    run(test)


def test_without_addresses_the_error_says_what_to_set() -> None:
    """Goal: a useful error for an empty list. Method: no addresses, an empty cache."""

    async def test(world: World) -> None:
        with pytest.raises(MetadataUnavailable, match=r"set metadata-client\.addresses"):
            await world.client().get("k")

    run(test)


@pytest.mark.parametrize(
    ("outcome", "error", "text"),
    [
        (
            PreconditionFailed("key-value pair already exists", Version(1)),
            PreconditionNotMet,
            "[http://s1:5122/] key-value pair already exists",
        ),
        (Rejected("too large"), MetadataRejected, "[http://s1:5122/] too large"),
    ],
)
def test_refused_writes_name_the_server(
    outcome: Outcome, error: type[Exception], text: str
) -> None:
    """Goal: the texts that tools print. Method: each refusal of the store, as exception."""

    async def test(world: World) -> None:
        world.serve("s1", lambda _: Executed(outcome))
        with pytest.raises(error) as raised:
            await world.client("s1").put("k", VALUE, DoesNotExist())
        assert str(raised.value) == text

    run(test)


def test_update_edits_again_after_a_rival() -> None:
    """Goal: read, edit, write. Method: the first write meets a newer version; the second read
    shows it; the edit sees both, and "leave it" writes nothing.
    """
    stored = [VersionedValue(Version(n), encode_shape({"version": n})) for n in range(1, 5)]
    seen: list[bytes | None] = []

    async def test(world: World) -> None:
        reads = iter([stored[0], stored[1], stored[2]])

        def script(operation: Operation) -> Answer:
            if isinstance(operation, ReadValue):
                return ValueFound(next(reads))
            assert isinstance(operation, Put)
            if operation.precondition == MatchesVersion(Version(1)):
                return Executed(PreconditionFailed("v2 is there", Version(2)))
            return Executed(Done())

        def edit(blob: bytes | None) -> bytes | None:
            seen.append(blob)
            return stored[3].data

        world.serve("s1", script)
        client = world.client("s1")
        assert await client.update("k", edit) == stored[3].data
        assert seen == [stored[0].data, stored[1].data]
        assert await client.update("k", lambda _: None) == stored[2].data

    run(test)


def test_get_version_of_nothing() -> None:
    """Goal: no value, no version. Method: the server has none."""

    async def test(world: World) -> None:
        world.serve("s1", lambda _: VersionFound(None))
        assert await world.client("s1").get_version("k") is None

    run(test)
