"""What an attempt asks, and what it takes answers for that are no conversation."""

from __future__ import annotations

from urllib.parse import unquote

import pytest

from restate_node.roles.worker.invoker.place import KEY_CHARACTERS_MAX, Place
from restate_node.runtime.services import HttpVersion, RequestHead, ResponseHead
from restate_node.types.ids import Version
from restate_node.types.invocations import RawInvocationId
from restate_node.types.schema import (
    Deployment,
    Handler,
    HandlerDefaults,
    ProtocolMode,
    Schema,
    Service,
)
from restate_node.types.schema import HttpVersion as Registered
from restate_node.types.targets import ServiceType, TargetKind

V5 = "application/vnd.restate.invocation.v5"
CALL = RawInvocationId(bytes(24))


def place(key: str = "") -> Place:
    add = Handler(name="add", kind=TargetKind.OBJECT_EXCLUSIVE)
    cart = Service(name="Cart", type=ServiceType.VIRTUAL_OBJECT, handlers={"add": add})
    known = Deployment(
        id="dp_11",
        uri="http://cart:9080/",
        mode=ProtocolMode.BIDIRECTIONAL,
        http_version=Registered.HTTP_2,
        additional_headers={"authorization": "secret"},
        services={"Cart": cart},
    )
    schema = Schema(Version(1), {known.id: known})
    handler = schema.handler("Cart", "add", HandlerDefaults())
    assert handler is not None
    return Place(known, handler, 5, pins=True, key=key)


def answer(status: int, content_type: str = "text/plain", **headers: str) -> ResponseHead:
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return ResponseHead(status, (("content-type", content_type), *named), HttpVersion.HTTP_2)


def told_key(head: RequestHead) -> str | None:
    return dict(head.headers).get("x-restate-service-key")


def test_what_is_asked() -> None:
    """Goal: the head of a request. Method: all of it, for a call without a key."""
    head = place().head(CALL)
    assert (head.method, head.path, head.key) == ("POST", "/invoke/Cart/add", "")
    assert dict(head.headers) == {
        "content-type": V5,
        "accept": V5,
        "x-restate-invocation-id": "inv_1" + "0" * 33,
        "authorization": "secret",
    }


def test_keys_are_told_in_a_form_that_headers_can_hold() -> None:
    """Goal: any key survives, and none breaks a head. Method: every ASCII character and more, as
    the released server was seen to write them; a key that is too long for a head.
    """
    every = "".join(map(chr, range(1, 128))) + "é"
    head = place(every).head(CALL)
    told = told_key(head)
    assert told is not None and unquote(told) == every == head.key
    kept = "-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~"
    assert set(told) == {*kept, "%"} and told.endswith("%7F%C3%A9") and "%20%21" in told
    long = place("k" * (KEY_CHARACTERS_MAX + 1)).head(CALL)
    assert told_key(long) is None and long.key == ""


@pytest.mark.parametrize(
    ("head", "is_conversation"),
    [
        (answer(200, V5), True),
        (answer(200, f"{V5}; charset=none"), True),
        (answer(200, "application/vnd.restate.invocation.v6"), False),
        (answer(200, "text/html"), False),
        (answer(201, V5), False),
        (ResponseHead(200, (), HttpVersion.HTTP_2), False),
    ],
)
def test_what_is_a_conversation(head: ResponseHead, is_conversation: bool) -> None:
    """Goal: only an SDK that speaks the same version is listened to."""
    assert place().is_conversation(head) == is_conversation


@pytest.mark.parametrize(
    ("status", "code", "error_code"),
    [
        (200, 500, "RT0012"),
        (302, 500, "RT0012"),
        (401, 500, "RT0012"),
        (404, 500, "RT0012"),
        (415, 415, "RT0015"),
        (429, 500, "RT0023"),
        (500, 500, "RT0012"),
        (502, 500, "RT0010"),
        (503, 500, "RT0023"),
        (504, 500, "RT0010"),
    ],
)
def test_codes_of_refusals(status: int, code: int, error_code: str) -> None:
    """Goal: the codes that users look up. Method: those that the released server gave out."""
    failure = place().refusal(answer(status), b"<html>\n  no")
    assert (failure.code, failure.error_code) == (code, error_code)
    assert f"answered {status} with content type text/plain" in failure.message
    assert failure.message.endswith(": <html> no")


def test_a_busy_service_may_say_for_how_long() -> None:
    """Goal: `Retry-After` is heeded where it means that, and only there."""
    waits = [
        place().refusal(answer(status, retry_after="7"), b"").next_retry_delay_ms
        for status in (503, 429, 500)
    ]
    assert waits == [7000, 7000, None]
