"""What an admin node asks every node for, to answer queries about what only that node knows."""

from __future__ import annotations

from typing import Any

import msgspec


class _Message(msgspec.Struct, frozen=True, array_like=True):
    """Base of all messages here."""


class ReadNodeRows(_Message, frozen=True):
    """All rows of one of `cluster_tables.NODE_TABLES` that this node has. A node that does not know
    the table answers NOT_READY.
    """

    table: str


class NodeRows(_Message, frozen=True):
    """A row is its values in the order of the table's columns."""

    rows: list[list[Any]]
