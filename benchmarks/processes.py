"""Child processes of a benchmark: started on free ports, ended by their own ids."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

import psutil

STOP_WITHIN_S = 8.0


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address that nobody uses right now."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def start(arguments: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """Start a Python module of this installation; what it prints goes to `log`."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def stop(children: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ask them to stop, then insist."""
    for child in children:
        if child.stdin is not None:
            with contextlib.suppress(OSError):
                child.stdin.close()
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
    deadline = monotonic() + STOP_WITHIN_S
    for child in children:
        try:
            child.wait(max(0.1, deadline - monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def processor_seconds(process_ids: Sequence[int]) -> float:
    """User and system time of the processes so far; 0 for those that are gone."""
    total = 0.0
    for process_id in process_ids:
        with contextlib.suppress(psutil.Error):
            times = psutil.Process(process_id).cpu_times()
            total += times.user + times.system
    return total


def resident_bytes(process_id: int) -> int:
    """Memory of the process that is in use now."""
    return int(psutil.Process(process_id).memory_info().rss)
