"""Addresses that a node listens on, and the error when it cannot."""

from __future__ import annotations

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
