"""P8: whatever a store began from — nothing, its own flushed rows, a snapshot — it holds what all
records from the first one on make of it.

The records are known from whoever read them first; what they make is computed here, by a model of
a dozen lines: a writer's number that is not above its former ones is old, a write replaces the
state of its key.
"""

from __future__ import annotations

from collections.abc import Iterator

from restate_node.sim.checkers.checker import Checker
from restate_node.sim.history import History, RecordApplied, StateDumped

Records = dict[int, RecordApplied]
"""By LSN."""
SHOWN_MAX = 3


class Model:
    """One partition, from its first record on."""

    def __init__(self, records: Records) -> None:
        self.state: dict[str, str] = {}
        self.unknown: list[int] = []
        self._records = records
        self._numbers: dict[str, tuple[int, int]] = {}
        self._applied = 0

    def advance(self, lsn: int) -> None:
        """Take all records up to this one."""
        while self._applied < lsn:
            self._applied += 1
            record = self._records.get(self._applied)
            if record is None:
                self.unknown.append(self._applied)
            elif self._is_new(record) and record.key:
                self.state[record.key] = record.value

    def _is_new(self, record: RecordApplied) -> bool:
        if not record.writer:
            return True
        former = self._numbers.get(record.writer)
        if former is not None and record.number <= former:
            return False
        self._numbers[record.writer] = record.number
        return True


def find(history: History) -> Iterator[str]:
    records: dict[int, Records] = {}
    for record in history.of(RecordApplied):
        records.setdefault(record.partition, {}).setdefault(record.lsn, record)
    models: dict[int, Model] = {}
    for dump in sorted(history.of(StateDumped), key=lambda dump: (dump.partition, dump.lsn)):
        model = models.setdefault(dump.partition, Model(records.get(dump.partition, {})))
        model.advance(dump.lsn)
        yield from _differences(model, dump)


def _differences(model: Model, dump: StateDumped) -> Iterator[str]:
    where = f"partition {dump.partition} on {dump.node}, at LSN {dump.lsn} ({dump.at:.3f}s)"
    if model.unknown:
        yield f"{where}: holds LSN {model.unknown[0]}, which nobody has ever applied"
    state = dict(dump.state)
    wrong = [
        key for key in sorted({*state, *model.state}) if state.get(key) != model.state.get(key)
    ]
    if wrong:
        shown = ", ".join(
            f"{key} is {state.get(key)} instead of {model.state.get(key)}"
            for key in wrong[:SHOWN_MAX]
        )
        yield f"{where}: {len(wrong)} keys differ from a replay of all records: {shown}"


CHECKER = Checker("P8", "a store holds what a replay of all records makes, however it began", find)
