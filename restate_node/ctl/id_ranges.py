"""Lists of log or partition ids: `0`, `1-4`, `0-3,7`."""

from __future__ import annotations

import re
from collections.abc import Iterable

IDS_MAX = 65536
"""Ids that one command line may name."""

_RANGE = re.compile(r"([0-9]{1,10})(?:-([0-9]{1,10}))?")


def parse_ids(texts: Iterable[str]) -> tuple[int, ...]:
    """The ids, each once, in the order given; ValueError says what was expected."""
    found: dict[int, None] = {}
    for text in (part.strip() for joined in texts for part in joined.split(",")):
        first, last = _bounds(text)
        if last - first + 1 + len(found) > IDS_MAX:
            raise ValueError(f"invalid range '{text}': at most {IDS_MAX} ids may be named at once")
        found.update(dict.fromkeys(range(first, last + 1)))
    return tuple(found)


def ranges_text(ids: Iterable[int]) -> str:
    """`0-3, 7`: the shortest list of the ids."""
    runs: list[list[int]] = []
    for number in sorted(set(ids)):
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)


def unknown_text(noun: str, wanted: Iterable[int], known: Iterable[int]) -> str | None:
    """`log 99 not found: known logs are 0-3`; None if all are known."""
    known_ids = set(known)
    missing = [number for number in wanted if number not in known_ids]
    if not missing:
        return None
    subject = noun if len(missing) == 1 else f"{noun}s"
    there = f"known {noun}s are {ranges_text(known_ids)}" if known_ids else f"there are no {noun}s"
    return f"{subject} {ranges_text(missing)} not found: {there}"


def _bounds(text: str) -> tuple[int, int]:
    matched = _RANGE.fullmatch(text)
    if matched is None:
        raise ValueError(f"invalid range '{text}': write an id such as 0 or a range such as 1-4")
    first = int(matched[1])
    last = first if matched[2] is None else int(matched[2])
    if last < first:
        raise ValueError(f"invalid range '{text}': write the smaller id first, {last}-{first}")
    return first, last
