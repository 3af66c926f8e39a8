"""Answers `ReadRows`: pages of a partition's tables, as SQL knows them.

    ReadRows(table, after) ─▶ scan of one kind of key ─▶ rows ─▶ Rows(rows, after)

A page is read within one turn of the loop, so it is consistent in itself; two pages may show two
moments. It is bounded in rows and bytes. Filters choose where to scan if the key begins with what
is asked for, and drop rows otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from restate_node import __version__
from restate_node.protocol.invocation.awaiting import is_runnable
from restate_node.protocol.partition.invocation_table import (
    INVOCATION,
    RUNNING,
    InvocationRecord,
    Stage,
    decode_invocation,
    read_invocation,
)
from restate_node.protocol.partition.journal_events import failure_of_pause
from restate_node.protocol.partition.journal_table import (
    ENTRY,
    EVENT,
    decode_entry,
    decode_event,
    read_entry,
    read_notification,
)
from restate_node.protocol.partition.lifecycle import arrivals
from restate_node.protocol.partition.promise_table import PROMISE, decode_promise
from restate_node.protocol.partition.queue_table import INBOX, LOCK
from restate_node.protocol.partition.tables import (
    KIND_BYTES,
    STATE,
    StateOwner,
    TableReader,
    owner_in,
    owner_prefix,
    successor,
)
from restate_node.roles.worker.failure_columns import columns_of, columns_of_description
from restate_node.roles.worker.invoker.context import Services
from restate_node.roles.worker.invoker.invoker import Invoker
from restate_node.roles.worker.invoker.run import Run
from restate_node.types import introspection as sql
from restate_node.types.fabric import RpcCode, RpcFailure
from restate_node.types.failure_texts import failure_text
from restate_node.types.introspection import Table
from restate_node.types.invocation_messages import ReadRows, Rows
from restate_node.types.invocations import (
    RAW_ID_BYTES,
    Failure,
    Origin,
    RawInvocationId,
    Success,
    id_text,
    partition_key_of_id,
)
from restate_node.types.journal import AwaitPoint, CompletionId, Entry
from restate_node.types.partition_keys import partition_key_of_key
from restate_node.wire import journal_codec
from restate_node.wire.journal_texts import Called, call_of, describe

PAGE_BYTES_MAX: Final = 1024 * 1024
PAGE_ROWS_MAX: Final = 1024
SCAN_ROWS: Final = 128

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class View:
    """Where rows come from: the tables, and what the leader's invoker is doing."""

    store: TableReader
    invoker: Invoker
    services: Services


@dataclass(frozen=True, slots=True)
class _Kind:
    """How the rows of one SQL table lie in the store: behind an invocation's id or an owner."""

    table: Table
    prefix: bytes
    by_invocation: bool
    values: Callable[[View, bytes, bytes], Values | None]


def read_rows(view: View, request: ReadRows) -> Rows:
    """A page; raises RpcFailure for a table that no partition has."""
    kind = _KINDS.get(request.table)
    if kind is None:
        raise RpcFailure(RpcCode.FORBIDDEN, f"partitions have no table {request.table!r}")
    start, end = _range(kind, request)
    if request.after:
        start = max(start, request.after + b"\x00")
    rows: list[list[Any]] = []
    size, rows_max = 0, min(request.rows_max, PAGE_ROWS_MAX)
    while found := view.store.scan(start, end, rows_max=SCAN_ROWS):
        for key, value in found:
            start = key + b"\x00"
            values = kind.values(view, key, value)
            if values is None or not _is_wanted(kind.table, values, request):
                continue
            rows.append(kind.table.row(values))
            size += len(value) + sum(len(v) for v in values.values() if isinstance(v, str | bytes))
            if len(rows) >= rows_max or size >= PAGE_BYTES_MAX:
                return Rows(rows, key)
    return Rows(rows, None)


def _range(kind: _Kind, request: ReadRows) -> tuple[bytes, bytes]:
    prefix = kind.prefix
    if kind.by_invocation and request.invocation is not None:
        prefix += request.invocation
    elif not kind.by_invocation and request.service is not None and request.key is not None:
        owner = StateOwner(partition_key_of_key(request.key), request.service, request.key)
        prefix = owner_prefix(kind.prefix, owner)
    return prefix, successor(prefix)


def _is_wanted(table: Table, values: Values, request: ReadRows) -> bool:
    invocation = None if request.invocation is None else id_text(request.invocation)
    return (
        _fits(values, table.id_column, invocation)
        and _fits(values, table.service_column, request.service)
        and _fits(values, table.key_column, request.key)
    )


def _fits(values: Values, column: str | None, wanted: str | None) -> bool:
    return wanted is None or column is None or values.get(column) == wanted


# ---------------------------------------------------------------- invocations


def _invocation(view: View, key: bytes, raw: bytes) -> Values | None:
    invocation = RawInvocationId(key[KIND_BYTES:])
    record = decode_invocation(invocation, raw)
    if record.is_forgotten:
        return None
    run = view.invoker.find(invocation)
    values = _stored(invocation, record)
    if record.stage is Stage.PAUSED:
        failure = failure_of_pause(view.store, invocation, record)
        values = {**values, **({} if failure is None else columns_of_description(failure))}
    return {**values, **_attempts(view, run), "status": _status(record, run)}


def _invocation_status(view: View, key: bytes, raw: bytes) -> Values | None:
    invocation = RawInvocationId(key[KIND_BYTES:])
    record = decode_invocation(invocation, raw)
    if record.is_forgotten:
        return None
    return {
        **_stored(invocation, record),
        "partition_key": partition_key_of_id(invocation),
        "status": record.stage.name.lower(),
    }


def _invocation_state(view: View, key: bytes, _: bytes) -> Values | None:
    invocation = RawInvocationId(key[KIND_BYTES:])
    run = view.invoker.find(invocation)
    if run is None:
        return None
    return {
        **_attempts(view, run),
        "partition_key": partition_key_of_id(invocation),
        "id": id_text(invocation),
        "in_flight": run.attempt is not None,
    }


def _status(record: InvocationRecord, run: Run | None) -> str:
    match record.stage:
        case Stage.INBOXED:
            return "pending"
        case Stage.INVOKED:
            if run is None:
                return "ready"
            if run.attempt is None and run.next_retry_ms is not None:
                return "backing-off"
            return "running" if run.last_start_ms is not None else "ready"
        case _:
            return record.stage.name.lower()


def _stored(invocation: RawInvocationId, record: InvocationRecord) -> Values:
    target, pinned = record.target, record.pinned
    return {
        "id": id_text(invocation),
        "target": str(target),
        "target_service_name": target.service,
        "target_service_key": target.key if target.kind.is_keyed else None,
        "target_handler_name": target.handler,
        "target_service_ty": target.kind.service_type.value,
        "idempotency_key": record.idempotency_key,
        **_origin(record),
        "pinned_deployment_id": None if pinned is None else pinned.deployment,
        "pinned_service_protocol_version": None if pinned is None else pinned.protocol_version,
        "journal_size": record.entries,
        "journal_commands_size": record.commands,
        "created_at": record.created_at_ms,
        "created_using_restate_version": __version__,
        "modified_at": record.modified_at_ms,
        "inboxed_at": record.inboxed_at_ms,
        "scheduled_at": record.scheduled_at_ms,
        "scheduled_start_at": record.start_at_ms,
        "running_at": record.running_at_ms,
        "completed_at": record.completed_at_ms,
        "completion_retention": record.retention.outcome_ms,
        "journal_retention": record.retention.journal_ms,
        **_suspension(record.awaiting),
        **_completion(record),
    }


def _origin(record: InvocationRecord) -> Values:
    caller = record.caller
    match record.origin:
        case Origin.SERVICE if caller is not None:
            return {
                "invoked_by": "service",
                "invoked_by_service_name": caller.target.service,
                "invoked_by_id": id_text(caller.invocation),
                "invoked_by_target": str(caller.target),
            }
        case Origin.RESTART_AS_NEW if record.restarted_from is not None:
            former = id_text(record.restarted_from)
            return {"invoked_by": "restart_as_new", "restarted_from": former}
        case _:
            return {"invoked_by": "ingress"}


def _suspension(point: AwaitPoint | None) -> Values:
    if point is None:
        return {}
    return {
        "suspended_waiting_for_completions": sorted(point.completions),
        "suspended_waiting_for_signals": sorted(point.signals),
        "suspended_waiting_future_json": _future_json(point),
    }


def _completion(record: InvocationRecord) -> Values:
    if record.stage is not Stage.COMPLETED:
        return {}
    match record.outcome:
        case Failure(code, message):
            failure = f"[{code}] {message}"
            return {"completion_result": "failure", "completion_failure": failure}
        case _:
            return {"completion_result": "success"}


def _attempts(view: View, run: Run | None) -> Values:
    if run is None:
        return {}
    values: dict[str, Any] = {
        "retry_count": run.retry_count + (run.attempt is not None),
        "last_start_at": run.last_start_ms,
        "next_retry_at": run.next_retry_ms,
        "last_attempt_deployment_id": run.deployment,
        "last_attempt_server": run.server,
    }
    attempt, failure = run.attempt, run.last_failure
    if attempt is not None and attempt.server is not None:
        values["last_attempt_server"] = attempt.server
    if attempt is not None and attempt.awaiting is not None:
        # An SDK may tell late what it waited for, when that has come already.
        known = arrivals(view.store, view.services.journal, run.invocation, attempt.told)
        if not is_runnable(attempt.awaiting, known):
            values["last_awaiting_on_future_json"] = _future_json(attempt.awaiting)
    if failure is not None:
        values |= columns_of(failure)
    return values


def _future_json(point: AwaitPoint) -> str:
    singles: list[Any] = [{"Single": {"CompletionId": n}} for n in point.completions]
    singles += [{"Single": {"SignalIndex": n}} for n in point.signals]
    singles += [{"Single": {"SignalName": name}} for name in point.named_signals]
    singles += [msgspec.json.decode(_future_json(nested)) for nested in point.nested]
    name = point.combinator.name.title().replace("_", "")
    return msgspec.json.encode({name: singles}).decode()


# ---------------------------------------------------------------- journals


def _journal(view: View, key: bytes, raw: bytes) -> Values:
    invocation, row = decode_entry(key, raw)
    called = _called(view, invocation, row.entry)
    text = describe(row.entry, called)
    values: dict[str, Any] = {
        "partition_key": partition_key_of_id(invocation),
        "id": id_text(invocation),
        "index": row.index,
        "entry_type": text.type,
        "name": text.name,
        "raw": row.entry.payload,
        "raw_length": len(row.entry.payload),
        "version": 2,
        "entry_json": text.json,
        "entry_lite_json": text.lite_json,
        "appended_at": row.at_ms,
        "sleep_wakeup_at": text.wake_up_ms,
        "promise_name": text.promise,
    }
    if text.call is not None:
        target = (text.call.service, text.call.key, text.call.handler)
        values["invoked_target"] = "/".join(part for part in target if part)
        callee = called.invocation
        values["invoked_id"] = None if callee is None else id_text(callee)
    return values


def _called(view: View, invocation: RawInvocationId, entry: Entry) -> Called:
    """The id that a call made is in the notification behind it. What kind of handler it called is
    not in the journal: the schema says what it is today.
    """
    call = call_of(entry)
    if call is None:
        return Called()
    index = read_notification(view.store, invocation, CompletionId(call.id_completion))
    told = None if index is None else read_entry(view.store, invocation, index)
    callee = None if told is None else journal_codec.invocation_id(told)
    schema, defaults = view.services.schema.value, view.services.defaults
    handler = schema.handler(call.service, call.handler, defaults)
    return Called(
        None if callee is None else RawInvocationId(callee),
        None if handler is None else handler.kind,
        None if handler is None else handler.retention(),
    )


def _event(_: View, key: bytes, raw: bytes) -> Values:
    invocation = RawInvocationId(key[KIND_BYTES : KIND_BYTES + RAW_ID_BYTES])
    event = decode_event(invocation, raw)
    return {
        "partition_key": partition_key_of_id(invocation),
        "id": id_text(invocation),
        "after_journal_entry_index": event.after_index,
        "appended_at": event.at_ms,
        "event_type": event.kind,
        "event_json": event.content,
    }


# ---------------------------------------------------------------- objects and workflows


def _state(_: View, key: bytes, raw: bytes) -> Values:
    owner, position = owner_in(key)
    name = key[position:].decode()
    return {
        **_owned(owner),
        "key": name,
        "key_length": len(name.encode()),
        "value_utf8": _text(raw),
        "value": raw,
        "value_length": len(raw),
    }


def _inbox(view: View, key: bytes, raw: bytes) -> Values:
    owner, position = owner_in(key)
    waiting = RawInvocationId(raw)
    record = read_invocation(view.store, waiting)
    return {
        **_owned(owner),
        "id": id_text(waiting),
        "sequence_number": int.from_bytes(key[position:], "big"),
        "created_at": None if record is None else record.created_at_ms,
    }


def _lock(_: View, key: bytes, raw: bytes) -> Values:
    owner, _end = owner_in(key)
    return {**_owned(owner), "invocation_id": id_text(RawInvocationId(raw))}


def _promise(_: View, key: bytes, raw: bytes) -> Values:
    owner, position = owner_in(key)
    promise = decode_promise(raw)
    values: dict[str, Any] = {
        **_owned(owner),
        "key": key[position:].decode(),
        "completed": promise.outcome is not None,
    }
    match promise.outcome:
        case Success(value):
            values["completion_success_value"] = value
            values["completion_success_value_utf8"] = _text(value)
        case Failure(code, message):
            values["completion_failure"] = failure_text(code, message)
        case None:
            pass
    return values


def _owned(owner: StateOwner) -> Values:
    return {
        "partition_key": owner.partition_key,
        "service_name": owner.service,
        "service_key": owner.key,
    }


def _text(raw: bytes) -> str | None:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


_KINDS: Final = {
    kind.table.name: kind
    for kind in (
        _Kind(sql.SYS_INVOCATION, INVOCATION, True, _invocation),
        _Kind(sql.SYS_INVOCATION_STATUS, INVOCATION, True, _invocation_status),
        _Kind(sql.SYS_INVOCATION_STATE, RUNNING, True, _invocation_state),
        _Kind(sql.SYS_JOURNAL, ENTRY, True, _journal),
        _Kind(sql.SYS_JOURNAL_EVENTS, EVENT, True, _event),
        _Kind(sql.STATE, STATE, False, _state),
        _Kind(sql.SYS_INBOX, INBOX, False, _inbox),
        _Kind(sql.SYS_KEYED_SERVICE_STATUS, LOCK, False, _lock),
        _Kind(sql.SYS_PROMISE, PROMISE, False, _promise),
    )
}
assert _KINDS.keys() == sql.PARTITION_TABLES.keys(), "a table without rows"
