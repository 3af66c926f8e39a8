"""Log lines: readable by people in two formats, by machines in one."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from restate_node.runtime.telemetry import LineFormat, configure, level_of


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def written(line_format: LineFormat, *, colours: bool = False) -> str:
    output = io.StringIO()
    configure(line_format, logging.INFO, colours=colours, output=output)
    logger = structlog.get_logger("test")
    logger.debug("never seen")
    logger.warning("log reconfigured", log=0, reason="two words")
    return output.getvalue()


def test_compact_line_has_moment_level_message_and_facts() -> None:
    """Goal: one line, facts behind the message, quoted when they have spaces."""
    line = written(LineFormat.COMPACT)
    moment, rest = line.split(" ", 1)
    assert moment.endswith("Z")
    assert rest == 'WARN  log reconfigured log=0 reason="two words"\n'


def test_colours_only_where_asked_for() -> None:
    """Goal: no escape sequences in files. How: the same line with and without colours."""
    assert "\x1b[" in written(LineFormat.PRETTY, colours=True)
    assert "\x1b[" not in written(LineFormat.PRETTY)
    assert "\x1b[" not in written(LineFormat.COMPACT, colours=True)


def test_json_line_is_an_object_with_the_facts() -> None:
    """Goal: machines read the facts by name. How: parse the line."""
    event = json.loads(written(LineFormat.JSON))
    assert (event["event"], event["level"], event["log"]) == ("log reconfigured", "warning", 0)


def test_exception_follows_its_line() -> None:
    """Goal: an error says where it came from. How: log one with its traceback."""
    output = io.StringIO()
    configure(LineFormat.COMPACT, logging.INFO, colours=False, output=output)
    try:
        raise ValueError("boom")
    except ValueError:
        structlog.get_logger("test").exception("handler failed")
    assert "handler failed\nTraceback" in output.getvalue()
    assert "ValueError: boom" in output.getvalue()


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("info", logging.INFO),
        ("warn,restate=info", logging.INFO),
        ("warn,restate=debug", logging.DEBUG),
        ("error", logging.ERROR),
        ("warn,hyper=debug", logging.WARNING),
        ("nonsense", logging.INFO),
    ],
)
def test_level_is_that_of_our_own_lines(text: str, level: int) -> None:
    """Goal: Restate's filters mean the same here. How: a table of filters."""
    assert level_of(text) == level
