"""Who this node is and how it feels: `restate.node_ctl_svc.NodeCtlSvc` and the `/health` page.

Every node serves it, with or without roles, before and after it has joined: it is how operators'
tools find the cluster. They ask everybody for the identity, take the metadata from whoever has the
newest, and skip a node whose status is not ALIVE. A version of 0 says "I do not know".

The node's parts are asked by small callables, because they come into being one after the other
while the node boots, and this service answers from the first moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, Protocol

import msgspec
from google.protobuf.empty_pb2 import Empty

from restate_node.cluster.metadata_cache import MetadataCache
from restate_node.cluster.metadata_errors import MetadataError
from restate_node.node.boot import default_configuration
from restate_node.protocol.nodesets import NODESET_SIZE_MAX
from restate_node.roles.admin.configuration_message import (
    configuration_message,
    read_provider_kind,
    read_replication,
)
from restate_node.runtime.ports import Clock, StoreError
from restate_node.types.cluster_configuration import ClusterConfiguration
from restate_node.types.grpc_status import GrpcError, StatusCode
from restate_node.types.logs import ProviderConfiguration, ProviderKind
from restate_node.types.metadata import MetadataKind
from restate_node.types.nodes import MetadataServerState, Role
from restate_node.types.options import NodeOptions
from restate_node.types.partitions import PARTITIONS_MAX
from restate_node.wire.pb import common_pb2
from restate_node.wire.pb import node_ctl_svc_pb2 as messages

_KIND_DIRECTORY: Final[Mapping[int, tuple[str, ...]]] = {
    common_pb2.DK_PARTITION_STORE: ("db",),
    common_pb2.DK_LOG_SERVER: ("log-store",),
    common_pb2.DK_METADATA_SERVER: ("replicated-metadata-server",),
}
"""Where the databases of a kind are, below the data directory."""
_BOTTOMMOST_SUPPORTED: Final = (
    messages.BLC_UNSPECIFIED,
    messages.BLC_IF_HAVE_COMPACTION_FILTER,
)
NANOS_PER_S: Final = 1_000_000_000
_AGE_UNITS: Final = (
    ("day", 86_400 * NANOS_PER_S),
    ("h", 3_600 * NANOS_PER_S),
    ("m", 60 * NANOS_PER_S),
    ("s", NANOS_PER_S),
    ("ms", 1_000_000),
    ("µs", 1_000),
    ("ns", 1),
)


class NodeStatus(IntEnum):
    """Numbers of `common.NodeStatus`."""

    ALIVE = 1
    STARTING_UP = 2
    SHUTTING_DOWN = 3


class RoleStatus(IntEnum):
    """Numbers of `common.AdminStatus` and `common.WorkerStatus`."""

    UNKNOWN = 0
    """The node does not have the role."""
    READY = 1
    STARTING_UP = 2


class LogServerStatus(IntEnum):
    """Numbers of `common.LogServerStatus`."""

    UNKNOWN = 0
    READY = 1
    STARTING_UP = 2
    FAILSAFE = 3
    STOPPING = 4


class MetadataServerStatus(IntEnum):
    """Numbers of `common.MetadataServerStatus`."""

    UNKNOWN = 0
    STARTING_UP = 1
    AWAITING_PROVISIONING = 2
    MEMBER = 3
    STANDBY = 4


class AddressKind(IntEnum):
    """Numbers of `node_ctl_svc.AddressKind`."""

    TCP = 1
    HTTP = 2
    UNIX = 3


@dataclass(frozen=True, slots=True)
class NamedAddress:
    """Where one server of the node listens, or is reached by others.

    Names are `http-ingress-server`, `admin-api-server` and `message-fabric-server`.
    """

    name: str
    address: str
    kind: AddressKind


@dataclass(frozen=True, slots=True)
class Statuses:
    """How the node and its roles are, at this moment; UNKNOWN for a role it does not have."""

    node: Callable[[], NodeStatus]
    admin: Callable[[], RoleStatus]
    worker: Callable[[], RoleStatus]
    log_server: Callable[[], LogServerStatus]
    metadata_server: Callable[[], MetadataServerStatus]


@dataclass(frozen=True, slots=True)
class Addresses:
    """All servers of the node. What is bound is known only once it listens."""

    bound: Callable[[], Sequence[NamedAddress]]
    advertised: Sequence[NamedAddress]


Provision = Callable[[ClusterConfiguration], Awaitable[bool]]
"""Found the cluster; False when it exists already. Raises MetadataError."""


class Compactable(Protocol):
    """A database of this node."""

    @property
    def column_families(self) -> int: ...

    async def compact(self) -> None: ...


Databases = Callable[[], Mapping[str, Compactable]]
"""The databases that are open, by their place in the data directory."""


def no_databases() -> Mapping[str, Compactable]:
    """Of a node without a disk of its own."""
    return {}


class NodeCtl:
    """The handlers, one method each; errors are GrpcErrors."""

    def __init__(
        self,
        options: NodeOptions,
        metadata: MetadataCache,
        clock: Clock,
        started_at: float,
        statuses: Statuses,
        addresses: Addresses,
        provision: Provision,
        databases: Databases = no_databases,
    ) -> None:
        """`started_at` is monotonic time of the clock."""
        self._options = options
        self._metadata = metadata
        self._clock = clock
        self._started_at = started_at
        self._statuses = statuses
        self._addresses = addresses
        self._provision = provision
        self._databases = databases
        self._compacting = asyncio.Lock()

    # ------------------------------------------------------------ identity

    async def get_ident(self, request: Empty) -> messages.IdentResponse:
        me = self._metadata.me
        versions = self._metadata.versions()
        return messages.IdentResponse(
            status=self._statuses.node().name,
            node_id=None if me is None else common_pb2.NodeId(id=me.id, generation=me.generation),
            cluster_name=self._metadata.cluster_name,
            roles=self._roles(),
            age_s=int(self._age_s()),
            admin_status=f"AS_{self._statuses.admin().name}",
            worker_status=f"WS_{self._statuses.worker().name}",
            log_server_status=f"LS_{self._statuses.log_server().name}",
            metadata_server_status=f"MS_{self._statuses.metadata_server().name}",
            nodes_config_version=versions.nodes_configuration,
            logs_version=versions.logs,
            schema_version=versions.schema,
            partition_table_version=versions.partition_table,
            bound_addresses=[_address_message(a) for a in self._addresses.bound()],
            advertised_addresses=[_address_message(a) for a in self._addresses.advertised],
        )

    def health_json(self) -> bytes:
        """The same for load balancers and people: the body of `/health`."""
        me = self._metadata.me
        versions = self._metadata.versions()
        return msgspec.json.encode(
            {
                "status": _camel_case(self._statuses.node()),
                "node_id": None if me is None else str(me),
                "cluster_name": self._metadata.cluster_name,
                "roles": self._roles(),
                "age": age_text(self._age_s()),
                "admin_status": _camel_case(self._statuses.admin()),
                "worker_status": _camel_case(self._statuses.worker()),
                "log_server_status": _camel_case(self._statuses.log_server()),
                "metadata_server_status": _camel_case(self._statuses.metadata_server()),
                "nodes_config_version": versions.nodes_configuration,
                "logs_version": versions.logs,
                "schema_version": versions.schema,
                "partition_table_version": versions.partition_table,
                "bound_addresses": [_address_json(a) for a in self._addresses.bound()],
                "advertised_addresses": [_address_json(a) for a in self._addresses.advertised],
            }
        )

    async def get_metadata(
        self, request: messages.GetMetadataRequest
    ) -> messages.GetMetadataResponse:
        try:
            kind = MetadataKind(request.kind)
        except ValueError:
            raise _invalid("unknown metadata kind") from None
        return messages.GetMetadataResponse(encoded=self._metadata.blob(kind))

    async def cluster_health(self, request: Empty) -> messages.ClusterHealthResponse:
        """The members of the metadata cluster, as the nodes configuration lists them."""
        nodes = self._metadata.nodes.value
        if not nodes.version:
            text = "the cluster does not seem to be provisioned yet"
            raise GrpcError(StatusCode.UNAVAILABLE, text)
        members = [
            common_pb2.NodeId(id=node.id)
            for node in nodes.with_role(Role.METADATA_SERVER)
            if node.metadata_server_state is MetadataServerState.MEMBER
        ]
        return messages.ClusterHealthResponse(
            cluster_name=nodes.cluster_name,
            metadata_cluster_health=messages.EmbeddedMetadataClusterHealth(members=members),
        )

    # ------------------------------------------------------------ provisioning

    async def provision_cluster(
        self, request: messages.ProvisionClusterRequest
    ) -> messages.ProvisionClusterResponse:
        """A dry run says what would be; it says so of a cluster that exists, too."""
        wanted = self._wanted(request)
        if not request.dry_run:
            await self._found(wanted)
        return messages.ProvisionClusterResponse(
            dry_run=request.dry_run,
            cluster_configuration=configuration_message(wanted),
            enabled_features=[messages.CONTROLLED_IDEMPOTENT_SHARDING],
        )

    # ------------------------------------------------------------ compaction

    async def trigger_compaction(
        self, request: messages.TriggerCompactionRequest
    ) -> messages.TriggerCompactionResponse:
        """One database after the other: together they would starve the node's own work.

        Cancellation-safe: what runs goes on to its end.
        """
        if request.options.bottommost_level_compaction not in _BOTTOMMOST_SUPPORTED:
            raise _invalid("bottommost levels are compacted as RocksDB chooses: leave that out")
        if request.options.recalculate_level:
            raise _invalid("levels are not recalculated: leave that out")
        if self._compacting.locked():
            text = "a compaction is under way on this node; try again when it has ended"
            raise GrpcError(StatusCode.RESOURCE_EXHAUSTED, text)
        wanted = {kind for number in request.databases for kind in _KIND_DIRECTORY.get(number, ())}
        async with self._compacting:
            results = [
                await _compacted(name, database)
                for name, database in self._databases().items()
                if not request.databases or name.partition("/")[0] in wanted
            ]
        return messages.TriggerCompactionResponse(results=results)

    # ------------------------------------------------------------ founding

    async def _found(self, wanted: ClusterConfiguration) -> None:
        try:
            newly_founded = await self._provision(wanted)
        except MetadataError as error:
            text = f"the cluster was not provisioned: {error}"
            raise GrpcError(StatusCode.UNAVAILABLE, text) from None
        if not newly_founded:
            text = "The cluster has already been provisioned"
            raise GrpcError(StatusCode.ALREADY_EXISTS, text)

    def _wanted(self, request: messages.ProvisionClusterRequest) -> ClusterConfiguration:
        """What was asked for, over the defaults of this node; raises INVALID_ARGUMENT."""
        if request.disabled_features:
            raise _invalid(
                "controlled-idempotent-sharding cannot be disabled: partition keys depend on it"
            )
        default = default_configuration(self._options)
        count = default.partition_count
        if request.HasField("num_partitions"):
            count = request.num_partitions
        if not 1 <= count <= PARTITIONS_MAX:
            raise _invalid(f"{count} partitions asked for; use 1 to {PARTITIONS_MAX}")
        replication = default.partition_replication
        if request.HasField("partition_replication"):
            replication = read_replication(request.partition_replication)
        return ClusterConfiguration(count, replication, _wanted_provider(request, default.provider))

    # ------------------------------------------------------------ inside

    def _roles(self) -> list[str]:
        return [role.value for role in Role if role in self._options.roles]

    def _age_s(self) -> float:
        return max(0.0, self._clock.monotonic() - self._started_at)


async def _compacted(name: str, database: Compactable) -> messages.DatabaseCompactionResult:
    try:
        count = database.column_families
        await database.compact()
    except StoreError as error:
        return messages.DatabaseCompactionResult(db_name=name, success=False, error=str(error))
    return messages.DatabaseCompactionResult(
        db_name=name, success=True, column_families_compacted=count
    )


def age_text(seconds: float) -> str:
    """`20m 40s 63ms 425µs 559ns`: all units that are not zero, largest first."""
    rest = int(seconds * NANOS_PER_S)
    parts: list[str] = []
    for unit, nanos in _AGE_UNITS:
        count, rest = divmod(rest, nanos)
        if count:
            parts.append(f"{count}{unit}s" if unit == "day" and count > 1 else f"{count}{unit}")
    return " ".join(parts) or "0s"


def _wanted_provider(
    request: messages.ProvisionClusterRequest, default: ProviderConfiguration
) -> ProviderConfiguration:
    kind, replication, size = default.kind, default.replication, default.target_nodeset_size
    if request.HasField("log_provider"):
        kind = read_provider_kind(request.log_provider)
    if kind is ProviderKind.LOCAL:
        raise _invalid("log provider 'local' cannot be used for new clusters: use 'replicated'")
    if request.HasField("log_replication"):
        replication = read_replication(request.log_replication)
    if request.HasField("target_nodeset_size"):
        size = request.target_nodeset_size
    if size > NODESET_SIZE_MAX:
        raise _invalid(f"a nodeset of {size} was asked for; use at most {NODESET_SIZE_MAX}")
    return ProviderConfiguration(kind, replication, size)


def _camel_case(status: IntEnum) -> str:
    return "".join(word.capitalize() for word in status.name.split("_"))


def _address_message(address: NamedAddress) -> messages.NetAddress:
    return messages.NetAddress(name=address.name, address=address.address, kind=address.kind.name)


def _address_json(address: NamedAddress) -> dict[str, Any]:
    return {"name": address.name, "address": address.address, "kind": address.kind.name.lower()}


def _invalid(message: str) -> GrpcError:
    return GrpcError(StatusCode.INVALID_ARGUMENT, message)
