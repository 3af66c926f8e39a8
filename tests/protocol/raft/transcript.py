"""Transcripts: commands to a small cluster, and what it answers, in text files.

    # why this transcript exists
    cluster 3                      a command, with its arguments
    ----
    ok                             what it printed
                                   an empty line ends it

Run pytest with REWRITE_TRANSCRIPTS=1 to write the present answers into the files, then read the
difference.
Commands are the methods `do_*` of `Transcript`.
"""

from __future__ import annotations

from raft_cluster import Cluster, Replica, members_of, storage_of

from restate_node.protocol.raft.options import RaftOptions
from restate_node.protocol.raft.ready import AddMember, ReadState, Ready, RemoveMember
from restate_node.types.ids import PlainNodeId
from restate_node.types.raft import (
    AppendEntries,
    AppendEntriesReply,
    Entry,
    EntryKind,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    InstallSnapshotReply,
    PreVote,
    PreVoteReply,
    RaftHeader,
    Vote,
    VoteReply,
    decode_members,
)


class Transcript:
    """One cluster and the commands that act on it."""

    def __init__(self) -> None:
        self.cluster = Cluster(0, members_of())
        self.printed: list[str] = []

    def run(self, line: str) -> list[str]:
        """Execute a command; what it printed."""
        self.printed = []
        name, *arguments = line.split()
        getattr(self, f"do_{name}")(*arguments)
        return self.printed or ["ok"]

    def core(self, node: str):
        core = self.cluster.replicas[int(node)].core
        assert core is not None, f"node {node} is down"
        return core

    # -- making clusters and time

    def do_cluster(self, nodes: str, members: str = "", append_entries_max: str = "256") -> None:
        """`cluster 4 1,2,3`: four nodes, of which three are the first members (default all)."""
        count = int(nodes)
        first = [int(node) for node in members.split(",")] if members else range(1, count + 1)
        options = RaftOptions(append_entries_max=int(append_entries_max))
        self.cluster = Cluster(count, members_of(*first), options)
        for replica in self.cluster.replicas.values():
            replica.has_commands = False
            replica.on_read = self.read_answered

    def read_answered(self, replica: Replica, read: ReadState) -> None:
        applied = self.core(str(replica.node)).status().applied
        self.printed.append(f"N{replica.node} answers {read.context.decode()} at {applied}")

    def do_tick(self, node: str, count: str = "1") -> None:
        for _ in range(int(count)):
            self.core(node).tick()

    def do_campaign(self, node: str) -> None:
        self.core(node).campaign()

    def do_miss(self, *nodes: str) -> None:
        """These nodes hear no leader for an election timeout, but do not campaign yet."""
        for node in nodes:
            state = self.core(node)._state
            state.elapsed_ticks = state.options.election_ticks

    def do_elect(self, node: str) -> None:
        """Campaign and settle, in silence."""
        self.core(node).campaign()
        self.cluster.settle()
        self.do_status(node)

    # -- requests

    def do_propose(self, node: str, text: str) -> None:
        self.printed.append(repr(self.core(node).propose(text.encode())))

    def do_add(self, node: str, added: str) -> None:
        change = AddMember(PlainNodeId(int(added)), storage_of(int(added)))
        self.printed.append(repr(self.core(node).propose_members(change)))

    def do_remove(self, node: str, removed: str, created_at: str = "") -> None:
        change = RemoveMember(PlainNodeId(int(removed)), int(created_at) if created_at else None)
        self.printed.append(repr(self.core(node).propose_members(change)))

    def do_read(self, node: str, context: str) -> None:
        self.printed.append(repr(self.core(node).read_index(context.encode())))

    def do_transfer(self, node: str, to: str) -> None:
        self.printed.append(repr(self.core(node).transfer_leadership(PlainNodeId(int(to)))))

    def do_compact(self, node: str, keep: str = "0") -> None:
        self.cluster.replicas[int(node)].compact(int(keep))
        self.do_log(node)

    # -- work and messages

    def do_ready(self, node: str) -> None:
        """Handle one batch of a node; its messages wait in the network."""
        ready = self.cluster.handle(int(node))
        self.printed.extend(describe_ready(ready) if ready is not None else ["nothing"])

    def do_deliver(self, node: str = "") -> None:
        """Deliver all waiting messages, or those to one node, and print them."""
        waiting, self.cluster.network = self.cluster.network, []
        for message in waiting:
            if node and message.receiver != int(node):
                self.cluster.network.append(message)
            elif self.cluster.can_pass(message):
                self.printed.append(describe(message))
                self.cluster.deliver(message)

    def do_drop(self, node: str = "") -> None:
        """Lose all waiting messages, or those to one node."""
        self.cluster.network = [
            message for message in self.cluster.network if node and message.receiver != int(node)
        ]

    def do_settle(self) -> None:
        """Work and deliver until all is quiet; print what passes, but not the replies."""
        for _ in range(50):
            busy = [node for node in self.cluster.replicas if self.cluster.handle(node)]
            if not busy and not self.cluster.network:
                return
            self.do_deliver()
        raise AssertionError("the cluster does not come to rest")

    def do_quiet(self) -> None:
        """Settle and print nothing."""
        self.cluster.settle()
        self.printed = []

    def do_isolate(self, *nodes: str) -> None:
        self.cluster.isolated = set(map(int, nodes))

    def do_heal(self) -> None:
        self.cluster.isolated = set()

    def do_crash(self, node: str) -> None:
        self.cluster.replicas[int(node)].crash()

    def do_restart(self, node: str) -> None:
        self.cluster.replicas[int(node)].start()
        self.do_status(node)

    # -- looking

    def do_status(self, node: str = "") -> None:
        for name in [node] if node else map(str, self.cluster.replicas):
            status = self.core(name).status()
            leader = f"N{status.leader}" if status.leader else "none"
            members = ",".join(map(str, status.members.created_at_millis))
            self.printed.append(
                f"N{name} {status.role.value} term={status.term} leader={leader} "
                f"committed={status.committed} last={status.last_index} members={members}"
            )

    def do_log(self, node: str) -> None:
        log = self.core(node)._state.log
        entries = log.between(log.first_index, log.last_index)
        self.printed.append(f"snapshot={log.snapshot.meta.index} base={log.base_index}")
        self.printed.extend(describe_entry(entry) for entry in entries)


def describe_entry(entry: Entry) -> str:
    """`3/2 hello`: index 3, term 2."""
    match entry.kind:
        case EntryKind.NORMAL:
            text = entry.data.decode()
        case EntryKind.EMPTY:
            text = "(empty)"
        case EntryKind.CONFIGURATION:
            text = f"members={','.join(map(str, decode_members(entry.data).created_at_millis))}"
    return f"{entry.index}/{entry.term} {text}"


def describe_ready(ready: Ready) -> list[str]:
    """One line per part that there is."""
    parts: list[str] = []
    if ready.soft_state is not None:
        leader = f"N{ready.soft_state.leader}" if ready.soft_state.leader else "none"
        parts.append(f"state {ready.soft_state.role.value} leader={leader}")
    if ready.hard_state is not None:
        hard = ready.hard_state
        parts.append(f"hard term={hard.term} vote={hard.voted_for} commit={hard.commit}")
    if ready.snapshot is not None:
        parts.append(f"snapshot {ready.snapshot.meta.index}/{ready.snapshot.meta.term}")
    parts.extend(f"entry {describe_entry(entry)}" for entry in ready.entries)
    parts.append("sync" if ready.must_sync else "no sync")
    parts.extend(f"send {describe(message)}" for message in ready.messages)
    parts.extend(f"apply {describe_entry(entry)}" for entry in ready.committed)
    parts.extend(f"read {read.context.decode()} at {read.index}" for read in ready.reads)
    return parts


def describe(message: RaftHeader) -> str:
    """`1->2 term 3 Heartbeat ...`."""
    route = f"{message.sender}->{message.receiver} term {message.term}"
    return f"{route} {type(message).__name__}{_details(message)}"


def _details(message: RaftHeader) -> str:
    match message:
        case PreVote() | Vote():
            transfer = " transfer" if getattr(message, "transfer", False) else ""
            return f" last={message.last_index}/{message.last_term}{transfer}"
        case PreVoteReply() | VoteReply():
            return " granted" if message.granted else " refused"
        case AppendEntries():
            entries = "".join(f" [{describe_entry(entry)}]" for entry in message.entries)
            previous = f"{message.previous_index}/{message.previous_term}"
            return f" after {previous} commit={message.commit}{entries}"
        case AppendEntriesReply(accepted=True) | InstallSnapshotReply():
            return f" accepted {message.index}"
        case AppendEntriesReply():
            return f" refused {message.index} hint={message.hint_index}/{message.hint_term}"
        case Heartbeat():
            return f" commit={message.commit} round={message.read_round}"
        case HeartbeatReply():
            return f" round={message.read_round}"
        case InstallSnapshot():
            meta = message.snapshot.meta
            return f" {meta.index}/{meta.term}"
        case _:
            return ""
