"""How the events of a history read in the timeline: what happened, and its details."""

from __future__ import annotations

from restate_node.sim.history import (
    Acknowledged,
    AppendDropped,
    Appending,
    ChainSeen,
    CommandApplied,
    CopyDamaged,
    EpochBegan,
    Event,
    FaultBegan,
    FaultEnded,
    GapRead,
    Healed,
    Leading,
    NodeEnded,
    NodeReady,
    NodeStarted,
    Observed,
    PatchAcknowledged,
    Progress,
    RaftApplied,
    RaftEntry,
    RaftLeader,
    ReadEnded,
    ReadStarted,
    RecordApplied,
    RecordRead,
    RegisterCalled,
    RegisterUsed,
    SegmentAcknowledged,
    SegmentSeen,
    SnapshotsKept,
    StateDumped,
    StateSeen,
    StoreFlushed,
    TailFound,
    Trimming,
)
from restate_node.sim.history_cluster import (
    ClusterSeen,
    OperatorSaid,
    StatusSaid,
    TrimOrdered,
)
from restate_node.sim.linearizability import Operation
from restate_node.sim.story_invocations import tell_invocation


def tell(event: Event) -> tuple[str, str, str]:
    """Who, what, details."""
    match event:
        case FaultBegan() | FaultEnded() | Healed() | Observed():
            return _of_the_nemesis(event)
        case NodeStarted() | NodeReady() | NodeEnded():
            return _of_a_life(event)
        case RaftLeader() | RaftEntry() | RaftApplied() | RegisterCalled() | RegisterUsed():
            return _of_metadata(event)
        case Leading() | EpochBegan() | StateSeen() | CommandApplied() | Progress():
            return _of_a_partition(event)
        case _:
            return _of_the_log(event)


def _of_the_nemesis(event: FaultBegan | FaultEnded | Healed | Observed) -> tuple[str, str, str]:
    match event:
        case FaultBegan():
            return "nemesis", "fault", event.fault
        case FaultEnded():
            return "nemesis", "over", event.fault
        case Healed():
            return "world", "healed", "no fault is left; liveness is owed from here on"
        case Observed():
            return "world", "observed", "liveness was watched up to here"


def _of_a_life(event: NodeStarted | NodeReady | NodeEnded) -> tuple[str, str, str]:
    match event:
        case NodeStarted():
            return event.node, "boot", ""
        case NodeReady():
            return event.node, "ready", ""
        case NodeEnded():
            return event.node, "end", event.reason


def _of_metadata(
    event: RaftLeader | RaftEntry | RaftApplied | RegisterCalled | RegisterUsed,
) -> tuple[str, str, str]:
    match event:
        case RaftLeader():
            return event.node, "raft", f"leads in term {event.term}, log up to {event.last_index}"
        case RaftEntry():
            return event.node, "raft", f"has entry {event.index}@{event.term} {event.digest}"
        case RaftApplied():
            return event.node, "raft", f"applied entry {event.index}@{event.term} {event.digest}"
        case RegisterCalled():
            called = event.operation
            return event.node, "register", f"call {event.call}: {called.key} {called.request}"
        case RegisterUsed():
            done = event.operation
            outcome = "had no effect" if done is None else f"-> {_outcome(done)}"
            return event.node, "register", f"call {event.call} {outcome}"


def _of_a_partition(
    event: Leading | EpochBegan | StateSeen | CommandApplied | Progress,
) -> tuple[str, str, str]:
    where = f"partition {event.partition}"
    match event:
        case Leading():
            return event.node, "lead", f"{where}, epoch {event.epoch}"
        case EpochBegan():
            began = f"epoch {event.epoch} of {event.leader} begins"
            return event.node, "epoch", f"{where}, LSN {event.lsn}: {began}"
        case StateSeen():
            return event.node, "state", f"{where}, LSN {event.lsn}: {event.digest}"
        case CommandApplied():
            return event.node, "apply", f"{where}, LSN {event.lsn}: {event.command}"
        case Progress():
            role = "leader" if event.is_leader else "follower"
            return event.node, "progress", f"{where}, {role}: {event.applied} of {event.tail - 1}"


def _of_the_log(event: Event) -> tuple[str, str, str]:
    match event:
        case Appending():
            return event.node, "append", f"log {event.log}, record {_text(event.payload)}"
        case Acknowledged():
            record = _text(event.payload)
            return event.node, "ack", f"log {event.log}, LSN {event.lsn}, record {record}"
        case AppendDropped():
            record = _text(event.payload)
            return event.node, "dropped", f"log {event.log}, record {record}: {event.reason}"
        case SegmentAcknowledged():
            span = f"LSN {event.lsn}, {event.count} records"
            return event.node, "segment", f"log {event.log}, segment {event.segment}: {span}"
        case TailFound():
            state = "sealed" if event.sealed else "open"
            return event.node, "tail", f"log {event.log}, {state} tail {event.lsn}"
        case Trimming():
            return event.node, "trim", f"log {event.log} up to LSN {event.lsn}"
        case ChainSeen():
            chain = " ".join(map(_segment, event.segments))
            return event.node, "chain", f"log {event.log}, version {event.version}: {chain}"
        case ReadStarted() | RecordRead() | GapRead() | ReadEnded():
            return event.node, "read", f"log {event.log}, reader {event.reader}: {_read(event)}"
        case _:
            return _of_the_rest(event)


def _of_the_rest(event: Event) -> tuple[str, str, str]:
    match event:
        case PatchAcknowledged():
            return event.node, "patched", f"partition {event.partition}, LSN {event.lsn}"
        case RecordApplied():
            what = f"{event.key} = {event.value}" if event.key else "no state"
            place = f"partition {event.partition}, LSN {event.lsn}"
            return event.node, "record", f"{place}: {what}, {event.writer[:6]} {event.number}"
        case StateDumped():
            held = f"{len(event.state)} keys at LSN {event.lsn}"
            return event.node, "store", f"partition {event.partition}: {held}"
        case StoreFlushed():
            return event.node, "flushed", f"partition {event.partition} up to LSN {event.lsn}"
        case SnapshotsKept():
            return "bucket", "snapshots", f"partition {event.partition}: up to LSN {event.lsns}"
        case OperatorSaid():
            return "operator", "operator", event.text
        case StatusSaid():
            return "operator", "status", "all is well" if event.healthy else "something is wrong"
        case TrimOrdered():
            return "operator", "trim", f"log {event.log} up to LSN {event.lsn}, by order"
        case ClusterSeen():
            places = " ".join(
                f"{p.partition}:{list(p.replicas)}>{p.leader}" for p in event.partitions
            )
            return "operator", "survey", f"replicas and leaders {places}"
        case CopyDamaged():
            return "nemesis", "damage", f"{event.host} {event.what}"
        case _:
            return tell_invocation(event) or ("world", type(event).__name__, str(event))


def _read(event: ReadStarted | RecordRead | GapRead | ReadEnded) -> str:
    match event:
        case ReadStarted():
            return f"starts at LSN {event.lsn}"
        case RecordRead():
            return f"LSN {event.lsn} is {_text(event.payload)}"
        case GapRead():
            return f"LSN {event.lsn} to {event.end - 1} are trimmed"
        case ReadEnded():
            return f"stops at LSN {event.lsn}"


def _segment(segment: SegmentSeen) -> str:
    return f"[{'seal' if segment.is_marker else segment.index}@{segment.base}]"


def _outcome(done: Operation) -> str:
    return "unknown" if done.returned_at is None else repr(done.result)


def _text(payload: bytes) -> str:
    return payload[:60].decode(errors="replace")
