"""The nodes of one loglet, as the nodes configuration of this moment sees them.

Storage states change while a loglet lives, and with them who may be written and what counts as a
quorum. The checker is built anew when the configuration changed, and only then.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from restate_node.cluster.metadata_cache import MetadataCache
from restate_node.protocol.quorum import NodesetChecker
from restate_node.types.ids import PlainNodeId
from restate_node.types.logs import ReplicatedParams
from restate_node.types.nodes import StorageState


class LogletNodes:
    """Membership questions about one loglet."""

    def __init__(
        self,
        params: ReplicatedParams,
        metadata: MetadataCache,
        repaired_here: Callable[[], bool] = lambda: False,
    ) -> None:
        """`repaired_here`: this node is repairing its own log server now."""
        self.params = params
        self._repaired_here = repaired_here
        self._metadata = metadata
        self._version = metadata.nodes.value.version
        self._checker = NodesetChecker(params.nodeset, metadata.nodes.value, params.replication)

    @property
    def checker(self) -> NodesetChecker:
        """The quorums under the current configuration."""
        nodes = self._metadata.nodes.value
        if nodes.version != self._version:
            self._version = nodes.version
            params = self.params
            self._checker = NodesetChecker(params.nodeset, nodes, params.replication)
        return self._checker

    @property
    def members(self) -> tuple[PlainNodeId, ...]:
        """Everybody who may hold something: the nodeset without disabled and removed nodes."""
        checker = self.checker
        return tuple(node for node in self.params.nodeset if node in checker.members)

    @property
    def writable(self) -> tuple[PlainNodeId, ...]:
        checker = self.checker
        return tuple(node for node in self.params.nodeset if node in checker.writable)

    @property
    def under_repair(self) -> tuple[PlainNodeId, ...]:
        """Members that take records of repairs although they cannot be written otherwise."""
        me = self._metadata.me
        if me is None or me.id not in self.members or not self._repaired_here():
            return ()
        return () if me.id in self.checker.writable else (me.id,)

    @property
    def all_provisioning(self) -> bool:
        """No member was ever written to."""
        state_of = self._metadata.nodes.value.storage_state
        return all(state_of(n) is StorageState.PROVISIONING for n in self.params.nodeset)

    def reading_order(self, rng: Random) -> list[PlainNodeId]:
        """Whom to read from: this node, the sequencer's, then the others, shuffled."""
        me = self._metadata.me
        first = [me.id] if me is not None else []
        first.append(self.params.sequencer.id)
        members = list(self.members)
        preferred = [node for node in dict.fromkeys(first) if node in members]
        others = [node for node in members if node not in preferred]
        rng.shuffle(others)
        return preferred + others
