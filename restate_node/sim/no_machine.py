"""What an event loop usually offers of the machine, and a simulated one does not.

Whoever reaches for it learns so in words: a test of a user's handler is the usual way to get here.
"""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn


class NotInSimulation(RuntimeError):
    """Something that needs the machine was wanted where there is none."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"there are no {what} in simulated time: replace what needs them, "
            "or run in real time, on an ordinary event loop"
        )


class NoMachine(asyncio.AbstractEventLoop):
    """A base for loops: no sockets, no subprocesses."""

    async def getaddrinfo(self, *arguments: Any, **named: Any) -> NoReturn:
        raise NotInSimulation("sockets")

    async def create_connection(self, *arguments: Any, **named: Any) -> NoReturn:
        raise NotInSimulation("sockets")

    async def create_server(self, *arguments: Any, **named: Any) -> NoReturn:
        raise NotInSimulation("sockets")

    async def create_unix_connection(self, *arguments: Any, **named: Any) -> NoReturn:
        raise NotInSimulation("sockets")

    async def create_datagram_endpoint(self, *arguments: Any, **named: Any) -> NoReturn:
        raise NotInSimulation("sockets")

    async def sock_connect(self, *arguments: Any, **named: Any) -> NoReturn:
        raise NotInSimulation("sockets")

    def add_reader(self, *arguments: Any, **named: Any) -> NoReturn:
        raise NotInSimulation("sockets")

    async def subprocess_exec(self, *arguments: Any, **named: Any) -> NoReturn:
        raise NotInSimulation("subprocesses")

    async def subprocess_shell(self, *arguments: Any, **named: Any) -> NoReturn:
        raise NotInSimulation("subprocesses")
