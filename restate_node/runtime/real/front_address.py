"""Addresses that a node listens on, and the error when it cannot."""

from __future__ import annotations

import socket
from dataclasses import dataclass


class AddressUnusable(Exception):
    """The node cannot listen here. Its text is one line: which address, and what to change."""


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """A TCP address to bind. Port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def check_free(self) -> None:
        """Bind and let go again; raises AddressUnusable when that cannot be done."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self.host, self.port))
            except OSError as error:
                raise AddressUnusable(f"cannot listen on {self}: {error.strerror}") from None
