"""Events beside a journal, as far as the state machine writes them itself: somebody paused it.

What failed before is found in the event that the invoker left, so that whoever looks at a paused
invocation reads why it was not getting on, from any leader and at any time later.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from restate_node.protocol.partition.invocation_table import InvocationRecord
from restate_node.protocol.partition.journal_table import EventRecord, read_event
from restate_node.protocol.partition.tables import CorruptTable, TableReader
from restate_node.types.invocations import RawInvocationId, id_text

TRANSIENT_ERROR: Final = "TransientError"
PAUSED: Final = "Paused"
KIND: Final = "ty"
LAST_FAILURE: Final = "last_failure"


def paused_by_hand(
    tables: TableReader, invocation: RawInvocationId, record: InvocationRecord, now_ms: int
) -> EventRecord:
    """The event, with the failure that nothing has followed."""
    last = read_event(tables, invocation, record.events - 1) if record.events else None
    content: dict[str, Any] = {KIND: PAUSED}
    after_index = record.entries - 1
    if last is not None and last.kind == TRANSIENT_ERROR and last.after_index == after_index:
        failure = _content(invocation, last)
        del failure[KIND]
        content[LAST_FAILURE] = failure
    return EventRecord(after_index, now_ms, PAUSED, msgspec.json.encode(content).decode())


def failure_of_pause(
    tables: TableReader, invocation: RawInvocationId, record: InvocationRecord
) -> dict[str, Any] | None:
    """What the event tells of why it is paused; None: nothing had failed."""
    last = read_event(tables, invocation, record.events - 1) if record.events else None
    if last is None or last.kind != PAUSED:
        return None
    return _content(invocation, last).get(LAST_FAILURE)


def _content(invocation: RawInvocationId, event: EventRecord) -> dict[str, Any]:
    try:
        return msgspec.json.decode(event.content, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise CorruptTable(f"malformed event of {id_text(invocation)}: {error}") from None
