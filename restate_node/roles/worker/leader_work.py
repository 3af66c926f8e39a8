"""What a leader does beyond leading: it runs invocations, fires timers, carries messages, answers.

    effects of applied records ─▶ invoker   ─▶ services ─▶ reports ─┐
                               ├▶ timers    ─▶ proposals ───────────┤
                               ├▶ outbox    ─▶ logs of others       ├─▶ log
                               └▶ submissions ─▶ answers            │
    requests ─▶ records of clients ─────────────────────────────────┘

All of it is made anew for each term, from the tables, and thrown away with it. Whatever was under
way then is found in the tables by the next leader, or asked again by who waits for it.
"""

from __future__ import annotations

import asyncio
from typing import Final

from restate_node.bifrost.errors import AppendFailed
from restate_node.fabric.router import Reply
from restate_node.protocol.partition.effects import (
    Accepted,
    Effect,
    Ended,
    MessageSent,
    Operated,
    RunAgainNow,
    RunInvocation,
    StopRun,
    Stored,
    TimerSet,
)
from restate_node.protocol.partition.invocation_table import (
    InvocationRecord,
    Stage,
    find_invocation,
    read_invocation,
)
from restate_node.roles.worker.absences import Absences
from restate_node.roles.worker.context import WorkerContext
from restate_node.roles.worker.introspection import View, read_rows
from restate_node.roles.worker.invoker.context import Services
from restate_node.roles.worker.invoker.invoker import Invoker
from restate_node.roles.worker.outbox import Outbox
from restate_node.roles.worker.partition_store import PartitionStore
from restate_node.roles.worker.submissions import SWEEP_S, Submissions
from restate_node.roles.worker.term import OnCommitted, RecordTooLarge, Term
from restate_node.roles.worker.timers import Timers
from restate_node.runtime.tasks import TaskKind
from restate_node.types import wal
from restate_node.types.fabric import RpcCode, RpcFailure
from restate_node.types.invocation_messages import (
    Attached,
    AttachInvocation,
    AttachStatus,
    ControlInvocation,
    NotifyInvocation,
    ReadRows,
    Rows,
    SubmitInvocation,
    Submitted,
)
from restate_node.types.invocations import (
    Invocation,
    RawInvocationId,
    partition_key_of_id,
)
from restate_node.types.offsets import Lsn
from restate_node.types.partitions import Partition
from restate_node.types.processor_messages import Proposed
from restate_node.types.targets import TargetKind

TICKET_BYTES: Final = 16
ROOM_PAUSE_S: Final = 0.005


class LeaderWork:
    """One term's work. `start` once it leads, `stop` when it does no longer."""

    def __init__(
        self,
        partition: Partition,
        store: PartitionStore,
        term: Term,
        context: WorkerContext,
        services: Services,
    ) -> None:
        self._partition = partition
        self._store = store
        self._term = term
        self._context = context
        self._services = services
        self._loop = asyncio.get_running_loop()
        self._submissions = Submissions()
        self._absences = Absences(store, self._attach)
        self._timers = Timers(store, term, context.clock)
        self._outbox = Outbox(partition, store, term, context.log, services.partition_table)
        self.invoker = Invoker(store, services, self, context.tasks, context.clock, context.rng)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Take up what the tables say is to be done."""
        spawn, number = self._context.tasks.spawn, self._partition.id
        kind = TaskKind.PARTITION_PROCESSOR
        self._tasks = [
            spawn(kind, f"timers of partition {number}", self._timers.run()),
            spawn(kind, f"outbox of partition {number}", self._outbox.run()),
            spawn(kind, f"open questions of partition {number}", self._sweep()),
            spawn(kind, f"unknown invocations of partition {number}", self._absences.run()),
        ]
        for task in self._tasks:
            task.add_done_callback(self._ended)
        self.invoker.begin()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A part that fails leaves work undone: the term ends, and the next one begins anew."""
        if not task.cancelled() and task.exception() is not None:
            self._term.over.set()

    def stop(self) -> None:
        """End everything at once."""
        self.invoker.close()
        for task in self._tasks:
            task.cancel()
        reason = f"partition {self._partition.id} is no longer led by this node"
        self._submissions.close(reason)
        self._absences.close(reason)

    def applied(self, effects: list[Effect]) -> None:
        """React to what the log said."""
        for effect in effects:
            match effect:
                case Stored():
                    self.invoker.stored(effect)
                case RunInvocation():
                    self.invoker.run(effect)
                case Ended():
                    self._submissions.ended(effect)
                case Accepted():
                    self._submissions.accepted(effect, self._loop.time())
                case TimerSet(at_ms):
                    self._timers.set(at_ms)
                case MessageSent():
                    self._outbox.sent()
                case StopRun(invocation):
                    self.invoker.stop(invocation)
                case RunAgainNow(invocation, run):
                    self.invoker.go_on(invocation, run)
                case Operated():
                    self._submissions.operated(effect)
                case _:
                    pass
        self._timers.applied()

    # ------------------------------------------------------------ reports of attempts

    async def room(self) -> None:
        """As a Reporter."""
        while self._term.is_full:  # noqa: ASYNC110, an appender tells nobody when it has room
            await asyncio.sleep(ROOM_PAUSE_S)

    def report(self, progress: wal.AttemptProgress) -> None:
        """As a Reporter. A run that outlives the term reports to nobody."""
        if not self._term.over.is_set():
            self._term.propose(partition_key_of_id(progress.invocation), progress)

    # ------------------------------------------------------------ requests

    def submit(self, request: SubmitInvocation, reply: Reply) -> None:
        """Answers by `reply`; raises RpcFailure."""
        call = request.invocation
        record = read_invocation(self._store, call.id)
        if record is not None and record.stands_for(call.random_seed):
            self._join(call, record, request.wait, reply)
            return
        self._admit(partition_key_of_id(call.id))
        joins = call.target.kind is not TargetKind.WORKFLOW_RUN
        self._submissions.submitted(call.id, call.random_seed, reply, request.wait, joins)

        def committed(result: Lsn | AppendFailed) -> None:
            if isinstance(result, AppendFailed):
                failure = _failure_of(result)
                self._submissions.failed(call.id, call.random_seed, failure)

        self._take(call.id, wal.Invoke(call), committed)

    def attach(self, request: AttachInvocation, reply: Reply) -> None:
        """Answers by `reply`; raises RpcFailure. What is not here may have been promised by another
        leader meanwhile.
        """
        if find_invocation(self._store, request.invocation) is None:
            self._ask_the_log(request, reply)
        else:
            self._check_questions()
            self._attach(request, reply)

    def _ask_the_log(self, request: AttachInvocation, reply: Reply) -> None:
        self._admit(partition_key_of_id(request.invocation))
        if self._absences.is_full:
            text = "too many callers ask for unknown invocations; retry"
            raise RpcFailure(RpcCode.OVERLOADED, text)
        # Nothing is below message 1, so nothing changes; releases of before can read it.
        nothing = wal.TruncateOutbox(0)
        self._take(request.invocation, nothing, self._absences.ask(request, reply))

    def _attach(self, request: AttachInvocation, reply: Reply) -> None:
        record = find_invocation(self._store, request.invocation)
        if record is None:
            reply(Attached(AttachStatus.NOT_FOUND))
        elif record.stage is Stage.COMPLETED:
            ended = AttachStatus.ENDED
            reply(Attached(ended, record.outcome, record.expires_at_ms, record.target))
        elif request.wait:
            self._submissions.wait(request.invocation, reply, None, self._loop.time())
        else:
            reply(Attached(AttachStatus.NOT_READY))

    def notify(self, request: NotifyInvocation, reply: Reply) -> None:
        """Answers by `reply`, when it is in the log; raises RpcFailure."""
        self._admit(partition_key_of_id(request.invocation))

        def committed(result: Lsn | AppendFailed) -> None:
            failed = isinstance(result, AppendFailed)
            reply(_failure_of(result) if failed else Proposed(result))

        self._take(request.invocation, wal.Notify(request.invocation, request.signal), committed)

    def control(self, request: ControlInvocation, reply: Reply) -> None:
        """Answers by `reply`, when it was applied; raises RpcFailure."""
        self._admit(partition_key_of_id(request.invocation))
        ticket = self._context.rng.randbytes(TICKET_BYTES)
        self._submissions.operate(ticket, reply)

        def committed(result: Lsn | AppendFailed) -> None:
            if isinstance(result, AppendFailed):
                self._submissions.operation_failed(ticket, _failure_of(result))

        command = wal.Operate(
            ticket,
            request.invocation,
            request.control,
            request.deployment,
            request.new_invocation,
            request.copy_entries,
            request.protocol_version,
        )
        self._take(request.invocation, command, committed)

    def read_rows(self, request: ReadRows) -> Rows:
        """A page of a table; raises RpcFailure."""
        return read_rows(View(self._store, self.invoker, self._services), request)

    # ------------------------------------------------------------ inside

    def _join(self, call: Invocation, record: InvocationRecord, wait: bool, reply: Reply) -> None:
        """It is known already, so nothing has to be written. Nobody waits for the run of a workflow
        that another call began: it is no answer to this one.
        """
        is_new = record.random_seed == call.random_seed
        if not wait or (not is_new and record.target.kind is TargetKind.WORKFLOW_RUN):
            reply(Submitted(is_new, record.start_at_ms))
        elif record.stage is Stage.COMPLETED:
            reply(Submitted(is_new, None, record.outcome, record.expires_at_ms))
        else:
            self._check_questions()
            self._submissions.wait(call.id, reply, is_new, self._loop.time())

    def _take(
        self,
        invocation: RawInvocationId,
        command: wal.Command,
        committed: OnCommitted,
    ) -> None:
        try:
            self._term.take(partition_key_of_id(invocation), command, committed)
        except RecordTooLarge as error:
            raise RpcFailure(RpcCode.FORBIDDEN, f"too large for the log: {error}") from None

    def _admit(self, partition_key: int) -> None:
        if partition_key not in self._partition.key_range:
            text = f"partition {self._partition.id} does not own the key {partition_key}"
            raise RpcFailure(RpcCode.FORBIDDEN, text)
        if self._term.is_full:
            raise RpcFailure(RpcCode.OVERLOADED, "too many records wait for the log; retry")
        self._check_questions()

    def _check_questions(self) -> None:
        if self._submissions.is_full:
            raise RpcFailure(RpcCode.OVERLOADED, "too many callers wait for answers; retry")

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self._submissions.sweep(self._loop.time())


def _failure_of(error: AppendFailed) -> RpcFailure:
    code = RpcCode.CONNECTION_LOST if error.maybe_written else RpcCode.NOT_READY
    return RpcFailure(code, str(error))
