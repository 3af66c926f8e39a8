"""Logs for people and for machines: few lines, each an event with named facts, each bound to its
node.

    pretty   2026-11-23T14:03:05.120Z WARN  log reconfigured log=0 base_lsn=7 node=N1:2
    compact  the same without colours
    json     one object per line

Standard output carries nothing but these lines. structlog costs about 15 µs an event: never log per
record.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from enum import Enum
from typing import Any, Final, TextIO

import structlog

LEVEL_NAMES: Final[Mapping[str, int]] = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "off": logging.CRITICAL,
}
_COLOURS: Final[Mapping[str, str]] = {
    "error": "\x1b[31m",
    "warning": "\x1b[33m",
    "info": "\x1b[32m",
}
_RESET: Final = "\x1b[0m"


class LineFormat(Enum):
    """How a line looks."""

    PRETTY = "pretty"
    COMPACT = "compact"
    JSON = "json"


def configure(
    line_format: LineFormat, level: int, *, colours: bool, output: TextIO | None = None
) -> None:
    """Set up logging for this process; may be called again with other values."""
    stream = output if output is not None else sys.stdout
    renderer = (
        structlog.processors.JSONRenderer()
        if line_format is LineFormat.JSON
        else _LineRenderer(colours=colours and line_format is LineFormat.PRETTY)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )


def level_of(text: str) -> int:
    """The level of a filter such as `warn,restate=info`: what is said of our own lines counts."""
    level = logging.INFO
    for part in text.split(","):
        target, separator, name = part.strip().rpartition("=")
        if not separator or target.startswith("restate"):
            level = LEVEL_NAMES.get(name.lower(), level)
    return level


class _LineRenderer:
    """One readable line per event."""

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours

    def __call__(self, _: Any, __: str, event: MutableMapping[str, Any]) -> str:
        moment = event.pop("timestamp", "")
        level = str(event.pop("level", "info"))
        message = event.pop("event", "")
        trace = event.pop("exception", None)
        facts = "".join(f" {key}={_shown(value)}" for key, value in event.items())
        shown = f"{'WARN' if level == 'warning' else level.upper():<5}"
        if self._colours:
            shown = f"{_COLOURS.get(level, '')}{shown}{_RESET}"
        line = f"{moment} {shown} {message}{facts}"
        return f"{line}\n{trace}" if trace else line


def _shown(value: Any) -> str:
    text = str(value)
    return f'"{text}"' if " " in text else text
