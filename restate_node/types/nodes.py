"""The members of the cluster: who they are, where they stand, what they may do.

The nodes configuration is one versioned object in the metadata store. A node joins by name: a
known name gets its next generation, an unknown one the id after the largest ever used. A removed
node leaves a *tombstone* so that its id is never given to another.

    storage state   can write   should write   readable   authoritative   in new nodesets
    provisioning        -            -            yes          yes              -
    read-write         yes          yes           yes          yes             yes
    read-only          yes           -            yes          yes              -
    gone                -            -            yes          yes              -
    data-loss           -            -            yes           -               -
    disabled            -            -             -        (is empty)          -

*Can write* is about copies that a running loglet still sends there; *should write* is about
choosing it for new ones. *Authoritative* means that "I do not have this record" is the truth:
after data loss it is not.

Invariants: node names are unique; the key of a node is the plain part of its generational id;
every update raises the version by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from types import MappingProxyType

from restate_node.types.ids import GenerationalNodeId, PlainNodeId, Version
from restate_node.types.replication import LocationScope


class Role(Enum):
    """What a process hosts."""

    HTTP_INGRESS = "http-ingress"
    ADMIN = "admin"
    WORKER = "worker"
    LOG_SERVER = "log-server"
    METADATA_SERVER = "metadata-server"

    @staticmethod
    def parse(text: str) -> Role:
        """The wire string, or the older name of the metadata server; ValueError lists the roles."""
        name = "metadata-server" if text == "metadata-store" else text
        try:
            return Role(name)
        except ValueError:
            known = ", ".join(role.value for role in Role)
            raise ValueError(f"{text!r} is not a role; use one of {known}") from None


class StorageState(Enum):
    """What a log server may be asked for. See the table above."""

    PROVISIONING = "provisioning"
    DISABLED = "disabled"
    READ_ONLY = "read-only"
    GONE = "gone"
    READ_WRITE = "read-write"
    DATA_LOSS = "data-loss"

    @property
    def can_write(self) -> bool:
        """A running loglet may still store here."""
        return self in (StorageState.READ_WRITE, StorageState.READ_ONLY)

    @property
    def should_write(self) -> bool:
        """Stores are welcome."""
        return self is StorageState.READ_WRITE

    @property
    def readable(self) -> bool:
        """Reads are worth trying."""
        return self is not StorageState.DISABLED

    @property
    def authoritative(self) -> bool:
        """What it lacks, it never had."""
        return self not in (StorageState.DATA_LOSS, StorageState.DISABLED)

    @property
    def empty(self) -> bool:
        """Known to hold nothing: it does not count in any quorum."""
        return self is StorageState.DISABLED

    @property
    def in_new_nodesets(self) -> bool:
        """May be chosen for a new loglet."""
        return self is StorageState.READ_WRITE


class MetadataServerState(Enum):
    """Whether a metadata server is, or wants to be, a member of the Raft group."""

    STANDBY = "standby"
    MEMBER = "member"
    PROVISIONING = "provisioning"


class WorkerState(Enum):
    """Whether a worker takes partitions."""

    PROVISIONING = "provisioning"
    ACTIVE = "active"
    DRAINING = "draining"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class NodeLocation:
    """`region.zone`, `region`, or nowhere in particular."""

    region: str = ""
    zone: str = ""

    @staticmethod
    def parse(text: str) -> NodeLocation:
        """The text form; ValueError says what was expected."""
        region, separator, zone = text.strip().partition(".")
        if "." in zone or bool(separator) != bool(zone) or (zone and not region):
            raise ValueError(f"{text!r} is not a location; write region or region.zone")
        return NodeLocation(region, zone)

    def domain(self, scope: LocationScope) -> str:
        """Name of the failure domain of that scope; nodes without a location share one."""
        match scope:
            case LocationScope.REGION:
                return self.region
            case LocationScope.ZONE | LocationScope.NODE:
                return str(self)

    def within(self, outer: NodeLocation) -> bool:
        """Same place, or a zone of that region; everything lies within nowhere in particular."""
        if outer.zone:
            return self == outer
        return not outer.region or self.region == outer.region

    def __str__(self) -> str:
        return f"{self.region}.{self.zone}" if self.zone else self.region


@dataclass(frozen=True, slots=True)
class Node:
    """One member in its present life."""

    name: str
    current_generation: GenerationalNodeId
    address: str
    roles: frozenset[Role]
    storage_state: StorageState = StorageState.PROVISIONING
    location: NodeLocation = NodeLocation()
    metadata_server_state: MetadataServerState = MetadataServerState.PROVISIONING
    worker_state: WorkerState = WorkerState.PROVISIONING
    binary_version: str | None = None

    @property
    def id(self) -> PlainNodeId:
        return self.current_generation.id

    def has_role(self, role: Role) -> bool:
        return role in self.roles


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A node that was removed; its id stays taken."""


TOMBSTONE = Tombstone()


@dataclass(frozen=True, slots=True)
class NodesConfiguration:
    """The members at one version."""

    version: Version
    cluster_name: str
    nodes: Mapping[PlainNodeId, Node | Tombstone] = field(
        default_factory=lambda: MappingProxyType({})
    )
    cluster_fingerprint: int | None = None
    modified_at: int | None = None
    features: tuple[str, ...] = ()
    _by_name: dict[str, Node] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_name: dict[str, Node] = {}
        for node_id, node in self.nodes.items():
            if isinstance(node, Tombstone):
                continue
            if node.id != node_id:
                raise ValueError(f"node {node.name!r} is N{node.id} but stands under N{node_id}")
            if node.name in by_name:
                raise ValueError(f"two nodes are named {node.name!r}; node names are unique")
            by_name[node.name] = node
        object.__setattr__(self, "_by_name", by_name)

    @property
    def name_lookup(self) -> Mapping[str, PlainNodeId]:
        """Ids by name, derived from the nodes."""
        return {name: node.id for name, node in self._by_name.items()}

    def members(self) -> tuple[Node, ...]:
        """Every node that is not a tombstone, by id."""
        return tuple(sorted(self._by_name.values(), key=lambda node: node.id))

    def node(self, node_id: PlainNodeId) -> Node | None:
        """The member of that id; None if unknown or removed."""
        found = self.nodes.get(node_id)
        return found if isinstance(found, Node) else None

    def by_name(self, name: str) -> Node | None:
        """The member of that name."""
        return self._by_name.get(name)

    def find(self, generational: GenerationalNodeId) -> Node | None:
        """The member if that is its present life; None if it is unknown, removed or reborn."""
        node = self.node(generational.id)
        if node is None or node.current_generation != generational:
            return None
        return node

    def is_tombstone(self, node_id: PlainNodeId) -> bool:
        """That id belonged to a node that was removed."""
        return isinstance(self.nodes.get(node_id), Tombstone)

    def next_node_id(self) -> PlainNodeId:
        """The id after the largest ever used; tombstones count."""
        return PlainNodeId(max(self.nodes, default=0) + 1)

    def with_role(self, role: Role) -> tuple[Node, ...]:
        """Members that have the role, by id."""
        return tuple(node for node in self.members() if role in node.roles)

    def log_servers(self) -> tuple[Node, ...]:
        """Members that have the log-server role, by id."""
        return self.with_role(Role.LOG_SERVER)

    def storage_state(self, node_id: PlainNodeId) -> StorageState:
        """Of a log server: removed nodes count as disabled, unknown ones as provisioning."""
        match self.nodes.get(node_id):
            case Node() as node:
                return node.storage_state
            case Tombstone():
                return StorageState.DISABLED
            case None:
                return StorageState.PROVISIONING

    def updated(self, node: Node, now_hlc: int | None) -> NodesConfiguration:
        """The next version, with that node added or replaced."""
        return self._next({**self.nodes, node.id: node}, now_hlc)

    def removed(self, node_id: PlainNodeId, now_hlc: int | None) -> NodesConfiguration:
        """The next version, with a tombstone in place of that node."""
        return self._next({**self.nodes, node_id: TOMBSTONE}, now_hlc)

    def _next(
        self, nodes: dict[PlainNodeId, Node | Tombstone], now_hlc: int | None
    ) -> NodesConfiguration:
        return replace(self, version=Version(self.version + 1), nodes=nodes, modified_at=now_hlc)
