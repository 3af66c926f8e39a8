"""Log lines of nodes during a run: whose they are, and that they go nowhere else."""

from __future__ import annotations

import pytest
import structlog

from restate_node.sim.hosts import Incarnation
from restate_node.sim.node_logs import NodeLogs

logger = structlog.get_logger("a node")


def test_lines_are_told_with_their_life_and_level(capsys: pytest.CaptureFixture[str]) -> None:
    """Goal: an ERROR is noticed, and by whom it was said. Method: log inside and outside a life."""
    told: list[tuple[str, str, str]] = []
    logs = NodeLogs()
    with logs.captured():
        logger.error("nobody listens yet")
        logs.listener = lambda *line: told.append(line)
        logger.debug("too small to tell")
        Incarnation("n1", 2).context.run(logger.error, "it broke", lsn=7, exc_info=OSError("disk"))
        logger.info("two\nlines")
    assert told == [
        ("n1#2", "error", "it broke lsn=7 (OSError('disk'))"),
        ("world", "info", "two / lines"),
    ]
    assert capsys.readouterr().out == ""


def test_the_former_logging_comes_back() -> None:
    """Goal: a run leaves no trace in the process. Method: compare the configuration."""
    before = structlog.get_config()
    with pytest.raises(RuntimeError), NodeLogs().captured():
        raise RuntimeError
    assert structlog.get_config() == before
