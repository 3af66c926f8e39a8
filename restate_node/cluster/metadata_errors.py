"""How a request to the metadata store fails, and what the caller can do about it."""

from __future__ import annotations

from restate_node.types.ids import Version


class MetadataError(Exception):
    """A request failed. `message` is one line for people; `address` is who said so, if one did."""

    def __init__(self, message: str, address: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.address = address

    def __str__(self) -> str:
        return f"[{self.address}] {self.message}" if self.address else self.message


class PreconditionNotMet(MetadataError):
    """Nothing was written: somebody else was faster. Read again, decide again."""

    def __init__(self, message: str, found: Version | None, address: str = "") -> None:
        super().__init__(message, address)
        self.found = found


class MetadataRejected(MetadataError):
    """Nothing was written, and the same request never will be."""


class MetadataUnavailable(MetadataError):
    """No server answered in time. Retry later; `maybe_executed` tells if that may write twice."""

    def __init__(self, message: str, *, maybe_executed: bool, address: str = "") -> None:
        super().__init__(message, address)
        self.maybe_executed = maybe_executed


class NotProvisioned(MetadataUnavailable):
    """The servers wait for somebody to found the cluster."""
