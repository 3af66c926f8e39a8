"""Addresses of users' services: what a URI says, and where a node refuses to connect.

Whoever registers a deployment chooses an address that the node then connects to. Inside a cloud
that reaches one thing no user should: the metadata service of the machine, which hands out its
credentials. The guard looks at the address after name resolution, at the very one that is connected
to: a name that resolves differently the second time gains nothing.

Loopback and private networks are allowed: services live there.

Pure. Driven by `runtime.real.service_connecting`.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final
from urllib.parse import urlsplit

METADATA_ADDRESSES: Final = frozenset(
    ip_address(text)
    for text in (
        "100.100.100.200",  # Alibaba Cloud
        "168.63.129.16",  # Azure
        "192.0.0.192",  # Oracle Cloud
        "fd00:ec2::254",  # AWS
        "fd20:ce::254",  # Google Cloud
    )
)
"""Those that are not link-local anyway, as 169.254.169.254 is."""

PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class ServiceUri:
    """The parts of an address that a connection and its requests need."""

    scheme: str
    host: str
    port: int
    authority: str
    """For `:authority` and `host`."""
    prefix: str
    """Path before the path of every request, without a slash at the end."""

    @property
    def secure(self) -> bool:
        return self.scheme == "https"


def parse_service_uri(uri: str) -> ServiceUri:
    """Raises ValueError with what to change."""
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{error}; write http(s)://host:port") from error
    if parts.scheme not in PORTS or not parts.hostname:
        raise ValueError("write http(s)://host:port")
    if parts.query or parts.fragment or parts.username is not None:
        raise ValueError("leave out query, fragment and credentials")
    if any(character <= " " or character > "~" for character in uri):
        raise ValueError("write spaces and other special characters as %XX")
    default = PORTS[parts.scheme]
    host = parts.hostname
    shown = f"[{host}]" if ":" in host else host
    authority = shown if port in (None, default) else f"{shown}:{port}"
    return ServiceUri(parts.scheme, host, port or default, authority, parts.path.rstrip("/"))


def is_forbidden(address: str) -> bool:
    """Whether a numeric address is link-local or a cloud's metadata service."""
    number: IPv4Address | IPv6Address | None = ip_address(address.partition("%")[0])
    if isinstance(number, IPv6Address):
        number = number.ipv4_mapped or number.sixtofour or number
    return number.is_link_local or number in METADATA_ADDRESSES
