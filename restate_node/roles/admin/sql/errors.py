"""How a query can fail."""

from __future__ import annotations


class QueryError(Exception):
    """There is no answer, or no further part of it. The message says why."""


class QueryRefused(QueryError):
    """The query is wrong: change it."""

    @property
    def is_unreadable(self) -> bool:
        """It is not even SQL."""
        return str(self).startswith("SQL error")


class QueryFailed(QueryError):
    """The query went wrong while it ran."""


class TooManyQueries(QueryError):
    """No query can be begun now: try again later."""
