"""What operators' tools get: codes, texts and figures."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from google.protobuf.empty_pb2 import Empty

from restate_node.roles.metadata_server.control_plane import (
    MetadataProxyHandlers,
    MetadataServerHandlers,
)
from restate_node.sim.loop import SimLoop, simulate
from restate_node.types.grpc_status import GrpcError, StatusCode
from restate_node.wire.pb import common_pb2, metadata_pb2
from restate_node.wire.pb import metadata_proxy_svc_pb2 as proxy_pb2
from restate_node.wire.pb import metadata_server_svc_pb2 as server_pb2
from tests.roles.metadata_server.metadata_world import (
    FINGERPRINT,
    Machine,
    World,
    address,
    blob,
    first_nodes,
)

PREFIX = f"[{address('n1')}] "
NONE = metadata_pb2.Precondition(kind=metadata_pb2.NONE)
ABSENT = metadata_pb2.Precondition(kind=metadata_pb2.DOES_NOT_EXIST)
UNKNOWN = metadata_pb2.Precondition()
WITHOUT_VERSION = metadata_pb2.Precondition(kind=metadata_pb2.MATCHES_VERSION)


def matches(version: int) -> metadata_pb2.Precondition:
    return metadata_pb2.Precondition(
        kind=metadata_pb2.MATCHES_VERSION, version=common_pb2.Version(value=version)
    )


def versioned(version: int) -> metadata_pb2.VersionedValue:
    return metadata_pb2.VersionedValue(
        version=common_pb2.Version(value=version), bytes=blob(version)
    )


def on_one_node(test: Callable[[World, Machine], Coroutine[Any, Any, None]]) -> None:
    async def main(loop: SimLoop) -> None:
        world = World(loop)
        await world.found(("n1",))
        machine = world.machines["n1"]
        await world.run(machine, test(world, machine))

    simulate(1, main)


def server_of(machine: Machine) -> MetadataServerHandlers:
    assert machine.server is not None
    return MetadataServerHandlers(machine.server)


def test_proxy_puts_gets_and_deletes() -> None:
    """Goal: the plain way. Method: absent, put, read, jump ahead, go back without a precondition,
    delete; the empty key is a key.
    """

    async def test(_: World, machine: Machine) -> None:
        proxy = MetadataProxyHandlers(machine.client)
        assert not (await proxy.get(proxy_pb2.GetRequest(key=""))).HasField("value")
        for version, condition in ((1, ABSENT), (9, matches(1)), (4, NONE)):
            await proxy.put(
                proxy_pb2.PutRequest(key="", value=versioned(version), precondition=condition)
            )
            response = await proxy.get(proxy_pb2.GetRequest(key=""))
            assert response.value == versioned(version)
        found = await proxy.get_version(proxy_pb2.GetRequest(key=""))
        assert found.version.value == 4
        await proxy.delete(proxy_pb2.DeleteRequest(key="", precondition=matches(4)))
        assert not (await proxy.get_version(proxy_pb2.GetRequest(key=""))).HasField("version")

    on_one_node(test)


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        (
            proxy_pb2.PutRequest(key="k", precondition=NONE),
            StatusCode.INVALID_ARGUMENT,
            "value is required",
        ),
        (
            proxy_pb2.PutRequest(key="k", value=versioned(2)),
            StatusCode.INVALID_ARGUMENT,
            "precondition is required",
        ),
        (
            proxy_pb2.PutRequest(key="k", value=versioned(2), precondition=UNKNOWN),
            StatusCode.INVALID_ARGUMENT,
            "precondition kind 0 is unknown",
        ),
        (
            proxy_pb2.PutRequest(key="k", value=versioned(2), precondition=WITHOUT_VERSION),
            StatusCode.INVALID_ARGUMENT,
            "precondition MATCHES_VERSION needs a version",
        ),
        (
            proxy_pb2.PutRequest(key="k", value=versioned(2), precondition=ABSENT),
            StatusCode.FAILED_PRECONDITION,
            PREFIX + "key-value pair already exists",
        ),
        (
            proxy_pb2.PutRequest(key="k", value=versioned(3), precondition=matches(2)),
            StatusCode.FAILED_PRECONDITION,
            PREFIX + "expected version 'v2' but found version 'Some(v1)'",
        ),
        (
            proxy_pb2.PutRequest(key="k" * 2000, value=versioned(3), precondition=NONE),
            StatusCode.INVALID_ARGUMENT,
            PREFIX + "the key has 2000 bytes: shorten it to 1024",
        ),
    ],
)
def test_proxy_refuses_with_the_documented_words(
    request_: proxy_pb2.PutRequest, code: StatusCode, text: str
) -> None:
    """Goal: tools match these. Method: each refusal, on a key that has version 1."""

    async def test(_: World, machine: Machine) -> None:
        proxy = MetadataProxyHandlers(machine.client)
        first = proxy_pb2.PutRequest(key="k", value=versioned(1), precondition=ABSENT)
        await proxy.put(first)
        with pytest.raises(GrpcError) as raised:
            await proxy.put(request_)
        assert (raised.value.code, raised.value.message) == (code, text)

    on_one_node(test)


def test_before_provisioning() -> None:
    """Goal: a new node says what it waits for, and is founded once. Method: status, read, found
    twice through the control plane.
    """

    async def main(loop: SimLoop) -> None:
        world = World(loop)
        machine = await world.boot("n1")
        await world.run(machine, founding(machine))

    async def founding(machine: Machine) -> None:
        server, proxy = server_of(machine), MetadataProxyHandlers(machine.client)
        status = await server.status(Empty())
        assert status == server_pb2.StatusResponse(status=common_pb2.MS_AWAITING_PROVISIONING)
        with pytest.raises(GrpcError, match="Metadata store has not been provisioned yet") as one:
            await proxy.get(proxy_pb2.GetRequest(key="k"))
        assert one.value.code is StatusCode.UNAVAILABLE
        request = server_pb2.ProvisionRequest(nodes_configuration=first_nodes("n1"))
        assert (await server.provision(request)).newly_provisioned
        assert not (await server.provision(request)).newly_provisioned
        for damaged in (b"", first_nodes("n1", 0)):
            with pytest.raises(GrpcError) as other:
                await server.provision(server_pb2.ProvisionRequest(nodes_configuration=damaged))
            assert other.value.code is StatusCode.INVALID_ARGUMENT

    simulate(1, main)


def test_the_standing_of_a_member_and_its_membership_orders() -> None:
    """Goal: the figures and the codes of the membership commands. Method: the only member of a
    cluster is asked, ordered to join, to remove itself, and to remove a stranger.
    """

    async def test(_: World, machine: Machine) -> None:
        server = server_of(machine)
        status = await server.status(Empty())
        assert status.status == common_pb2.MS_MEMBER and status.leader == 1
        assert status.configuration.version.value == 1
        assert machine.server is not None
        assert dict(status.configuration.members) == {1: machine.server.storage_id}
        assert status.raft.applied == status.raft.committed == status.raft.last_index
        assert status.raft.first_index == 1
        refusals: list[tuple[Coroutine[Any, Any, Empty], StatusCode, str]] = [
            (
                server.add_node(Empty()),
                StatusCode.ALREADY_EXISTS,
                "cannot add node because it is still a member of the metadata cluster",
            ),
            (
                server.remove_node(server_pb2.RemoveNodeRequest(plain_node_id=1)),
                StatusCode.FAILED_PRECONDITION,
                "cannot remove the only member",
            ),
            (
                server.remove_node(server_pb2.RemoveNodeRequest(plain_node_id=7)),
                StatusCode.INVALID_ARGUMENT,
                "node 'N7' is not a member",
            ),
            (
                server.remove_node(
                    server_pb2.RemoveNodeRequest(plain_node_id=1, created_at_millis=5)
                ),
                StatusCode.INVALID_ARGUMENT,
                "node 'N1' is not a member",
            ),
        ]
        for order, code, text in refusals:
            with pytest.raises(GrpcError) as raised:
                await order
            assert (raised.value.code, raised.value.message) == (code, text)

    on_one_node(test)


def test_requests_for_another_cluster_are_denied() -> None:
    """Goal: a request never lands in the wrong store. Method: wrong fingerprint, wrong name, then
    the right ones.
    """

    async def test(_: World, machine: Machine) -> None:
        server = server_of(machine)
        wrong = (
            server_pb2.GetRequest(key="k", cluster_fingerprint=1),
            server_pb2.GetRequest(key="k", cluster_name="other"),
        )
        for request in wrong:
            with pytest.raises(GrpcError) as raised:
                await server.get(request)
            assert raised.value.code is StatusCode.PERMISSION_DENIED
        right = server_pb2.PutRequest(
            key="k",
            value=versioned(1),
            precondition=ABSENT,
            cluster_fingerprint=FINGERPRINT,
            cluster_name="test",
        )
        await server.put(right)
        assert (await server.get(server_pb2.GetRequest(key="k"))).value == versioned(1)
        with pytest.raises(GrpcError, match="already exists") as again:
            await server.put(right)
        assert again.value.code is StatusCode.FAILED_PRECONDITION

    on_one_node(test)


def test_a_follower_and_a_standby_send_tools_elsewhere() -> None:
    """Goal: codes that make tools try the next node. Method: read and remove on a follower; then
    make it a standby and read again.
    """

    async def main(loop: SimLoop) -> None:
        world = World(loop)
        await world.found(("n1", "n2", "n3"))
        leader = world.leader()
        assert leader is not None and leader.cache.me is not None
        other = next(one for one in world.machines.values() if one is not leader)
        assert other.cache.me is not None
        order = server_pb2.RemoveNodeRequest(plain_node_id=other.cache.me.id)
        with pytest.raises(GrpcError) as refused:
            await world.run(other, server_of(other).remove_node(order))
        assert refused.value.code is StatusCode.INTERNAL
        text = "command needs to be processed by the metadata cluster leader"
        assert refused.value.message == text
        await _read_is_unavailable(world, other, f"not leader: ask N{leader.cache.me.id}")
        await world.run(leader, server_of(leader).remove_node(order))
        handlers = server_of(other)

        def is_standby() -> bool:
            assert other.server is not None
            return other.server.phase.value == "standby"

        await world.until(is_standby)
        response = await world.run(other, handlers.status(Empty()))
        assert response.status == common_pb2.MS_STANDBY
        await _read_is_unavailable(world, other, "Not being part of the metadata store cluster.")
        await world.run(other, handlers.add_node(Empty()))

    simulate(1, main)


async def _read_is_unavailable(world: World, machine: Machine, text: str) -> None:
    with pytest.raises(GrpcError) as raised:
        await world.run(machine, server_of(machine).get(server_pb2.GetRequest(key="k")))
    assert (raised.value.code, raised.value.message) == (StatusCode.UNAVAILABLE, text)
