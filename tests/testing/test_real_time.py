"""Real time: the same cluster on an ordinary loop, with ports, and services behind sockets."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest
from hypercorn.asyncio import serve
from hypercorn.config import Config

from restate_node.testing import Cluster, HandlerFailed, NotPossible, NotRegistered, cluster
from tests.process.node_processes import http
from tests.testing.applications import Seen, app, counter, greeter


@pytest.mark.restate(app=app(greeter()), time="real")
async def test_ports(restate: Cluster) -> None:
    """Goal: clients with sockets can be tested. How: ingress and admin API over HTTP."""
    url = f"{restate.ingress_url}/Greeter/greet"
    status, body = await asyncio.to_thread(http, url, b'"Ada"')
    assert (status, json.loads(body)) == (200, "Hello Ada")
    status, body = await asyncio.to_thread(http, f"{restate.admin_url}/services")
    assert [service["name"] for service in json.loads(body)["services"]] == ["Greeter"]
    with pytest.raises(NotPossible, match="time is real"):
        restate.time  # noqa: B018 - asking is what fails
    with pytest.raises(NotPossible, match="virtual time"):
        restate.kill("n1")


async def test_three_nodes_and_a_stop() -> None:
    """Goal: any asyncio program can have a cluster. How: three nodes in a test without fixture, a
    node that leads is stopped and started, a service crashes in mid-step.
    """
    seen = Seen()
    async with cluster(app(greeter()), nodes=3) as restate:
        service = await restate.register(app(counter(seen, pause_s=0.05)))
        assert await restate.call("Counter/ann/add", 1) == 1
        running = asyncio.ensure_future(restate.call("Counter/ann/add", 1))
        await asyncio.sleep(0.02)
        service.crash()
        leader = restate.leader("ann")
        await restate.stop(leader)
        service.start()
        assert await running == 2
        await restate.start(leader)
        assert restate.running == restate.nodes
        with pytest.raises(HandlerFailed, match="not Ada"):
            await restate.call("Greeter/refuse", "Ada")


async def test_a_service_behind_a_socket() -> None:
    """Goal: services of any language. How: an application served over HTTP/2, by its address."""
    over = asyncio.Event()
    config = Config()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        config.bind = [f"fd://{listener.fileno()}"]
        application: Any = app(greeter())
        serving = asyncio.ensure_future(
            serve(application, config, shutdown_trigger=over.wait, mode="asgi")
        )
        async with cluster() as restate:
            with pytest.raises(NotRegistered):
                await restate.register_url("http://127.0.0.1:1")
            await restate.register_url(f"http://127.0.0.1:{port}")
            assert await restate.call("Greeter/greet", "Ada") == "Hello Ada"
        over.set()
        await serving
        listener.detach()
