"""Real nodes for tests: each is a `restate-node` process with a file, a directory and ports of its
own.

    NodeProcess ─ writes node-N.toml ─▶ restate-node --config node-N.toml ─▶ node-N.log
         │                                     │
      restatectl, HTTP on its ports        dies with the test run, whatever ends that

Nothing waits for a fixed time: `eventually` looks again until a deadline, and what it says then
contains the last lines of the logs. Processes are ended by their own ids only.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any, Final, TypeVar

from tests.process.endpoint import counter_endpoint

T = TypeVar("T")

HOST: Final = "127.0.0.1"
READY_WITHIN_S: Final = 60.0
"""Seconds on an idle machine of two cores; tests also run on busy ones."""
STOPPED_WITHIN_S: Final = 5.0
COMMAND_WITHIN_S: Final = 60.0
LOOK_AGAIN_S: Final = 0.05
LAST_LINES: Final = 15
PROGRAMS: Final = Path(sys.executable).parent

DIES_WITH_ITS_PARENT: Final = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execv(sys.argv[1], sys.argv[1:])"
)
"""PR_SET_PDEATHSIG survives the exec: no node outlives a test run that is killed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str
    seconds: float

    def refused(self) -> str:
        """The one line on stderr of a program that exits with 1."""
        assert self.code == 1, self
        assert self.err.count("\n") == 1, self
        return self.err.strip()


@dataclass(slots=True)
class NodeProcess:
    """One node; `keys` are lines of its configuration beside those that make it its own."""

    directory: Path
    name: str
    keys: Sequence[str] = ()
    roles: Sequence[str] = ()
    tables: Sequence[str] = ()
    fabric_port: int = 0
    admin_port: int = 0
    ingress_port: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    starts: int = 0

    def __post_init__(self) -> None:
        if not self.fabric_port:
            self.fabric_port, self.admin_port, self.ingress_port = free_ports(3)

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.fabric_port}/"

    @property
    def admin(self) -> str:
        return f"http://{HOST}:{self.admin_port}"

    @property
    def ingress(self) -> str:
        return f"http://{HOST}:{self.ingress_port}"

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def config(self) -> Path:
        return self.directory / f"{self.name}.toml"

    @property
    def log(self) -> Path:
        return self.directory / f"{self.name}.log"

    # ------------------------------------------------------------ life

    def write_config(self) -> None:
        """The file that the next start reads."""
        self.directory.mkdir(parents=True, exist_ok=True)
        lines = [
            f"node-name = {json.dumps(self.name)}",
            f"base-dir = {json.dumps(str(self.data))}",
            f"bind-ip = {json.dumps(HOST)}",
            f"bind-port = {self.fabric_port}",
            f"advertised-address = {json.dumps(self.address)}",
            *([f"roles = {json.dumps(list(self.roles))}"] if self.roles else []),
            *self.keys,
            f"admin.bind-port = {self.admin_port}",
            f"ingress.bind-port = {self.ingress_port}",
            *self.tables,
        ]
        self.config.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def start(self) -> NodeProcess:
        """Start, without waiting for anything."""
        assert self.process is None or self.process.poll() is not None, "it runs already"
        self.write_config()
        self.starts += 1
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                guarded(["restate-node", "--config", str(self.config)]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self

    def wait_ready(self, within_s: float = READY_WITHIN_S) -> NodeProcess:
        """Until this life has printed its ready line."""
        eventually(self._is_ready, within_s, f"{self.name} is ready", [self])
        return self

    def _is_ready(self) -> bool:
        assert self.running.poll() is None, f"{self.name} ended:\n{self.last_lines()}"
        return self.log.read_text("utf-8", "replace").count(" ready node=") >= self.starts

    @property
    def running(self) -> subprocess.Popen[bytes]:
        assert self.process is not None, "it was never started"
        return self.process

    def kill(self) -> None:
        """As a power failure would."""
        self.running.kill()
        self.running.wait()

    def terminate(self) -> Outcome:
        """SIGTERM, and how long it took."""
        begun = monotonic()
        self.running.send_signal(signal.SIGTERM)
        code = self.running.wait(STOPPED_WITHIN_S * 4)
        return Outcome(code, "", self.last_lines(), monotonic() - begun)

    def ended(self) -> int:
        """Exit code of a process that ends by itself."""
        return self.running.wait(READY_WITHIN_S)

    def last_lines(self) -> str:
        """What it printed last, for people."""
        text = self.log.read_text("utf-8", "replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-LAST_LINES:])

    # ------------------------------------------------------------ talk

    def ctl(self, *arguments: str) -> Outcome:
        """Our restatectl against this node."""
        return run(["restatectl", "--yes", "--address", self.address, *arguments])

    def ctl_json(self, *arguments: str) -> Any:
        """What `--json` prints; the command must succeed."""
        outcome = self.ctl(*arguments, "--json")
        assert outcome.code == 0, f"{outcome}\n{self.last_lines()}"
        return json.loads(outcome.out)

    def patch_state(self, key: str, value: bytes, within_s: float = 10.0) -> int:
        """Replace the state of an object; the HTTP status, 0 without an answer in time. Its service
        is registered when this node does not know it.
        """
        body = json.dumps({"object_key": key, "new_state": {"value": list(value)}}).encode()
        status = http(f"{self.admin}/services/counter/state", body, within_s)[0]
        if status == 404 and self.register_counter() in (200, 201):
            status = http(f"{self.admin}/services/counter/state", body, within_s)[0]
        return status

    def register_counter(self) -> int:
        """Register a deployment with the object `counter`; the HTTP status."""
        body = {"uri": counter_endpoint(), "use_http_11": True}
        return http(f"{self.admin}/deployments", json.dumps(body).encode())[0]


def guarded(command: Sequence[str]) -> list[str]:
    """The command of a program of this installation, as a child that ends with its parent."""
    program = str(PROGRAMS / command[0])
    return [sys.executable, "-S", "-c", DIES_WITH_ITS_PARENT, program, *command[1:]]


def run(
    command: Sequence[str],
    cwd: Path | None = None,
    variables: Mapping[str, str] | None = None,
    answers: str = "",
) -> Outcome:
    """A program of this installation, to its end; `answers` is what a person types."""
    begun = monotonic()
    done = subprocess.run(
        guarded(command),
        input=answers,
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **(variables or {})},
        timeout=COMMAND_WITHIN_S,
    )
    return Outcome(done.returncode, done.stdout, done.stderr, monotonic() - begun)


def http(url: str, body: bytes | None = None, timeout_s: float = 10.0) -> tuple[int, bytes]:
    """GET, or POST of JSON; status 0 when nobody answered."""
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            return int(answer.status), answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except (OSError, urllib.error.URLError):
        return 0, b""


def eventually(
    probe: Callable[[], T], within_s: float, what: str, nodes: Sequence[NodeProcess] = ()
) -> T:
    """The first value of `probe` that is true; fails with what the nodes printed last."""
    deadline, pause = monotonic() + within_s, Event()
    while not (value := probe()):
        if monotonic() > deadline:
            said = "\n".join(f"--- {node.name}\n{node.last_lines()}" for node in nodes)
            raise AssertionError(f"not within {within_s} s: {what}; last seen: {value}\n{said}")
        pause.wait(LOOK_AGAIN_S)
    return value


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address that nobody uses right now."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((HOST, 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def end(nodes: Sequence[NodeProcess]) -> None:
    """Nothing that a test started is left."""
    for node in nodes:
        if node.process is not None and node.process.poll() is None:
            node.kill()


def clean_environment() -> None:
    """Variables of the person who runs the tests must not configure the nodes."""
    for name in [name for name in os.environ if name.startswith("RESTATE")]:
        del os.environ[name]
