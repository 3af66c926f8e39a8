"""What an answer may look like, for those who ask; the bytes are made in `formats`."""

from __future__ import annotations

from enum import Enum


class Format(Enum):
    """What a client reads. The value is the content type."""

    ARROW = "application/vnd.apache.arrow.stream"
    JSON = "application/json"
