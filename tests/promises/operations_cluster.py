"""A cluster of real nodes that is operated with the commands of the operations page, as they stand
there.

    cluster.page("restatectl replicated-loglet servers")       the first living node answers
    cluster.write("before")                                    acknowledged writes to all partitions

A command line of the page names no address: the variable RESTATECTL_ADDRESS does, with all living
nodes. What the page asks is answered as a person would, on the standard input.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.process.node_processes import NodeProcess, Outcome, end, eventually, run
from tests.promises.page_tables import table

NODES = "NODE  GEN  NAME  ADDRESS  ROLES"
LOGS = "L-ID  FROM-LSN  KIND  LOGLET-ID  REPLICATION  SEQUENCER  NODESET"
PARTITIONS = "ID  NODE  MODE  STATUS  EPOCH  APPLIED  DURABLE  ARCHIVED  LSN-LAG  UPDATED"
SERVERS = "NODE  GEN  STORAGE-STATE  HISTORICAL LOGLETS  ACTIVE LOGLETS"
DEAD = "NODE  LAST-SEEN"

FOLLOWED_WITHIN_S = 45.0
"""How long logs and partitions may take to follow a change; seconds on an idle machine."""
WRITTEN_WITHIN_S = 30.0
KEYS_PER_WRITE = 6

Row = dict[str, str]


@dataclass(slots=True)
class OperatedCluster:
    """Nodes of one cluster; the first founds it."""

    directory: Path
    partitions: int = 2
    replication: int = 2
    name: str = "operated"
    keys: Sequence[str] = ()
    tables: Sequence[str] = ()
    nodes: list[NodeProcess] = field(default_factory=list)

    # ------------------------------------------------------------ life

    def add(
        self,
        *,
        roles: Sequence[str] = (),
        tables: Sequence[str] | None = None,
        name: str = "",
        directory: Path | None = None,
    ) -> NodeProcess:
        """One more node that knows the first, not started yet."""
        node = NodeProcess(
            directory or self.directory,
            name or f"node-{len(self.nodes) + 1}",
            roles=roles,
            tables=self.tables if tables is None else tables,
        )
        self.nodes.append(node)
        node.keys = self._keys(self.nodes[:1])
        return node

    def _keys(self, known: Sequence[NodeProcess]) -> list[str]:
        addresses = ", ".join(json.dumps(node.address) for node in known)
        return [
            f'cluster-name = "{self.name}"',
            f"default-num-partitions = {self.partitions}",
            f"default-replication = {self.replication}",
            'bifrost.default-provider = "replicated"',
            f"metadata-client.addresses = [{addresses}]",
            *self.keys,
        ]

    def start(self, count: int) -> OperatedCluster:
        """A founded cluster of so many nodes, each partition with all its replicas."""
        founders = [self.add() for _ in range(count)]
        for node in founders:
            founds = f"auto-provision = {str(node is founders[0]).lower()}"
            node.keys = [*self._keys(founders), founds]
            node.start()
        for node in founders:
            node.wait_ready()
        return self.settle()

    def settle(self) -> OperatedCluster:
        """Wait until every partition has a leader, its replicas no lag, and every log is open."""
        eventually(self._is_settled, FOLLOWED_WITHIN_S, "the cluster settles", self.nodes)
        return self

    def _is_settled(self) -> bool:
        rows = self.processors()
        leading = {row["ID"] for row in rows if row["MODE"] == "Leader"}
        steady = all(row["STATUS"] == "Active" and row["LSN-LAG"] == "0" for row in rows)
        copies = min(self.replication, len(self.alive()))
        whole = len(rows) == copies * self.partitions
        return len(leading) == self.partitions and steady and whole

    def end(self) -> None:
        """Nothing is left."""
        end(self.nodes)

    def alive(self) -> list[NodeProcess]:
        """Those that run."""
        return [n for n in self.nodes if n.process is not None and n.process.poll() is None]

    # ------------------------------------------------------------ the page

    def page(self, line: str, answers: str = "") -> Outcome:
        """A command line as the page shows it."""
        words = shlex.split(line)
        assert words[0] == "restatectl", line
        addresses = ",".join(node.address for node in self.alive())
        variables = {"RESTATECTL_ADDRESS": addresses, "CI": "", "NO_COLOR": "1"}
        return run(words, variables=variables, answers=answers)

    def shown(self, line: str, answers: str = "") -> str:
        """What a command prints that must succeed."""
        outcome = self.page(line, answers)
        assert outcome.code == 0, f"{line}: {outcome}"
        return outcome.out

    def logs(self) -> list[Row]:
        """Rows of `logs list`."""
        return table(self.shown("restatectl logs list"), LOGS)

    def processors(self) -> list[Row]:
        """Rows of `partitions list`; none while they are unknown."""
        outcome = self.page("restatectl partitions list")
        if outcome.code != 0 or PARTITIONS.split()[0] not in outcome.out.split():
            return []
        return table(outcome.out, PARTITIONS)

    def leaders(self) -> dict[str, str]:
        """`N2` by partition id."""
        rows = [row for row in self.processors() if row["MODE"] == "Leader"]
        return {row["ID"]: row["NODE"].split(":")[0] for row in rows if row["STATUS"] == "Active"}

    def states(self) -> dict[str, str]:
        """Storage state by `N2`."""
        rows = table(self.shown("restatectl replicated-loglet servers"), SERVERS)
        return {row["NODE"]: row["STORAGE-STATE"] for row in rows}

    def id_of(self, node: NodeProcess) -> str:
        """`N2` for a member."""
        rows = table(self.shown("restatectl nodes list"), NODES)
        return next(row["NODE"] for row in rows if row["NAME"] == node.name)

    def until(self, probe: Callable[[], object], what: str) -> None:
        """Wait until the cluster has followed."""
        eventually(probe, FOLLOWED_WITHIN_S, what, self.nodes)

    # ------------------------------------------------------------ its users

    def write(self, prefix: str, through: NodeProcess | None = None) -> None:
        """Writes that are acknowledged, each tried until it is."""
        node = through or self.alive()[0]
        for index in range(KEYS_PER_WRITE):
            key = f"{prefix}-{index}"
            eventually(
                lambda key=key: node.patch_state(key, b"1") == 202,
                WRITTEN_WITHIN_S,
                f"{key} is acknowledged",
                self.nodes,
            )
