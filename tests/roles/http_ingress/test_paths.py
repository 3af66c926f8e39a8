"""Paths of the ingress: what they ask for, and what they cannot mean."""

from __future__ import annotations

import pytest

from restate_node.roles.http_ingress.paths import (
    AwakeablePath,
    BadPath,
    CallPath,
    HealthPath,
    IdempotentCall,
    NamedInBodyPath,
    OutcomePath,
    RequestPath,
    Wanted,
    WorkflowRun,
    parse_path,
)
from restate_node.types.invocations import id_text, raw_id
from restate_node.types.targets import ServiceType

ID = raw_id(1, 2)
TYPES = {"S": ServiceType.SERVICE, "O": ServiceType.VIRTUAL_OBJECT, "W": ServiceType.WORKFLOW}


def parse(path: str) -> RequestPath:
    return parse_path(path.encode(), TYPES.__getitem__)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/S/h", CallPath("S", None, "h", send=False)),
        ("/S/h/send", CallPath("S", None, "h", send=True)),
        ("/S/send", CallPath("S", None, "send", send=False)),
        ("/O/k/h", CallPath("O", "k", "h", send=False)),
        ("/O/k/h/send", CallPath("O", "k", "h", send=True)),
        ("/O/k/send", CallPath("O", "k", "send", send=False)),
        ("/O/a%2Fb%20%C3%A9/h", CallPath("O", "a/b é", "h", send=False)),
        ("/O//h", CallPath("O", "", "h", send=False)),
        ("/restate/call/S/h", CallPath("S", None, "h", send=False)),
        ("/restate/call/O/k/h", CallPath("O", "k", "h", send=False)),
        ("/restate/send/O/k/h", CallPath("O", "k", "h", send=True)),
        (f"/restate/invocation/{id_text(ID)}/attach", OutcomePath(ID, wait=True)),
        (f"/restate/invocation/{id_text(ID)}/output", OutcomePath(ID, wait=False)),
        (f"/restate/attach/{id_text(ID)}", OutcomePath(ID, wait=True)),
        (f"/restate/output/{id_text(ID)}", OutcomePath(ID, wait=False)),
        (
            "/restate/invocation/S/h/i%20k/output",
            OutcomePath(IdempotentCall("S", None, "h", "i k"), wait=False),
        ),
        (
            "/restate/invocation/O/k/h/ik/attach",
            OutcomePath(IdempotentCall("O", "k", "h", "ik"), wait=True),
        ),
        ("/restate/workflow/W/k/attach", OutcomePath(WorkflowRun("W", "k"), wait=True)),
        ("/restate/awakeables/x/resolve", AwakeablePath("x", resolve=True)),
        ("/restate/a/x/reject", AwakeablePath("x", resolve=False)),
        ("/restate/health", HealthPath()),
        ("/restate/attach", NamedInBodyPath(Wanted.OUTCOME)),
        ("/restate/output/", NamedInBodyPath(Wanted.OUTPUT)),
        ("/restate/lookup", NamedInBodyPath(Wanted.ID)),
        ("/S/h/", CallPath("S", None, "h", send=False)),
        ("//S/h/send//", CallPath("S", None, "h", send=True)),
        ("/O//h/", CallPath("O", "", "h", send=False)),
    ],
)
def test_paths(path: str, expected: RequestPath) -> None:
    """Goal: every documented form, with and without keys. Method: table."""
    assert parse(path) == expected


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("/", 400, "bad path: /"),
        ("/openapi", 400, "bad path: /openapi"),
        ("/restate", 400, "bad path: /restate"),
        ("/restate/", 400, "bad path"),
        ("/restate/nope", 404, "not found"),
        ("/S/h/x", 400, "expected either"),
        ("/S/h/send/x", 400, "expected either"),
        ("/O/k", 400, "expected either"),
        ("/O/%ff/h", 400, "not UTF-8"),
        ("/restate/call/S", 400, "expected /restate/call"),
        ("/restate/call/O/h", 400, "expected /restate/call"),
        ("/restate/call/S/h/x", 400, "expected /restate/call"),
        ("/restate/send", 400, "expected /restate/call"),
        ("/restate/invocation/inv_bad/output", 400, "bad invocation id 'inv_bad'"),
        ("/restate/invocation/x", 400, "expected either"),
        ("/restate/invocation/S/h/k/x/output", 400, "expected either"),
        ("/restate/workflow/W/k", 400, "expected either"),
        ("/restate/awakeables/x", 400, "expected either"),
        ("/restate/awakeables/x/nope", 404, "not found"),
        ("*", 400, "bad path"),
        ("/O/k/", 400, "expected either"),
        ("/restate/attach/x/y", 400, "expected"),
        ("/restate/lookup/x", 400, "expected"),
        ("/restate/scope/s/call/S/h", 400, "leave out"),
        ("/restate/invocation/S/h/k/nope", 404, "not found"),
        ("/restate/workflow/W/k/x/output", 404, "not found"),
        ("/S/" + "x" * 70_000, 414, "longer"),
    ],
)
def test_bad_paths(path: str, status: int, reason: str) -> None:
    """Goal: each is refused with what was expected. Method: table."""
    with pytest.raises(BadPath, match=reason) as refused:
        parse(path)
    assert refused.value.status == status
