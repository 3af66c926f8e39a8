"""Log lines of simulated nodes: into the timeline, and an ERROR ends well-being.

structlog is configured for the process as a whole, so one run at a time takes it over and gives it
back. An ERROR says that something happened which never should; in a simulation, where every
failure is ordered, that is a finding, unless the fault that was ordered explains it: a host whose
disk was told to fail may say so.

Nothing is told before a run has begun or after it has ended: what tasks say while the loop is torn
down belongs to no run.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, MutableMapping
from contextlib import contextmanager
from typing import Any, Final

import structlog

from restate_node.sim.hosts import current_incarnation

LEVELS_TOLD: Final = ("info", "warning", "error", "critical", "exception")

Fields = MutableMapping[str, Any]
Listener = Callable[[str, str, str], None]
"""Life, level and text of a line."""

_LEFT_OUT: Final = ("event", "exc_info")


class NodeLogs:
    """Where log lines go, as soon as somebody listens."""

    def __init__(self) -> None:
        self.listener: Listener | None = None

    @contextmanager
    def captured(self) -> Generator[None]:
        """Within the block no line of any logger goes anywhere else."""
        former = structlog.get_config()
        structlog.configure(processors=[self._tell], cache_logger_on_first_use=False)
        try:
            yield
        finally:
            structlog.configure(**former)

    def _tell(self, _: object, level: str, fields: Fields) -> str:
        if self.listener is not None and level in LEVELS_TOLD:
            life = current_incarnation.get()
            self.listener("world" if life is None else repr(life), level, _line(fields))
        raise structlog.DropEvent


def _line(fields: Fields) -> str:
    """The event and its fields on one line, with the exception behind it, if any."""
    told = [f"{name}={value}" for name, value in fields.items() if name not in _LEFT_OUT]
    text = " ".join([str(fields.get("event", "")), *told]).replace("\n", " / ")
    error = fields.get("exc_info")
    return f"{text} ({error!r})" if isinstance(error, BaseException) else text
