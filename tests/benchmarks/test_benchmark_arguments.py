"""The command line of the append benchmark."""

from __future__ import annotations

import pytest

from benchmarks.arguments import parse
from benchmarks.cases import CASES, find


def test_everything_is_measured_by_default() -> None:
    """Goal: no argument means the whole table. Method: parse an empty command line."""
    arguments = parse([])
    assert arguments.cases == CASES
    assert arguments.replication == 2
    assert arguments.address is None
    assert not arguments.json


def test_named_cases_keep_their_order() -> None:
    """Goal: `--case` selects, in the order given. Method: two of them."""
    arguments = parse(["--case", "1024", "--case", "single"])
    assert [case.name for case in arguments.cases] == ["1024", "single"]


def test_an_overridden_case_has_no_floor() -> None:
    """Goal: a floor is never printed beside a measurement of something else.

    Method: override each dimension, look at the case; one that is no append stays as it is.
    """
    arguments = parse(
        ["--case", "64", "--case", "idle", "--size", "256", "--in-flight", "8", "--batch", "2"]
    )
    case, idle = arguments.cases
    assert (case.record_bytes, case.in_flight, case.batch_records) == (256, 8, 2)
    assert case.floor == case.aim == ""
    assert idle == find("idle")


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["--case", "fast"], "unknown case 'fast'; use one of single, 64"),
        (["--bare", "--address", "http://127.0.0.1:5122/"], "leave out --address"),
        (["--seconds", "0"], "0 is not between 0 and 3600"),
        (["--rounds", "0"], "0 is not between 1 and 1000000"),
        (["--size", "many"], "invalid _count value: 'many'"),
    ],
)
def test_nonsense_is_refused(
    argv: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Goal: status 2 and a line that says what is wrong. Method: a table of wrong arguments."""
    with pytest.raises(SystemExit) as stopped:
        parse(argv)
    assert stopped.value.code == 2
    assert reason in capsys.readouterr().err
