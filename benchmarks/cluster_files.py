"""Configuration of the three nodes that a benchmark starts for itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CLUSTER_NAME = "append-benchmark"
PARTITIONS = 4
HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Place:
    """Where one node listens."""

    number: int
    fabric_port: int
    admin_port: int
    ingress_port: int

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.fabric_port}/"

    @property
    def name(self) -> str:
        return f"node-{self.number}"


def places(ports: list[int]) -> list[Place]:
    """Three ports for each node."""
    groups = zip(*[iter(ports)] * 3, strict=True)
    return [Place(number, *group) for number, group in enumerate(groups, start=1)]


def write_configuration(
    directory: Path,
    place: Place,
    everybody: list[Place],
    replication: int,
    partitions: int = PARTITIONS,
) -> Path:
    """The node's TOML file; the first node founds the cluster."""
    addresses = ", ".join(f'"{other.address}"' for other in everybody)
    text = f"""\
cluster-name = "{CLUSTER_NAME}"
node-name = "{place.name}"
base-dir = "{directory}"
bind-ip = "{HOST}"
bind-port = {place.fabric_port}
advertised-address = "{place.address}"
auto-provision = {"true" if place.number == 1 else "false"}
default-num-partitions = {partitions}
default-replication = {replication}
log-format = "compact"
log-disable-ansi-codes = true

[metadata-client]
addresses = [{addresses}]

[admin]
bind-address = "{HOST}:{place.admin_port}"

[ingress]
bind-address = "{HOST}:{place.ingress_port}"
"""
    path = directory / f"{place.name}.toml"
    path.write_text(text, encoding="utf-8")
    return path
