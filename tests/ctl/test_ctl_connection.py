"""Finding a cluster: newest metadata, dead addresses, other services, one call on many nodes."""

from __future__ import annotations

import asyncio
import random
import socket
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from ctl_fake_node import FakeNode, Refusal, members, one_log

from restate_node.ctl import connection
from restate_node.ctl.address import parse_address, parse_addresses
from restate_node.ctl.connection import NOT_PROVISIONED, CallsFailed, Cluster
from restate_node.ctl.errors import CallFailed, CtlError, NotProvisioned
from restate_node.ctl.link import NOT_A_NODE, Timeouts
from restate_node.ctl.methods import GET_IDENT, GET_KEY
from restate_node.types.ids import PlainNodeId
from restate_node.types.nodes import Role
from restate_node.wire.pb import common_pb2
from restate_node.wire.pb.metadata_proxy_svc_pb2 import GetRequest, GetResponse

QUICK = Timeouts(connect_ms=150, request_ms=2_000)


def nobody() -> str:
    """An address that refuses connections."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/"


def cluster(*addresses: str, single: bool = False, timeouts: Timeouts = QUICK) -> Cluster:
    """A cluster with a fixed order of choices."""
    return Cluster(parse_addresses(list(addresses)), timeouts, single=single, rng=random.Random(0))


@asynccontextmanager
async def raw_server(reply: bytes | None) -> AsyncIterator[str]:
    """A server that is not gRPC: it answers anything with `reply`, or says nothing at all."""
    open_connections: list[asyncio.StreamWriter] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_connections.append(writer)
        if reply is not None and await reader.read(1):
            writer.write(reply)
            await writer.drain()
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()
        for writer in open_connections:
            writer.close()


async def test_the_newest_nodes_configuration_wins_and_dead_addresses_do_no_harm() -> None:
    """Goal: any list of addresses leads to the newest members. How: dead, old and new together."""
    async with FakeNode(1) as old, FakeNode(2) as new:
        old.knows(members(3, old.address))
        new.knows(members(5, old.address, new.address))
        async with cluster(nobody(), old.address, new.address) as found:
            configuration = await found.nodes_configuration()
            again = await found.nodes_configuration()
    assert configuration.version == 5
    assert again is configuration
    assert old.calls == {"GetIdent": 1}
    assert new.calls == {"GetIdent": 1, "GetMetadata": 1}


async def test_an_older_copy_is_better_than_none() -> None:
    """Goal: a node that cannot serve its object does not stop us. How: the newest one fails."""
    async with FakeNode(1) as old, FakeNode(2) as broken:
        old.knows(members(3, old.address, broken.address))
        broken.knows()
        broken.ident.nodes_config_version = 9
        async with cluster(old.address, broken.address) as found:
            assert (await found.nodes_configuration()).version == 3


async def test_nobody_answers() -> None:
    """Goal: each address with its reason. How: two dead addresses and an unknown host."""
    first, second = nobody(), nobody()
    async with cluster(first, second) as found:
        with pytest.raises(CtlError) as caught:
            await found.nodes_configuration()
    message = str(caught.value)
    assert f"{first}: unavailable: connection refused" in message
    assert f"{second}: unavailable: connection refused" in message
    assert "\n" not in message


async def test_not_provisioned_yet() -> None:
    """Goal: the hint to provision, and who answered. How: a node without a cluster."""
    async with FakeNode(None) as fresh, cluster(fresh.address) as found:
        with pytest.raises(NotProvisioned, match="restatectl provision") as caught:
            await found.nodes_configuration()
        assert str(caught.value) == NOT_PROVISIONED
        assert [str(a.link.address) for a in found.direct_answers()] == [fresh.address]


async def test_nodes_that_are_not_alive_are_passed_over() -> None:
    """Goal: what a starting node knows may be old. How: one that shuts down, with metadata."""
    async with FakeNode(1) as starting, cluster(starting.address) as found:
        starting.knows(members(3, starting.address))
        starting.ident.status = common_pb2.SHUTTING_DOWN
        with pytest.raises(NotProvisioned, match="is shutting down"):
            await found.nodes_configuration()
    assert starting.calls == {"GetIdent": 1}


async def test_logs_come_from_the_nodes_not_from_the_address() -> None:
    """Goal: the newest logs of a majority. How: N1 is given and old, N2 is new, N3 is dead."""
    async with FakeNode(1) as first, FakeNode(2) as second:
        nodes = members(3, first.address, second.address, nobody())
        first.knows(nodes, one_log(4))
        second.knows(nodes, one_log(7))
        async with cluster(first.address) as found:
            assert (await found.logs()).version == 7
        async with cluster(first.address, single=True) as alone:
            assert (await alone.logs()).version == 4
    assert second.calls == {"GetIdent": 1, "GetMetadata": 1}


async def test_a_silent_node_does_not_hold_up_the_majority(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Goal: one black hole of three costs little. How: it would last a minute, we give it 20 ms."""
    monkeypatch.setattr(connection, "STRAGGLER_TIMEOUT_MS", 20)
    async with FakeNode(1) as first, FakeNode(2) as second, raw_server(None) as silent:
        nodes = members(3, first.address, second.address, silent)
        first.knows(nodes, one_log(4))
        second.knows(nodes, one_log(5))
        async with cluster(first.address, timeouts=Timeouts(60_000, 60_000)) as found:
            async with asyncio.timeout(10):
                assert (await found.logs()).version == 5


async def test_unreadable_metadata_names_the_node() -> None:
    """Goal: garbage is an error of that node, not a trace. How: an unknown codec byte."""
    async with FakeNode(1) as node, cluster(node.address) as found:
        node.knows(members(3, node.address))
        node.blobs[common_pb2.NODES_CONFIGURATION] = b"\x09nonsense"
        with pytest.raises(CtlError, match=r"sent an unreadable object: .*codec 9"):
            await found.nodes_configuration()


async def test_an_address_that_worked_is_used_for_its_node() -> None:
    """Goal: operators behind a port mapping. How: N1 advertises an address that nobody serves."""
    async with FakeNode(1) as node, cluster(node.address) as found:
        node.knows(members(3, nobody()), one_log(2))
        assert (await found.logs()).version == 2
        member = (await found.nodes_configuration()).node(PlainNodeId(1))
        assert member is not None
        assert str(found.link_to(member).address) == node.address


async def test_unix_sockets(tmp_path: Path) -> None:
    """Goal: `-s unix:<path>`. How: a node that listens on a socket only."""
    listen = f"unix:{tmp_path}/fabric.sock"
    async with FakeNode(1, listen=listen) as node, cluster(listen) as found:
        node.knows(members(3, nobody()))
        assert (await found.nodes_configuration()).version == 3


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", NOT_A_NODE),
        (None, "unavailable: no connection within 150 ms"),
    ],
)
async def test_other_servers_are_recognised(reply: bytes | None, reason: str) -> None:
    """Goal: a wrong port says so. How: a web server, and a server that never speaks."""
    async with raw_server(reply) as address, cluster(address) as found:
        with pytest.raises(CtlError) as caught:
            await found.nodes_configuration()
    assert f"{address}: {reason}" in str(caught.value)


async def test_another_grpc_service_is_recognised() -> None:
    """Goal: gRPC alone does not make a node. How: a server without our methods."""
    server = grpc.server(ThreadPoolExecutor(max_workers=1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    async with cluster(f"127.0.0.1:{port}") as found:
        with pytest.raises(CtlError, match="no Restate node answers there"):
            await found.nodes_configuration()
    server.stop(grace=0).wait()


async def test_slow_nodes_run_into_the_request_timeout() -> None:
    """Goal: nothing hangs. How: a call that never ends, with 50 ms for it."""
    over = threading.Event()

    def wait(_request: GetRequest) -> GetResponse:
        over.wait(timeout=20)
        return GetResponse()

    node = FakeNode(1)
    node.on(GET_KEY, wait)
    async with node, cluster(node.address, timeouts=Timeouts(1_000, 50)) as found:
        link = found.link(parse_address(node.address))
        with pytest.raises(CallFailed, match="no answer within 50 ms") as caught:
            await found.call(link, GET_KEY, GetRequest(key="x"))
        assert caught.value.unreachable
        over.set()


def keyed_nodes(*refusals: grpc.StatusCode | None) -> list[FakeNode]:
    """Nodes whose Get answers, or fails with a status."""
    nodes: list[FakeNode] = []
    for number, refusal in enumerate(refusals, start=1):

        def answer(_request: GetRequest, code: grpc.StatusCode | None = refusal):
            if code is not None:
                raise Refusal(code, "said no")
            return GetResponse(value={"version": {"value": 7}})

        node = FakeNode(number)
        node.on(GET_KEY, answer)
        nodes.append(node)
    return nodes


@pytest.mark.parametrize(
    ("refusals", "asked", "succeeds"),
    [
        ((None, None), (1, 0), True),
        ((grpc.StatusCode.INTERNAL, None), (1, 1), True),
        ((grpc.StatusCode.UNAVAILABLE, None), (1, 1), True),
        ((grpc.StatusCode.FAILED_PRECONDITION, None), (1, 0), False),
        ((grpc.StatusCode.OUT_OF_RANGE, None), (1, 0), False),
        ((grpc.StatusCode.INTERNAL, grpc.StatusCode.INTERNAL), (1, 1), False),
    ],
)
async def test_one_node_after_the_other_is_tried(
    refusals: tuple[grpc.StatusCode | None, ...], asked: tuple[int, ...], succeeds: bool
) -> None:
    """Goal: the next node helps out unless asking it is pointless. How: statuses by node."""
    first, second = keyed_nodes(*refusals)
    async with first, second, cluster(first.address) as found:
        first.knows(members(3, first.address, second.address))
        if succeeds:
            response = await found.try_each(GET_KEY, GetRequest(key="x"))
            assert response.value.version.value == 7
        else:
            with pytest.raises(CallsFailed, match="said no") as caught:
                await found.try_each(GET_KEY, GetRequest(key="x"))
            assert len(caught.value.failures) == sum(asked)
    assert (first.calls["Get"], second.calls["Get"]) == asked


async def test_the_same_answer_is_told_once() -> None:
    """Goal: three nodes that agree are one line, and that somebody answered is not denied. How:
    two refusals alike, then two nodes that are not there."""
    internal, away = grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE
    for statuses, beginning in (((internal,) * 2, "internal: "), ((away,) * 2, "no node could")):
        first, second = keyed_nodes(*statuses)
        async with first, second, cluster(first.address) as found:
            first.knows(members(3, first.address, second.address))
            with pytest.raises(CallsFailed) as caught:
                await found.try_each(GET_KEY, GetRequest(key="x"))
        text = str(caught.value)
        assert text.startswith(beginning)
        assert text.count("said no") == 1
        assert f"({first.address}, {second.address})" in text


async def test_an_unreachable_node_is_asked_once() -> None:
    """Goal: many calls do not wait many times. How: two calls, the first node unavailable."""
    first, second = keyed_nodes(grpc.StatusCode.UNAVAILABLE, None)
    async with first, second, cluster(first.address) as found:
        first.knows(members(3, first.address, second.address))
        for _ in range(2):
            await found.try_each(GET_KEY, GetRequest(key="x"))
    assert (first.calls["Get"], second.calls["Get"]) == (1, 2)


async def test_roles_choose_the_nodes() -> None:
    """Goal: admin calls go to admins. How: N2 is the only one; then nobody is; then -S."""
    first, second = keyed_nodes(None, None)
    async with first, second:
        first.knows(members(3, first.address, second.address, admins=(2,)))
        async with cluster(first.address) as found:
            await found.try_each(GET_KEY, GetRequest(key="x"), Role.ADMIN)
        assert (first.calls["Get"], second.calls["Get"]) == (0, 1)
        async with cluster(first.address) as found:
            with pytest.raises(CtlError, match="no node with the role http-ingress"):
                await found.try_each(GET_KEY, GetRequest(key="x"), Role.HTTP_INGRESS)
        del first.ident.roles[:]
        async with cluster(first.address, single=True) as alone:
            with pytest.raises(CtlError, match="has not the role admin"):
                await alone.try_each(GET_KEY, GetRequest(key="x"), Role.ADMIN)
            await alone.try_each(GET_KEY, GetRequest(key="x"))
    assert first.calls["Get"] == 1


async def test_each_keeps_results_and_errors_in_order() -> None:
    """Goal: one failure does not spoil the rest. How: a live and a dead node at once."""
    async with FakeNode(1) as node, cluster(node.address) as found:
        addresses = parse_addresses([nobody(), node.address])
        answers = await found.each(
            addresses,
            lambda address: found.call(found.link(address), GET_IDENT, GET_IDENT.request()),
        )
    assert isinstance(answers[0], CallFailed)
    assert not isinstance(answers[1], CtlError)
