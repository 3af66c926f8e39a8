"""Addresses of nodes as an operator types them.

    localhost            http://localhost:5122/       scheme and port are optional
    :6122                http://127.0.0.1:6122/
    http://10.0.0.7      http://10.0.0.7:80/          with a scheme, the port is that of the scheme
    unix:/run/x.sock     a socket on this machine

Nodes advertise the same form, so this parses the addresses of a nodes configuration too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

DEFAULT_ADDRESS = "http://localhost:5122/"
DEFAULT_PORT = 5122
ADDRESSES_MAX = 256

_HTTP_PORT = 80
_HTTP = re.compile(
    r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://)?"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s/:\[\]?#@]*)"
    r"(?::(?P<port>[0-9]{1,5}))?/?"
)


@dataclass(frozen=True, slots=True)
class Address:
    """`text` is what people read, `target` what gRPC dials."""

    text: str
    target: str

    def __str__(self) -> str:
        return self.text


def parse_address(text: str) -> Address:
    """One address; ValueError says what was expected."""
    stripped = text.strip()
    if stripped.startswith("unix:"):
        return _unix(stripped.removeprefix("unix:"))
    matched = _HTTP.fullmatch(stripped)
    if matched is None or not (matched["host"] or matched["port"]):
        raise ValueError(
            f"{text!r} is not an address; write host:port, http://host:port/ or unix:/path"
        )
    scheme = (matched["scheme"] or "http").lower()
    if scheme != "http":
        raise ValueError(f"{text!r}: scheme {scheme!r} is not supported; use http:// or unix:")
    default_port = _HTTP_PORT if matched["scheme"] else DEFAULT_PORT
    port = int(matched["port"] or default_port)
    if not 1 <= port <= 65535:
        raise ValueError(f"{text!r}: port {port} is not between 1 and 65535")
    host = matched["host"] or "127.0.0.1"
    return Address(f"http://{host}:{port}/", f"{host}:{port}")


def parse_addresses(texts: list[str]) -> tuple[Address, ...]:
    """Comma lists, without repetitions; ValueError says what was expected."""
    parts = [part for text in texts for part in text.split(",") if part.strip()]
    if not parts:
        raise ValueError("the list of addresses is empty; give at least one")
    if len(parts) > ADDRESSES_MAX:
        raise ValueError(f"{len(parts)} addresses; at most {ADDRESSES_MAX} are allowed")
    return tuple(dict.fromkeys(parse_address(part) for part in parts))


def _unix(path: str) -> Address:
    path = "/" + path.lstrip("/") if path.startswith("//") else path
    if not path:
        raise ValueError("unix: needs the path of a socket, such as unix:/run/node-1/fabric.sock")
    return Address(f"unix:{path}", f"unix:{path}")
