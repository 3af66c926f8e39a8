"""The benchmark of durable execution: its service, its figures, and a small run of all of it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from benchmarks import processes
from benchmarks.durable import Restarts, Suspended
from benchmarks.http_caller import Caller
from benchmarks.sleeping_service import MANIFEST, SERVICE, sleeping_service
from restate_node.types.journal import MessageType
from restate_node.wire.endpoint_manifest import parse_manifest
from restate_node.wire.service_frames import FrameDecoder


async def test_a_node_understands_the_fixed_answers() -> None:
    """Goal: the bytes of the service are a manifest and two attempts. Method: ask over one
    connection, read with the product's own decoders.
    """
    (port,) = processes.free_ports(1)
    found: dict[str, list[int]] = {}
    async with sleeping_service(port):
        caller = Caller(port)
        for handler in ("sleep", "nap"):
            status, body = await caller.post(f"/invoke/{SERVICE}/{handler}", b"anything")
            assert status == 200
            found[handler] = [frame.kind for frame in FrameDecoder(1 << 20).receive(body)]
        caller.close()
    assert found == {
        "sleep": [MessageType.SLEEP_COMMAND, MessageType.SUSPENSION],
        "nap": [MessageType.OUTPUT_COMMAND, MessageType.END],
    }
    manifest = parse_manifest("application/vnd.restate.endpointmanifest.v3+json", MANIFEST)
    assert [service.name for service in manifest.services] == [SERVICE]


def test_figures_stand_beside_their_floors() -> None:
    """Goal: nobody has to know the floors. Method: rows of made-up rounds, medians among them."""
    rows = [
        *Suspended(1000, 2.0, 90.0, 130.0, 120.0, 0.1).rows(),
        *Restarts((1.0, 3.0, 2.0), (2.0, 4.0, 3.0)).rows(),
    ]
    told = {figure: (measured, floor) for figure, measured, floor in rows}
    assert told["1,000 suspended: memory of a node"] == ("120 MB", "≤ 400 MB, aim 150 MB")
    assert told["restart: first call"] == ("2.00 s", "≤ 10 s, aim 2 s")


@pytest.mark.slow
@pytest.mark.process
def test_a_small_run() -> None:
    """Goal: the benchmark runs as the README types it. Method: few invocations, one restart."""
    command = [sys.executable, "-m", "benchmarks.durable", "--invocations", "100"]
    done = subprocess.run(
        [*command, "--rounds", "1", "--json"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    suspended, restarts = json.loads(done.stdout)["cases"]
    assert suspended["invocations"] == 100
    assert suspended["after_mb"] > 0
    assert len(restarts["first_s"]) == 1
