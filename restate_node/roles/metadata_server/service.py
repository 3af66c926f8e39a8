"""The metadata server role: a member of the Raft group that holds the cluster's metadata, or a
standby that may become one.

                      Provision                        (first node)
    AWAITING_PROVISIONING ------------------------> MEMBER
             |                                       |  ^
             | the node joined a cluster             |  | join: by itself while its state is
             v                   removed             v  | provisioning, or by order
          STANDBY <----------------------------------+--+

    KvRequest ------------+            +--> Replica (core, state machine, storage)
    Join, Remove, Status -+--> here ---+--> RaftPost
    control plane --------+            +--> Registry: members <-> nodes configuration

Founding is one durable batch: the mark, the first members, and the entry that writes the first
nodes configuration. A storage that has ever taken part in a cluster founds none, and neither does
a blank one on a node that knows of a cluster.

Whatever is applied goes into this node's metadata cache at once, so that new versions spread with
the next frames; at start the stored state gives the cache the addresses of the other members,
without which they could never be reached to elect a leader.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Final, assert_never

import structlog
from msgspec.structs import replace

from restate_node.cluster.metadata_cache import KEY_OF, ForeignCluster, MetadataCache
from restate_node.fabric.fabric import Fabric
from restate_node.fabric.router import Reply
from restate_node.protocol.metadata_kv import encode_command
from restate_node.protocol.raft.ready import AddMember, RemoveMember, RestoredState
from restate_node.roles.metadata_server.keeper import MembershipKeeper
from restate_node.roles.metadata_server.post import RaftPost
from restate_node.roles.metadata_server.recovery import (
    RecoveryPlan,
    RecoveryRefused,
    newest_copies,
    plan_recovery,
)
from restate_node.roles.metadata_server.recovery_standing import (
    RecoveryStanding,
    standing_of,
)
from restate_node.roles.metadata_server.registry import (
    left_behind_text,
    objection_to_join,
    objection_to_removal,
)
from restate_node.roles.metadata_server.replica import (
    ChangeRefused,
    NotLeading,
    OnApplied,
    Replica,
    Unserved,
)
from restate_node.roles.metadata_server.storage import RaftStorage, StorageMark
from restate_node.runtime.ports import Clock, Disk, StoreError
from restate_node.runtime.tasks import TaskCenter, TaskKind
from restate_node.types import metadata_messages as messages
from restate_node.types.fabric import Peer
from restate_node.types.ids import PlainNodeId, Version
from restate_node.types.metadata import MetadataKind
from restate_node.types.metadata_kv import (
    NODES_CONFIGURATION_KEY,
    VALUE_BYTES_MAX,
    ClusterIdentity,
    Delete,
    Provision,
    Provisioned,
    Put,
    Rejected,
    VersionedValue,
)
from restate_node.types.metadata_messages import (
    Answer,
    Executed,
    GroupRecovered,
    JoinMetadataCluster,
    KvReply,
    KvRequest,
    LeaderHint,
    MembershipReply,
    MembershipVerdict,
    MetadataServerPhase,
    MetadataServerStatus,
    MetadataServerStatusRequest,
    NotFounded,
    NotMember,
    Operation,
    ReadValue,
    ReadVersion,
    RemoveFromMetadataCluster,
    TryAgain,
    ValueFound,
    VersionFound,
)
from restate_node.types.nodes import MetadataServerState, NodesConfiguration, Role
from restate_node.types.options import MetadataServerOptions
from restate_node.types.raft import (
    Entry,
    EntryKind,
    HardState,
    Index,
    Members,
    Snapshot,
    SnapshotMeta,
    Term,
)
from restate_node.types.timestamps import hlc
from restate_node.wire.nodes import decode_nodes_configuration
from restate_node.wire.storage_codec import CodecError

logger = structlog.get_logger(__name__)

_KIND_OF: Final = {key: kind for kind, key in KEY_OF.items()}


class WrongStorage(Exception):
    """The data directory belongs to another node. This process must not start."""


class MetadataServer:
    """One per node with the role. `start`, then `hand_over` and `close` when the node stops."""

    def __init__(
        self,
        node_name: str,
        address: str,
        disk: Disk,
        fabric: Fabric,
        cache: MetadataCache,
        options: MetadataServerOptions,
        clock: Clock,
        rng: Random,
        tasks: TaskCenter,
        *,
        knows_cluster: bool = False,
        on_applied: OnApplied | None = None,
    ) -> None:
        """`knows_cluster`: the node's own records say that its cluster was provisioned, so that a
        lost database is not taken for a new node's. `on_applied` hears of each applied value.
        """
        self.node_name = node_name
        self.address = address
        self.fabric = fabric
        self.cache = cache
        self.options = options
        self.clock = clock
        self.rng = rng
        self.replica: Replica | None = None
        self._disk = disk
        self._tasks = tasks
        self._knows_cluster = knows_cluster
        self._on_applied = on_applied
        self._storage: RaftStorage | None = None
        self._mark = StorageMark(0)
        self._founding = asyncio.Lock()
        self._running: asyncio.Task[None] | None = None
        self._post: RaftPost | None = None
        self._gave_up = False
        self._in_flight = asyncio.Semaphore(options.request_queue_length)
        self._keeper = MembershipKeeper(self)

    # ------------------------------------------------------------ life

    async def start(self) -> None:
        """Open the database and serve. Raises StoreError, CorruptMetadata, WrongStorage,
        ForeignCluster.
        """
        storage = RaftStorage.open(self._disk)
        stored = storage.load()
        if stored.mark is None:
            self._mark = StorageMark(self.clock.unix_ms())
            await storage.write_mark(self._mark)
        else:
            self._mark = stored.mark
        if self._mark.identity is not None:
            self._knows_cluster = True
            self.cache.bind_fingerprint(self._mark.identity.fingerprint)
        self._storage = storage
        if self.is_left_behind:
            logger.error(left_behind_text("This node"))
        elif self._mark.node is not None:
            self._run_replica(self._mark.node, stored.raft)
        self._serve()
        self._tasks.spawn(
            TaskKind.METADATA_SERVER, "metadata membership keeper", self._keeper.run()
        )

    async def hand_over(self, timeout_s: float = 2.0) -> None:
        """Before the tasks are stopped: let another member lead, so that nobody has to wait."""
        if self.replica is not None:
            await self.replica.hand_over(timeout_s)

    async def close(self) -> None:
        """Close the database, after the tasks of the role have ended."""
        if self._storage is not None:
            await self._storage.close()

    def _serve(self) -> None:
        router = self.fabric.router
        router.serve(KvRequest, self._on_kv)
        router.serve(JoinMetadataCluster, lambda _, join: self.add(join))
        router.serve(RemoveFromMetadataCluster, lambda _, order: self.remove(order))
        router.on(MetadataServerStatusRequest, lambda _, __, reply: reply(self.status()))
        router.on(GroupRecovered, self._on_group_recovered)

    def _run_replica(self, me: PlainNodeId, restored: RestoredState) -> Replica:
        assert self._storage is not None and self.replica is None
        storage_id = self._mark.created_at_millis
        replica = Replica(
            me, storage_id, self._storage, restored, self.options, self.rng, self._applied
        )
        self._post = RaftPost(
            me,
            storage_id,
            self.address,
            self.fabric,
            self.cache,
            self._tasks,
            lambda: replica.members,
            replica.receive,
            self._leave_behind,
        )
        replica.attach(self._post.send, self._keeper.poke)
        self.replica = replica
        self._running = self._tasks.spawn(
            TaskKind.METADATA_SERVER, "metadata replica", replica.run()
        )
        return replica

    async def _stop_replica(self) -> None:
        """Nothing is received, decided or answered by it afterwards. Not cancellation-safe: call
        it from a task of the role.
        """
        assert self._post is not None and self._running is not None
        self._post.close()
        self._running.cancel()
        await asyncio.wait((self._running,))
        self.replica = None

    def _applied(self, key: str, value: VersionedValue) -> None:
        kind = _KIND_OF.get(key)
        if kind is not None:
            self._install(kind, value)
        if self._on_applied is not None:
            self._on_applied(key, value)

    def _install(self, kind: MetadataKind, value: VersionedValue) -> None:
        """An operator may store what cannot be read; the store serves it back all the same."""
        try:
            self.cache.install_blob(kind, value.data)
        except (CodecError, ForeignCluster) as error:
            logger.warning("stored metadata cannot be used", kind=kind.name, reason=str(error))

    # ------------------------------------------------------------ standing

    @property
    def phase(self) -> MetadataServerPhase:
        """What this server is at the moment."""
        if self._storage is None:
            return MetadataServerPhase.STARTING_UP
        if self.replica is None:
            if self._is_in_cluster:
                return MetadataServerPhase.STANDBY
            return MetadataServerPhase.AWAITING_PROVISIONING
        if self.replica.is_member and not self.replica.is_retired:
            return MetadataServerPhase.MEMBER
        return MetadataServerPhase.STANDBY

    @property
    def storage_id(self) -> int:
        """When this server's storage was created."""
        return self._mark.created_at_millis

    @property
    def _is_in_cluster(self) -> bool:
        cache = self.cache
        return self._knows_cluster or cache.me is not None or cache.fingerprint != 0

    def status(self) -> MetadataServerStatus:
        """For operators; always answered."""
        if self.replica is None or self._storage is None:
            return MetadataServerStatus(self.phase, self.storage_id)
        raft = self.replica.status
        return MetadataServerStatus(
            phase=self.phase,
            storage=self.storage_id,
            leader=raft.leader,
            members_version=raft.members.version,
            members=raft.members.created_at_millis,
            term=raft.term,
            applied=raft.applied,
            committed=raft.committed,
            first_index=raft.first_index,
            last_index=raft.last_index,
            snapshot_index=raft.snapshot_index,
            snapshot_bytes=self._storage.snapshot_bytes,
        )

    def leader_hint(self) -> LeaderHint | None:
        """Who leads; without a leader a standby names any member that the cache knows."""
        leader = None if self.replica is None else self.replica.leader
        if leader is not None:
            return self.hint(leader)
        if self.phase is MetadataServerPhase.MEMBER:
            return None
        me = None if self.replica is None else self.replica.me
        for node in self.cache.nodes.value.with_role(Role.METADATA_SERVER):
            if node.metadata_server_state is MetadataServerState.MEMBER and node.id != me:
                return self.hint(node.id)
        return None

    def hint(self, node: PlainNodeId) -> LeaderHint:
        """That node, and where it is."""
        me = None if self.replica is None else self.replica.me
        return LeaderHint(node, self.address if node == me else self.cache.address_of(node))

    async def become_standby(self, me: PlainNodeId) -> Replica:
        """The node belongs to a cluster now: be ready to be added. Raises StoreError."""
        assert self._storage is not None and self.replica is None
        async with self._founding:
            if self.replica is None and not self.is_left_behind:
                identity = ClusterIdentity(self.cache.cluster_name, self.cache.fingerprint)
                created = self._mark.created_at_millis
                self._mark = StorageMark(created, me, identity)
                await self._storage.write_mark(self._mark)
                self._run_replica(me, RestoredState())
        assert self.replica is not None
        return self.replica

    def check_owner(self, me: PlainNodeId) -> None:
        """Raises WrongStorage if the storage is another node's."""
        if self._mark.node not in (None, me):
            raise WrongStorage(
                f"the metadata server's storage belongs to N{self._mark.node}, this is N{me}: "
                "give the node its own data directory"
            )

    # ------------------------------------------------------------ recovery

    @property
    def is_left_behind(self) -> bool:
        """The group was continued without this storage, which must not speak for it any more."""
        return self._gave_up or self._mark.left_behind_at_millis > 0

    async def recovery_standing(self) -> RecoveryStanding:
        """How this member stands, for who wants to continue from it. Raises RecoveryRefused."""
        replica = self.replica
        if replica is None or not replica.is_member:
            raise RecoveryRefused("this node is not a member of the metadata cluster")
        return await standing_of(replica.me, replica.status, self.fabric)

    def plan_recovery(self, copies: Mapping[MetadataKind, bytes]) -> RecoveryPlan:
        """What `recover` would do now; raises RecoveryRefused. `copies` are what nodes have."""
        assert self._storage is not None
        restored = self._storage.load().raft
        now = self.clock.unix_ms()
        me, newest = self._mark.node, newest_copies(self.cache, copies)
        assert me is not None, "a member knows who it is"
        return plan_recovery(me, self.storage_id, restored, newest, now, hlc(now))

    async def recover(self, copies: Mapping[MetadataKind, bytes]) -> RecoveryPlan:
        """Make this member the only one. Raises RecoveryRefused, StoreError.

        Runs to its end even if the caller leaves. After a crash the group is the former one or the
        recovered one.
        """
        name = "recover the metadata group"
        task = self._tasks.spawn(TaskKind.REQUEST, name, self._recover(copies))
        await asyncio.wait((task,))
        return task.result()

    async def _recover(self, copies: Mapping[MetadataKind, bytes]) -> RecoveryPlan:
        async with self._founding:
            if self.replica is None or not self.replica.is_member:
                raise RecoveryRefused("this node is not a member of the metadata cluster")
            assert self._storage is not None
            await self._stop_replica()
            try:
                plan = self.plan_recovery(copies)
                await self._storage.recover(plan.recovery)
            except StoreError as error:
                # Nobody knows what the disk holds: only the next start can tell.
                self._tasks.request_shutdown("the metadata group could not be recovered", error)
                raise
            logger.warning("metadata group recovered", members=f"N{plan.me}", was=plan.former_names)
            self._run_replica(plan.me, self._storage.load().raft)
            return plan

    def _on_group_recovered(self, _: Peer, news: GroupRecovered, reply: Reply) -> None:
        self._leave_behind(news.recovered_at_millis)
        reply(None)

    def _leave_behind(self, recovered_at_millis: int) -> None:
        """Somebody speaks for a group that was recovered then; if ours is older, it is over."""
        name = "leave the metadata group that was given up"
        self._tasks.spawn(TaskKind.METADATA_SERVER, name, self._left_behind(recovered_at_millis))

    async def _left_behind(self, recovered_at_millis: int) -> None:
        """Raises StoreError. After a crash in between the news comes again."""
        async with self._founding:
            if not self._is_older(recovered_at_millis):
                return
            await self.give_up()
            assert self._storage is not None
            self._mark = replace(self._mark, left_behind_at_millis=recovered_at_millis)
            await self._storage.write_mark(self._mark)

    def _is_older(self, recovered_at_millis: int) -> bool:
        if self.replica is None or not len(self.replica.members):
            return False
        return self.replica.members.recovered_at_millis < recovered_at_millis

    async def give_up(self) -> None:
        """Serve nothing more: the group goes on without this storage. Until the next start."""
        if self.replica is not None:
            self._gave_up = True
            logger.error(left_behind_text("This node"))
            await self._stop_replica()

    # ------------------------------------------------------------ the store

    async def _on_kv(self, _: Peer, request: KvRequest) -> KvReply:
        return KvReply(await self.answer(request.operation))

    async def answer(self, operation: Operation) -> Answer:
        """Do it, or say who can."""
        match self.phase:
            case MetadataServerPhase.STARTING_UP:
                return TryAgain("the metadata server is starting up", maybe_executed=False)
            case MetadataServerPhase.AWAITING_PROVISIONING:
                if isinstance(operation, Provision):
                    return await self._found(operation)
                return NotFounded()
            case MetadataServerPhase.STANDBY:
                if isinstance(operation, Provision):
                    return Executed(Provisioned(newly_provisioned=False))
                return NotMember(self.leader_hint())
            case MetadataServerPhase.MEMBER:
                return await self._answer_as_member(operation)

    async def _answer_as_member(self, operation: Operation) -> Answer:
        replica = self.replica
        assert replica is not None
        try:
            async with self._in_flight:
                return await self._operate(replica, operation)
        except NotLeading as error:
            if isinstance(operation, Provision) and replica.kv.is_provisioned:
                return Executed(Provisioned(newly_provisioned=False))
            leader = replica.leader if error.leader is None else error.leader
            return messages.NotLeading(None if leader is None else self.hint(leader))
        except Unserved as error:
            return TryAgain(error.reason, error.maybe_executed)

    async def _operate(self, replica: Replica, operation: Operation) -> Answer:
        match operation:
            case ReadValue(key):
                await replica.read_barrier()
                return ValueFound(replica.kv.get(key))
            case ReadVersion(key):
                await replica.read_barrier()
                return VersionFound(replica.kv.version(key))
            case Put() | Delete() | Provision():
                return Executed(await replica.execute(operation))
            case _:
                assert_never(operation)

    # ------------------------------------------------------------ founding

    async def _found(self, command: Provision) -> Answer:
        """Found the cluster once; whoever comes second is answered by the store."""
        async with self._founding:
            if self.phase is MetadataServerPhase.AWAITING_PROVISIONING:
                return Executed(await self._found_locked(command))
        return await self.answer(command)

    async def _found_locked(self, command: Provision) -> Provisioned | Rejected:
        assert self._storage is not None
        found = self._founder(command)
        if isinstance(found, Rejected):
            return found
        identity = ClusterIdentity(command.cluster_name, command.fingerprint)
        mark = StorageMark(self._mark.created_at_millis, found, identity)
        members = Members(Version(1), {found: mark.created_at_millis})
        entry = Entry(Index(1), Term(1), EntryKind.NORMAL, encode_command(command))
        hard_state = HardState(Term(1), found, Index(1))
        snapshot = Snapshot(SnapshotMeta(members=members))
        await self._storage.found(mark, snapshot, hard_state, entry)
        self._mark = mark
        self._knows_cluster = True
        self.cache.bind_fingerprint(command.fingerprint)
        self._run_replica(found, RestoredState(hard_state, snapshot, (entry,)))
        logger.info("cluster founded", cluster=command.cluster_name, node=f"N{found}")
        return Provisioned(newly_provisioned=True)

    def _founder(self, command: Provision) -> PlainNodeId | Rejected:
        """This node's id in the new cluster."""
        if len(command.nodes_configuration.data) > VALUE_BYTES_MAX:
            return Rejected(f"the nodes configuration has more than {VALUE_BYTES_MAX} bytes")
        if command.cluster_name != self.cache.cluster_name:
            return Rejected(f"cluster name mismatch: this is '{self.cache.cluster_name}'")
        try:
            configuration = decode_nodes_configuration(command.nodes_configuration.data)
        except CodecError as error:
            return Rejected(str(error))
        node = configuration.by_name(self.node_name)
        if node is None or not node.has_role(Role.METADATA_SERVER):
            return Rejected(
                f"the nodes configuration must name '{self.node_name}' as a metadata-server"
            )
        return node.id

    # ------------------------------------------------------------ membership

    async def join_now(self) -> MembershipReply:
        """An operator orders this node to become a member."""
        return await self._keeper.join(automatic=False)

    async def add(self, join: JoinMetadataCluster) -> MembershipReply:
        """Make that node a member, if this is the leader."""

        async def change(replica: Replica) -> MembershipReply | None:
            objection = objection_to_join(
                join, replica.kv.identity, self.stored_nodes(), replica.members
            )
            if objection is None:
                await replica.change_members(AddMember(join.node, join.created_at_millis))
            return objection

        return await self._change(change)

    async def remove(self, order: RemoveFromMetadataCluster) -> MembershipReply:
        """Remove that member, if this is the leader."""

        async def change(replica: Replica) -> MembershipReply | None:
            objection = objection_to_removal(order.node, order.created_at_millis, replica.members)
            if objection is None:
                await replica.change_members(RemoveMember(order.node, order.created_at_millis))
            return objection

        return await self._change(change)

    def stored_nodes(self) -> NodesConfiguration:
        """The nodes configuration as this replica has it."""
        value = None if self.replica is None else self.replica.kv.get(NODES_CONFIGURATION_KEY)
        if value is None:
            return NodesConfiguration(Version(0), self.cache.cluster_name)
        return decode_nodes_configuration(value.data)

    async def _change(
        self, change: Callable[[Replica], Awaitable[MembershipReply | None]]
    ) -> MembershipReply:
        replica = self.replica
        if replica is None or self.phase is not MetadataServerPhase.MEMBER:
            hint = self.leader_hint()
            return MembershipReply(MembershipVerdict.NOT_LEADER, messages.NOT_MEMBER_TEXT, hint)
        try:
            await replica.read_barrier()
            objection = await change(replica)
        except NotLeading:
            text = "command needs to be processed by the metadata cluster leader"
            return MembershipReply(MembershipVerdict.NOT_LEADER, text, self.leader_hint())
        except Unserved as error:
            text = f"pending reconfiguration, try at a later point: {error.reason}"
            return MembershipReply(MembershipVerdict.TRY_LATER, text)
        except ChangeRefused as error:
            return MembershipReply(MembershipVerdict.REFUSED, str(error))
        finally:
            self._keeper.poke()
        return objection or MembershipReply(MembershipVerdict.DONE)
