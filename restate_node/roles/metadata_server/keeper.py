"""The task that keeps a metadata server where it belongs.

    blank, but the node has joined a cluster  -> be a standby that can be added
    standby that should be a member           -> ask the leader, with growing pauses
    leader                                    -> make the nodes configuration tell the members
    removed, and nobody told us               -> retire: campaign no more
    leader of a group that was given up       -> serve nothing more

It looks when something has changed, and a few times per second anyway: a look costs a comparison.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from restate_node.roles.metadata_server.registry import (
    left_behind_text,
    reconciled,
    wants_to_join,
)
from restate_node.roles.metadata_server.replica import Replica, Unserved
from restate_node.types.fabric import RpcFailure
from restate_node.types.ids import PlainNodeId
from restate_node.types.metadata_kv import (
    NODES_CONFIGURATION_KEY,
    MatchesVersion,
    Put,
    RequestId,
    VersionedValue,
)
from restate_node.types.metadata_messages import (
    JoinMetadataCluster,
    LeaderHint,
    MembershipReply,
    MembershipVerdict,
    MetadataServerPhase,
)
from restate_node.types.nodes import MetadataServerState, Node, Role
from restate_node.types.timestamps import hlc
from restate_node.wire.nodes import encode_nodes_configuration
from restate_node.wire.storage_codec import CodecError

if TYPE_CHECKING:
    from restate_node.roles.metadata_server.service import MetadataServer

logger = structlog.get_logger(__name__)

LOOK_INTERVAL_S: Final = 0.25
JOIN_TIMEOUT_S: Final = 5.0
JOIN_PAUSE_FIRST_S: Final = 0.1
JOIN_PAUSE_MAX_S: Final = 5.0
SERVERS_ASKED_MAX: Final = 16

Target = PlainNodeId | str


class MembershipKeeper:
    """Serves one MetadataServer."""

    def __init__(self, server: MetadataServer) -> None:
        self._server = server
        self._poked = asyncio.Event()
        self._client_id = server.rng.getrandbits(63)
        self._sequence = 0
        self._join_failures = 0
        self._next_join = 0.0
        self._last_refusal = ""

    def poke(self) -> None:
        """Something may have changed: look now."""
        self._poked.set()

    async def run(self) -> None:
        """Until cancelled; raises StoreError, WrongStorage. Cancellation-safe: each step is
        repeated by the next look.
        """
        while True:
            self._poked.clear()
            await self._look()
            try:
                async with asyncio.timeout(LOOK_INTERVAL_S):
                    await self._poked.wait()
            except TimeoutError:
                continue

    async def _look(self) -> None:
        server = self._server
        me = server.cache.nodes.value.by_name(server.node_name)
        if me is None:
            return
        server.check_owner(me.id)
        if server.is_left_behind:
            return
        replica = server.replica
        if replica is None:
            if server.cache.me is None or server.cache.fingerprint == 0:
                return
            replica = await server.become_standby(me.id)
        replica.retire(me.metadata_server_state is MetadataServerState.STANDBY)
        if replica.leads:
            if not await self._leads_in_vain(replica):
                await self._reconcile(replica)
        elif server.phase is MetadataServerPhase.STANDBY:
            await self._join_when_due(me)

    # ------------------------------------------------------------ leader

    async def _leads_in_vain(self, replica: Replica) -> bool:
        """Whether somebody else has written the nodes configuration: the group was given up, and
        its members have come back without meeting the one that continues it.

        A leader has all that was written through its group, as soon as it has confirmed itself; so
        a newer version, seen before, can only come from another group.
        """
        server = self._server
        seen = server.cache.nodes.value.version
        if seen <= (replica.kv.version(NODES_CONFIGURATION_KEY) or 0):
            return False
        try:
            await replica.read_barrier()
        except Unserved:
            return False
        if seen <= (replica.kv.version(NODES_CONFIGURATION_KEY) or 0):
            return False
        await server.give_up()
        return True

    async def _reconcile(self, replica: Replica) -> None:
        """Write who is a member; a rival's write in between is noticed by the next look."""
        server = self._server
        try:
            configuration = server.stored_nodes()
        except CodecError as error:
            logger.warning("stored nodes configuration cannot be read", reason=str(error))
            return
        if configuration.version == 0:
            return
        wanted = reconciled(configuration, replica.members, hlc(server.clock.unix_ms()))
        if wanted is None:
            return
        self._sequence += 1
        command = Put(
            RequestId(self._client_id, self._sequence),
            NODES_CONFIGURATION_KEY,
            VersionedValue(wanted.version, encode_nodes_configuration(wanted)),
            MatchesVersion(configuration.version),
        )
        try:
            await replica.execute(command)
        except Unserved as error:
            logger.info("members not registered yet", reason=error.reason)

    # ------------------------------------------------------------ standby

    async def _join_when_due(self, me: Node) -> None:
        now = self._server.clock.monotonic()
        if not wants_to_join(me, self._server.options.auto_join) or now < self._next_join:
            return
        reply = await self.join(automatic=True)
        if reply.verdict in (MembershipVerdict.DONE, MembershipVerdict.ALREADY_MEMBER):
            self._join_failures = 0
        else:
            self._join_failures += 1
            self._report(reply)
        pause = min(JOIN_PAUSE_MAX_S, JOIN_PAUSE_FIRST_S * 2 ** min(self._join_failures, 10))
        now = self._server.clock.monotonic()
        self._next_join = now + pause * self._server.rng.uniform(0.7, 1.3)

    def _report(self, reply: MembershipReply) -> None:
        """Each new reason once."""
        if reply.reason != self._last_refusal:
            self._last_refusal = reply.reason
            logger.warning("not a member of the metadata cluster yet", reason=reply.reason)

    async def join(self, *, automatic: bool) -> MembershipReply:
        """Ask servers until the leader has answered, or none is left."""
        server, replica = self._server, self._server.replica
        if server.is_left_behind:
            text = left_behind_text("this node")
            return MembershipReply(MembershipVerdict.FORBIDDEN, text)
        if replica is None:
            text = "the node has not joined the cluster yet: provision it or wait"
            return MembershipReply(MembershipVerdict.REFUSED, text)
        if server.phase is MetadataServerPhase.MEMBER:
            text = "cannot add node because it is still a member of the metadata cluster"
            return MembershipReply(MembershipVerdict.ALREADY_MEMBER, text)
        identity = server.cache.identity()
        request = JoinMetadataCluster(
            replica.me,
            server.storage_id,
            identity.cluster_name,
            identity.fingerprint,
            automatic,
            replica.members.recovered_at_millis if len(replica.members) else None,
        )
        return await self._ask_leader(request, self._servers(replica.me))

    async def _ask_leader(
        self, request: JoinMetadataCluster, servers: list[Target]
    ) -> MembershipReply:
        asked: set[Target] = set()
        reasons: list[str] = []
        while servers and len(asked) < SERVERS_ASKED_MAX:
            target = servers.pop(0)
            if target in asked:
                continue
            asked.add(target)
            try:
                reply = await self._server.fabric.call(
                    target, request, MembershipReply, timeout_s=JOIN_TIMEOUT_S
                )
            except RpcFailure as failure:
                reasons.append(f"[{target}] {failure}")
                continue
            if reply.verdict is not MembershipVerdict.NOT_LEADER:
                return reply
            reasons.append(f"[{target}] {reply.reason}")
            servers[:0] = self._followed(reply.leader)
        text = "; ".join(reasons) or "no other metadata server is known"
        return MembershipReply(MembershipVerdict.TRY_LATER, f"no leader was found: {text}")

    def _followed(self, hint: LeaderHint | None) -> list[Target]:
        if hint is None:
            return []
        if self._server.cache.address_of(hint.node) is not None:
            return [hint.node]
        return [] if hint.address is None else [hint.address]

    def _servers(self, me: PlainNodeId) -> list[Target]:
        """The leader that is known, members, then all others with the role."""
        nodes = self._server.cache.nodes.value.with_role(Role.METADATA_SERVER)
        members = [
            node.id for node in nodes if node.metadata_server_state is MetadataServerState.MEMBER
        ]
        others = [node.id for node in nodes if node.id not in members]
        found: list[Target] = [*self._followed(self._server.leader_hint()), *members, *others]
        return [target for target in found if target != me]
