"""Failures as people read them: `[409 Aborted] someone else has it`.

The web interface and the command line of Restate show these texts as they are. A code has a name if
the protocol gives it one; `sys_invocation.completion_failure` has codes only, as in Restate.
"""

from __future__ import annotations

from typing import Final

_NAMES: Final = {
    400: "Bad request",
    404: "Not found",
    409: "Aborted",
    410: "Gone",
    415: "Unsupported media type",
    500: "Internal",
    570: "Journal mismatch",
    571: "Protocol violation",
    572: "Awaiting two async results",
    573: "Unsupported feature",
}


def failure_text(code: int, message: str) -> str:
    """`[500 Internal] message`, or `[418] message` for a code without a name."""
    name = _NAMES.get(code)
    return f"[{code}] {message}" if name is None else f"[{code} {name}] {message}"
