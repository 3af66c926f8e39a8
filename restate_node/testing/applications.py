"""The applications that a test has registered: each answers at an address of its own, in memory.

    register(app) ─▶ http://app-1 ─▶ life app-1#1 ── crash ──▶ nobody answers ── start ──▶ app-1#2

A crash breaks what runs, as seen by the node and by the application. Calls are tried again by the
cluster until the application is back.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

from restate_node.sim.hosts import Death, Incarnation
from restate_node.sim.loop import SimLoop
from restate_node.sim.services import SimServices
from restate_node.testing.asgi import AsgiApplication, AsgiService
from restate_node.testing.errors import NotPossible
from restate_node.testing.machines import Processes

APPLICATIONS_MAX: Final = 100

VirtualClock = Callable[[], int]


class Application:
    """One application and how it is doing."""

    def __init__(
        self,
        name: str,
        application: AsgiApplication,
        services: SimServices,
        processes: Processes,
        users: list[Incarnation],
        virtual_ms: VirtualClock | None,
    ) -> None:
        self.uri = f"http://{name}"
        self._name = name
        self._application = application
        self._services = services
        self._processes = processes
        self._users = users
        self._virtual_ms = virtual_ms
        self._service: AsgiService | None = None
        self._delay_s = 0.0
        self._traffic = 0

    @property
    def is_up(self) -> bool:
        return self._service is not None

    @property
    def delay_s(self) -> float:
        """Seconds that pass before each request reaches the application."""
        return self._delay_s

    @delay_s.setter
    def delay_s(self, seconds: float) -> None:
        self._delay_s = seconds
        if self._service is not None:
            self._service.delay_s = seconds

    @property
    def traffic(self) -> int:
        """Messages in both directions."""
        return self._traffic + (0 if self._service is None else self._service.traffic)

    def start(self, application: AsgiApplication | None = None) -> None:
        """Answer again after a crash; with another application, if one is given."""
        if self._service is not None:
            raise NotPossible(f"{self._name} runs already: crash it first")
        self._application = application or self._application
        life = self._processes.boot(self._name)
        self._users.append(life)
        service = AsgiService(self._application, self._processes, life, self._virtual_ms)
        service.delay_s = self._delay_s
        self._service = service
        self._services.serve(self.uri, service)

    def crash(self) -> None:
        """End it in whatever it does; nobody answers until `start`."""
        service = self._service
        if service is None:
            raise NotPossible(f"{self._name} is down already")
        self._service = None
        self._traffic += service.traffic + 1
        self._services.stop(self.uri)
        service.crash()
        self._users.remove(service.life)
        if isinstance(self._processes, SimLoop):
            self._processes.kill(service.life)
        else:
            service.life.die(Death.KILLED)

    @contextmanager
    def down(self) -> Generator[None]:
        """Crashed within the block."""
        self.crash()
        try:
            yield
        finally:
            self.start()
