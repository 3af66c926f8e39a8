"""What msgspec raises for bytes that are no such value."""

from __future__ import annotations

from typing import Final

import msgspec

UNDECODABLE: Final = (msgspec.DecodeError, UnicodeDecodeError)
"""A text that is no UTF-8 is reported as Python reports it, not as msgspec reports the rest."""
