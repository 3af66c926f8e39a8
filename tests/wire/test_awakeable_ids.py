"""Ids of awakeables, as SDKs make them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restate_node.types.attempts import MalformedMessage
from restate_node.types.invocations import RawInvocationId
from restate_node.wire.awakeable_ids import awakeable_id, parse_awakeable_id

INVOCATION = RawInvocationId(bytes(range(24)))
TEXT = "sign_1AAECAwQFBgcICQoLDA0ODxAREhMUFRYXAAAAEQ"


@pytest.mark.parametrize("text", [TEXT, TEXT + "==", TEXT.replace("sign", "prom")])
def test_what_an_sdk_hands_out_is_read(text: str) -> None:
    """Goal: ids of all SDKs work. How: with and without padding, and with the older prefix."""
    assert parse_awakeable_id(text) == (INVOCATION, 17)


def test_ids_are_written_as_sdks_do() -> None:
    """Goal: an id may be compared as text. How: one example."""
    assert awakeable_id(INVOCATION, 17) == TEXT


@given(st.binary(min_size=24, max_size=24), st.integers(0, 2**32 - 1))
def test_ids_round_trip(raw: bytes, signal: int) -> None:
    """Goal: nothing is lost. How: any invocation, any signal."""
    invocation = RawInvocationId(raw)
    assert parse_awakeable_id(awakeable_id(invocation, signal)) == (invocation, signal)


@pytest.mark.parametrize(
    "text", ["", "sign_1", TEXT[:-1], TEXT + "A", TEXT[:-1] + "+", "inv_1" + TEXT[6:], TEXT + "\n"]
)
def test_other_text_is_refused_in_one_line(text: str) -> None:
    """Goal: a typing mistake is explained. How: ids that are cut, too long, of another kind."""
    with pytest.raises(MalformedMessage, match="not the id of an awakeable") as caught:
        parse_awakeable_id(text)
    assert "\n" not in str(caught.value)
