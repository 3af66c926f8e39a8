"""Failures as people read them."""

from __future__ import annotations

import pytest

from restate_node.types.failure_texts import failure_text


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (400, "[400 Bad request] m"),
        (409, "[409 Aborted] m"),
        (418, "[418] m"),
        (500, "[500 Internal] m"),
        (503, "[503] m"),
        (570, "[570 Journal mismatch] m"),
        (574, "[574] m"),
    ],
)
def test_codes_have_names(code: int, text: str) -> None:
    """Goal: a failure reads as Restate 1.7 shows it. Method: codes that it names, and others."""
    assert failure_text(code, "m") == text
