"""The pure parts of the tool: addresses, names, ranges, durations, settings."""

from __future__ import annotations

import pytest

from restate_node.ctl.address import parse_address, parse_addresses
from restate_node.ctl.errors import UsageError
from restate_node.ctl.id_ranges import IDS_MAX, parse_ids, ranges_text, unknown_text
from restate_node.ctl.link import reason_text
from restate_node.ctl.names import UnknownName, resolve_name
from restate_node.ctl.settings import GivenOptions, Settings
from restate_node.ctl.times import TimeFormat, TimeStyle, compact, precise, rough


@pytest.mark.parametrize(
    ("text", "shown", "target"),
    [
        ("localhost", "http://localhost:5122/", "localhost:5122"),
        ("localhost:6122/", "http://localhost:6122/", "localhost:6122"),
        (":6122", "http://127.0.0.1:6122/", "127.0.0.1:6122"),
        ("http://127.0.0.1:5122/", "http://127.0.0.1:5122/", "127.0.0.1:5122"),
        ("http://node-1", "http://node-1:80/", "node-1:80"),
        ("HTTP://[::1]:5122", "http://[::1]:5122/", "[::1]:5122"),
        (" unix:/run/node-1/fabric.sock ", "unix:/run/node-1/fabric.sock", None),
        ("unix:///run/x.sock", "unix:/run/x.sock", None),
        ("unix:x.sock", "unix:x.sock", None),
    ],
)
def test_addresses_are_completed(text: str, shown: str, target: str | None) -> None:
    """Goal: what is left out is filled in. How: a table of inputs, shown and dialled forms."""
    address = parse_address(text)
    assert str(address) == shown
    assert address.target == (target or shown)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "http://",
        "a b",
        "https://x:1",
        "ftp://x",
        "x:0",
        "x:70000",
        "x:port",
        "unix:",
        "x/y",
    ],
)
def test_bad_addresses_are_refused(text: str) -> None:
    """Goal: nothing unclear is dialled. How: each raises and is quoted or explained."""
    with pytest.raises(ValueError, match=r"use|write|between|needs"):
        parse_address(text)


def test_address_lists_lose_repetitions_and_empty_parts() -> None:
    """Goal: comma lists and repeated options are one list. How: mix both, with repetitions."""
    found = parse_addresses(["a,b:1,", "http://a:5122/"])
    assert [str(address) for address in found] == ["http://a:5122/", "http://b:1/"]
    with pytest.raises(ValueError, match="empty"):
        parse_addresses([","])


NAMES = {
    "status": "status",
    "metadata": "metadata",
    "metadata-server": "metadata-server",
    "ms": "metadata-server",
    "snapshots": "snapshots",
    "servers": "list-servers",
    "list-servers": "list-servers",
    "ls": "list-servers",
}


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("status", "status"),
        ("stat", "status"),
        ("sn", "snapshots"),
        ("metadata", "metadata"),
        ("metadata-", "metadata-server"),
        ("ms", "metadata-server"),
        ("se", "list-servers"),
        ("l", "list-servers"),
    ],
)
def test_unique_prefixes_name_a_command(text: str, command: str) -> None:
    """Goal: any prefix with one meaning works, aliases included. How: a table."""
    assert resolve_name(text, NAMES) == command


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("s", "'s' is ambiguous: it could be 'list-servers', 'snapshots' or 'status'"),
        ("stauts", "no such command 'stauts'; did you mean 'status'?"),
        ("zzz", "use one of list-servers, metadata, metadata-server, snapshots, status"),
        ("", "no such command ''"),
    ],
)
def test_other_names_come_with_advice(text: str, message: str) -> None:
    """Goal: an error names the candidates. How: ambiguous, misspelt, foreign and empty words."""
    with pytest.raises(UnknownName) as caught:
        resolve_name(text, NAMES)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("texts", "ids"),
    [
        (["0"], (0,)),
        (["1-4"], (1, 2, 3, 4)),
        (["0-2,7", "1"], (0, 1, 2, 7)),
        ([], ()),
    ],
)
def test_ranges_list_ids_once(texts: list[str], ids: tuple[int, ...]) -> None:
    """Goal: ranges, lists and repetitions give each id once. How: a table."""
    assert parse_ids(texts) == ids


@pytest.mark.parametrize("text", ["abc", "-1", "4-1", "1-", "", "0,,1", f"0-{IDS_MAX}"])
def test_bad_ranges_are_invalid(text: str) -> None:
    """Goal: a bad or endless range is refused before any call. How: each says `invalid`."""
    with pytest.raises(ValueError, match="invalid range"):
        parse_ids([text])


def test_unknown_ids_are_named_with_the_known_ones() -> None:
    """Goal: an operator sees what exists. How: one, several, none missing, nothing there."""
    assert unknown_text("log", [99], range(4)) == "log 99 not found: known logs are 0-3"
    assert unknown_text("log", [1, 8, 9], [0, 1, 3]) == "logs 8-9 not found: known logs are 0-1, 3"
    assert unknown_text("log", [0], [0]) is None
    assert unknown_text("log", [0], []) == "log 0 not found: there are no logs"
    assert ranges_text([3, 1, 2, 2, 7]) == "1-3, 7"


@pytest.mark.parametrize(
    ("duration_ms", "text"),
    [
        (0, "0 ms"),
        (801, "801 ms"),
        (1_170, "1 second and 170 ms"),
        (2_000, "2 seconds"),
        (700_995, "11 minutes, 40 seconds and 995 ms"),
        (90_061_000, "1 day, 1 hour, 1 minute and 1 second"),
    ],
)
def test_durations_are_spelt_out(duration_ms: int, text: str) -> None:
    """Goal: the durations of the operations page. How: its examples and the edges."""
    assert precise(duration_ms) == text


def test_short_durations() -> None:
    """Goal: two shorter forms for tables. How: one and two units, and zero."""
    assert [compact(s) for s in (0, 34, 121, 120, 90_000)] == ["0s", "34s", "2m 1s", "2m", "1d 1h"]
    assert [rough(s) for s in (0, 36, 121, 60, 7200)] == [
        "0 seconds",
        "36 seconds",
        "2 minutes",
        "1 minute",
        "2 hours",
    ]


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (TimeFormat.HUMAN, "1 second and 64 ms ago"),
        (TimeFormat.ISO8601, "2026-11-23T06:39:55.684+00:00"),
        (TimeFormat.RFC2822, "Mon, 23 Nov 2026 06:39:55 +0000"),
    ],
)
def test_moments_follow_the_time_format(form: TimeFormat, text: str) -> None:
    """Goal: --time-format. How: one moment in each format; the future counts as now."""
    moment_ms = 1_795_415_995_684
    assert TimeStyle(form, moment_ms + 1_064).moment(moment_ms) == text
    assert TimeStyle(TimeFormat.HUMAN, 0).moment(5) == "0 ms ago"


def test_inner_options_win_and_environment_is_last() -> None:
    """Goal: options may stand anywhere. How: merge levels, with and without variables."""
    outer = GivenOptions(address=("a",), json=True, connect_timeout=5)
    merged = outer.then(GivenOptions(address=("b",), yes=True))
    assert merged == GivenOptions(address=("b",), json=True, yes=True, connect_timeout=5)
    settings = Settings.of(merged, {"RESTATECTL_ADDRESS": "c"})
    assert [str(address) for address in settings.addresses] == ["http://b:5122/"]
    assert settings.connect_timeout_ms == 5
    assert settings.request_timeout_ms == 13_000
    silent = Settings.of(GivenOptions(), {"RESTATECTL_ADDRESS": "c,d", "CI": "true"})
    assert [str(address) for address in silent.addresses] == ["http://c:5122/", "http://d:5122/"]
    assert silent.yes
    default = Settings.of(GivenOptions(), {})
    assert [str(address) for address in default.addresses] == ["http://localhost:5122/"]
    assert not default.yes


def test_one_address_or_a_list_but_not_both() -> None:
    """Goal: -S means nobody else is asked. How: alone it is single, with -s it is refused."""
    alone = Settings.of(GivenOptions(single_address="x"), {"RESTATECTL_ADDRESS": "c"})
    assert alone.single
    assert [str(address) for address in alone.addresses] == ["http://x:5122/"]
    with pytest.raises(UsageError, match="exclude each other"):
        Settings.of(GivenOptions(address=("a",), single_address="x"), {})
    with pytest.raises(UsageError, match="--address: "):
        Settings.of(GivenOptions(address=("a b",)), {})


@pytest.mark.parametrize(
    ("status", "details", "reason"),
    [
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", "no answer within 7 ms (--request-timeout)"),
        ("UNIMPLEMENTED", "Received http2 header with status: 404", "no Restate node answers"),
        ("UNAVAILABLE", "failed to connect to all addresses; last error: UNKNOWN: ipv4:1:2: Failed "
         "to connect to remote host: Connection refused", "unavailable: connection refused"),
        ("UNAVAILABLE", "failed to connect to all addresses; last error: UNKNOWN: odd", ": odd"),
        ("UNAVAILABLE", "N2: Connection refused by peer", "N2: Connection refused by peer"),
        ("INTERNAL", "two\nlines", "internal: two lines"),
        ("INTERNAL", "", "internal"),
    ],
)  # fmt: skip
def test_reasons_are_for_operators(status: str, details: str, reason: str) -> None:
    """Goal: no library jargon, and the words of a node unchanged. How: a table of statuses."""
    assert reason in reason_text(status, details, 7)
