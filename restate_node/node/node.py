"""One node: builds its components in order, runs them until something asks it to stop, and takes
them down in order.

    ports ─▶ cache, fabric, client ─▶ [metadata server] ─▶ found? ─▶ join ─▶ membership, sync
          ─▶ [log server] ─▶ log ─▶ [worker] ─▶ [admin] ─▶ ready

Which of the bracketed parts exist is what the roles say. Roles are strangers to each other: they
meet in the fabric, even inside one process. There is no socket, no HTTP and no gRPC in here; a
process adds those edges around a node, and the simulator runs a node without them.
"""

from __future__ import annotations

import asyncio
from typing import Final, cast

import structlog

from restate_node.bifrost.auto_improvement import AutoImprovement
from restate_node.bifrost.chain_keeper import ChainKeeper
from restate_node.bifrost.failover import Failover, alive_in
from restate_node.bifrost.log import Bifrost
from restate_node.bifrost.replicated.provider import ReplicatedProvider
from restate_node.bifrost.server_repair import ServerRepair
from restate_node.cluster.membership import Membership
from restate_node.cluster.metadata_cache import MetadataCache
from restate_node.cluster.metadata_client import MetadataClient
from restate_node.cluster.metadata_sync import MetadataSync
from restate_node.cluster.partition_calls import PartitionCalls
from restate_node.fabric.fabric import Fabric
from restate_node.fabric.router import Reply
from restate_node.node import boot
from restate_node.node.marker import read_marker, write_marker
from restate_node.node.node_rows import OwnRows
from restate_node.node.ports import Ports
from restate_node.protocol.sequencer import SequencerOptions
from restate_node.roles.admin.cluster_ctrl import ClusterCtrl
from restate_node.roles.admin.cluster_state import ClusterStateCollector
from restate_node.roles.admin.controller import Controller
from restate_node.roles.admin.repair_service import RepairService
from restate_node.roles.admin.snapshot_requests import SnapshotRequests
from restate_node.roles.admin.sql.cluster_catalog import ClusterSources
from restate_node.roles.admin.sql.engines import cluster_engine
from restate_node.roles.admin.sql.query_service import QueryService
from restate_node.roles.log_server.log_store import LogStore
from restate_node.roles.log_server.repair import RepairedLogServer
from restate_node.roles.log_server.service import LogServer
from restate_node.roles.log_server.start import prepare
from restate_node.roles.metadata_server.service import MetadataServer
from restate_node.roles.worker.context import LeadershipListeners, Neighbours, WorkerContext
from restate_node.roles.worker.invoker.context import Services
from restate_node.roles.worker.manager import PartitionManager
from restate_node.roles.worker.snapshot_repository import (
    RepositoryIdentity,
    RepositoryPlace,
    SnapshotRepository,
)
from restate_node.runtime.tasks import ShutdownCause, TaskCenter, TaskKind
from restate_node.runtime.watch import Watch
from restate_node.types.cluster_configuration import ClusterConfiguration
from restate_node.types.fabric import Peer
from restate_node.types.ids import PlainNodeId
from restate_node.types.node_row_messages import ReadNodeRows
from restate_node.types.nodes import NodesConfiguration, Role
from restate_node.types.options import NodeOptions
from restate_node.types.processor_messages import GetNodeState, NodeState
from restate_node.types.schema import HandlerDefaults
from restate_node.types.snapshots import BucketDestination, parse_destination
from restate_node.wire import journal_codec, service_control

logger = structlog.get_logger(__name__)

STOP_WITHIN_S: Final = 4.0
"""An orderly stop takes no longer, whatever the components do."""


class Node:
    """One node; `run` is its life."""

    def __init__(self, options: NodeOptions, ports: Ports, directory: str) -> None:
        """Claims the data directory and checks whose it is; raises StoreError, MarkerError.

        `directory` is the name of the data directory, for messages to people.
        """
        self.options = options
        self.handler_defaults = HandlerDefaults.of(options)
        """One object, for handlers are resolved once for each that asks with other defaults."""
        self.ports = ports
        self.tasks = TaskCenter()
        self.ready = Watch(False)
        self.started_at = ports.clock.monotonic()
        ports.disk.lock()
        name = str(options.node_name)
        marker = read_marker(ports.disk, options.cluster_name, name, directory)
        self.cache = MetadataCache(options.cluster_name)
        if marker is not None and marker.cluster_fingerprint:
            self.cache.bind_fingerprint(marker.cluster_fingerprint)
        self._was_provisioned = marker is not None and marker.is_provisioned
        self.fabric = Fabric(ports.transport, self.cache, self.tasks, ports.stream())
        self.client = MetadataClient(
            self.fabric,
            self.cache,
            options.metadata_client.addresses,
            options.metadata_client,
            ports.clock,
            ports.stream(),
            ports.rng.getrandbits(63),
        )
        self.sync = MetadataSync(
            self.cache,
            self.fabric,
            self._read_blob,
            options.metadata_update_interval_ms / 1000,
        )
        self.metadata_server = self._build_metadata_server()
        self.membership: Membership | None = None
        self.calls: PartitionCalls | None = None
        self.bifrost: Bifrost | None = None
        self.log_server: LogServer | None = None
        self._repaired: RepairedLogServer | None = None
        self.repairs: RepairService | None = None
        self.worker: PartitionManager | None = None
        self.snapshots: SnapshotRepository | None = None
        self.collector: ClusterStateCollector | None = None
        self.controller: Controller | None = None
        self.cluster_ctrl: ClusterCtrl | None = None
        self.query_service: QueryService | None = None

    def has_role(self, role: Role) -> bool:
        return role in self.options.roles

    async def run(self) -> ShutdownCause:
        """Boot, serve until a shutdown is requested or something fatal fails, stop; says why."""
        self.tasks.spawn(TaskKind.BOOT, "boot", self._boot())
        cause = await self.tasks.shutdown_requested()
        await self._stop()
        return cause

    async def provision(
        self, wanted: ClusterConfiguration, features: tuple[str, ...] = boot.FEATURES
    ) -> bool:
        """Found the cluster on behalf of an operator; False when it exists already.

        Raises MetadataUnavailable.
        """
        return await boot.provision(self._boot_context(), wanted, features)

    # ------------------------------------------------------------ start

    async def _boot(self) -> None:
        if self.metadata_server is not None:
            await self.metadata_server.start()
        context = self._boot_context()
        if boot.founds_cluster(self.options) and not self._was_provisioned:
            await boot.provision_automatically(context)
        me = await boot.join_cluster(context)
        self.fabric.greet_again()
        structlog.contextvars.bind_contextvars(node=str(me))
        name = str(self.options.node_name)
        write_marker(self.ports.disk, self.options.cluster_name, name, self.cache.fingerprint)
        await self._fetch_metadata(context)
        self.membership = self._start_membership()
        self.calls = PartitionCalls(self.cache, self.membership, self.fabric)
        self.calls.start(self.tasks)
        await self._start_log_server()
        self.bifrost = self._start_bifrost(self.membership)
        self._start_repairs(self.membership, self.bifrost)
        self._start_worker()
        self._start_admin()
        own = OwnRows(me, self.options, self.bifrost, self.log_server)
        self.fabric.router.on(ReadNodeRows, own.answer)
        self.membership.ready()
        self.ready.set(True)

    async def _fetch_metadata(self, context: boot.BootContext) -> None:
        """All four objects; completes a founding that a crash has interrupted."""
        await self.sync.refresh()
        if boot.founds_cluster(self.options) and not self.cache.partition_table.value.version:
            await boot.complete(context, boot.default_configuration(self.options))
        self.tasks.spawn(TaskKind.METADATA_SYNC, "metadata sync", self.sync.run())

    def _start_membership(self) -> Membership:
        assert self.cache.me is not None
        nodes = cast("Watch[NodesConfiguration | None]", self.cache.nodes)
        membership = Membership(
            self.cache.me,
            self.fabric,
            nodes,
            self.options.gossip,
            self.ports.clock,
            self.ports.stream(),
        )
        membership.start(self.tasks)
        return membership

    async def _start_log_server(self) -> None:
        if not self.has_role(Role.LOG_SERVER):
            return
        store = LogStore.open(self.ports.disk)
        clock = self.ports.clock
        repairable = self.options.log_server.repair_after_data_loss
        mode = await prepare(store, self.cache, self.client, clock, repairable=repairable)
        self.log_server = LogServer(store, self.fabric, clock, self.tasks)
        self.log_server.start(mode)
        self._repaired = RepairedLogServer(self.log_server, store, self.cache, self.client, clock)

    def _start_repairs(self, membership: Membership, bifrost: Bifrost) -> None:
        """A node repairs its own log server, and no other."""
        repaired = self._repaired
        if repaired is None:
            return

        def make(dry_run: bool) -> ServerRepair:
            return ServerRepair(
                self.cache,
                bifrost,
                self.fabric,
                repaired,
                lambda node: alive_in(membership, node),
                self.ports.stream(),
                dry_run=dry_run,
            )

        self.repairs = RepairService(self.cache, self.tasks, make)

    def _start_bifrost(self, membership: Membership) -> Bifrost:
        """The log is used on every node: workers write it, admins inspect it."""
        options = self.options.bifrost
        keeper = ChainKeeper(self.cache, self.client)
        self.provider = ReplicatedProvider(
            self.cache,
            self.fabric,
            self.ports.clock,
            self.ports.stream(),
            lambda node: alive_in(membership, node),
            SequencerOptions(),
            options.record_cache_memory_size_bytes,
        )
        retry = (
            options.append_retry_min_interval_ms / 1000,
            options.append_retry_max_interval_ms / 1000,
        )
        bifrost = Bifrost(
            self.cache, keeper, self.provider, self.ports.clock, self.ports.stream(), retry
        )
        self.improvement = AutoImprovement(bifrost, self.cache, self.ports.stream())
        failover = Failover(membership, self.provider, self.fabric)
        self.tasks.spawn(TaskKind.BIFROST, "chain keeper", keeper.run())
        self.tasks.spawn(TaskKind.BIFROST, "log fail-over", failover.run())
        if not options.disable_auto_improvement:
            self.tasks.spawn(TaskKind.BIFROST, "log improvement", self.improvement.run())
        return bifrost

    def _start_worker(self) -> None:
        assert self.cache.me is not None
        assert self.membership is not None
        assert self.bifrost is not None
        if not self.has_role(Role.WORKER):
            self.fabric.router.on(GetNodeState, self._report_without_processors)
            return
        self.snapshots = self._snapshot_repository()
        improvement = self.improvement
        listeners = LeadershipListeners(
            announce=self.membership.announce_leadership,
            on_leader=lambda log, _: improvement.look_after(log),
            on_follower=lambda log, _: improvement.leave(log),
        )
        context = WorkerContext(
            me=self.cache.me,
            disk=self.ports.disk,
            log=self.bifrost,
            metadata=self.client,
            tasks=self.tasks,
            clock=self.ports.clock,
            rng=self.ports.stream(),
            options=self.options.worker,
            listeners=listeners,
            snapshots=self.snapshots,
            neighbours=Neighbours(self._ask_node, self._count_workers),
            services=self._services(),
            exporting=asyncio.Semaphore(self.options.worker.snapshots.export_concurrency_limit),
        )
        self.worker = PartitionManager(context, self.fabric.router, self.cache.partition_table)
        self.worker.start()

    def _services(self) -> Services | None:
        if self.ports.services is None:
            return None
        return Services(
            self.ports.services,
            self.cache.schema,
            self.cache.partition_table,
            self.handler_defaults,
            self.options.worker.invoker,
            journal_codec,
            service_control,
        )

    async def _ask_node(self, node: PlainNodeId) -> NodeState:
        return await self.fabric.call(node, GetNodeState(), NodeState, timeout_s=1.0)

    def _count_workers(self) -> int:
        members = self.cache.nodes.value.members()
        return sum(Role.WORKER in member.roles for member in members)

    def _snapshot_repository(self) -> SnapshotRepository | None:
        options, objects = self.options.worker.snapshots, self.ports.objects
        if objects is None or options.destination is None:
            return None
        destination = parse_destination(options.destination)
        prefix = destination.prefix if isinstance(destination, BucketDestination) else ""
        identity = RepositoryIdentity(
            self.options.cluster_name, self.cache.fingerprint, str(self.options.node_name)
        )
        return SnapshotRepository(
            objects,
            RepositoryPlace(prefix, options.num_retained),
            identity,
            clock=self.ports.clock,
            rng=self.ports.stream(),
            tasks=self.tasks,
        )

    def _start_admin(self) -> None:
        if not self.has_role(Role.ADMIN):
            return
        assert self.cache.me is not None
        assert self.membership is not None
        interval_ms = self.options.admin.heartbeat_interval_ms
        self.collector = ClusterStateCollector(
            self.cache, self.membership, self.fabric, self.ports.clock, interval_ms
        )
        self.controller = Controller(
            self.cache.me,
            self.cache,
            self.membership,
            self.collector,
            self.client,
            self.fabric,
            self.ports.clock,
            enabled=not self.options.admin.disable_cluster_controller,
            nodes_expected=len(set(self.options.metadata_client.addresses)),
        )
        assert self.bifrost is not None
        self.cluster_ctrl = ClusterCtrl(
            self.cache,
            self.collector,
            self.controller,
            self.bifrost,
            self.client,
            self.ports.clock,
            SnapshotRequests(self.collector, self.fabric),
        )
        sources = ClusterSources(
            self.cache, self.membership, self.collector, self.client, self.fabric
        )
        self.query_service = QueryService(cluster_engine(sources))
        self.collector.start(self.tasks)
        self.controller.start(self.tasks)

    def _report_without_processors(self, _: Peer, __: GetNodeState, reply: Reply) -> None:
        assert self.cache.me is not None
        reply(NodeState(self.cache.me, self.uptime_s, []))

    # ------------------------------------------------------------ stop

    async def _stop(self) -> None:
        """In an orderly stop others learn first that they must take over."""
        self.ready.set(False)
        if self.membership is not None:
            self.membership.failing_over()
        if self.metadata_server is not None:
            await self.metadata_server.hand_over()
        await self.tasks.stop(timeout_s=STOP_WITHIN_S)
        if self.log_server is not None:
            await self.log_server.close()
        if self.metadata_server is not None:
            await self.metadata_server.close()
        self.fabric.close("the node stops")
        if self.ports.services is not None:
            await self.ports.services.close()
        if self.ports.objects is not None:
            await self.ports.objects.close()

    # ------------------------------------------------------------ inside

    @property
    def uptime_s(self) -> int:
        return int(self.ports.clock.monotonic() - self.started_at)

    def _build_metadata_server(self) -> MetadataServer | None:
        if not self.has_role(Role.METADATA_SERVER):
            return None
        return MetadataServer(
            str(self.options.node_name),
            str(self.options.advertised_address),
            self.ports.disk,
            self.fabric,
            self.cache,
            self.options.metadata_server,
            self.ports.clock,
            self.ports.stream(),
            self.tasks,
            knows_cluster=self._was_provisioned,
        )

    def _boot_context(self) -> boot.BootContext:
        return boot.BootContext(
            self.options, self.cache, self.client, self.ports.clock, self.ports.stream()
        )

    async def _read_blob(self, key: str) -> bytes | None:
        value = await self.client.get(key)
        return value.data if value is not None else None
