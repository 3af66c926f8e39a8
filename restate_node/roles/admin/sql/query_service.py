"""The method behind `restatectl sql`: a query over the cluster's tables, answered as Arrow.

Restate's own `restatectl` puts the pieces together and reads them as one Arrow IPC stream. The
nodes whose rows are missing are named before the last piece: with the end of the stream it stops
reading.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from restate_node.roles.admin.sql.engine import QueryEngine
from restate_node.roles.admin.sql.errors import QueryError, QueryRefused, TooManyQueries
from restate_node.roles.admin.sql.forms import Format
from restate_node.roles.admin.sql.sources import Missing
from restate_node.types.grpc_status import GrpcError, StatusCode
from restate_node.wire.pb import cluster_ctrl_pb2 as messages


class QueryService:
    """`ClusterCtrlSvc.Query`; errors are GrpcErrors."""

    def __init__(self, engine: QueryEngine) -> None:
        self._engine = engine

    async def query(self, request: messages.QueryRequest) -> AsyncGenerator[messages.QueryResponse]:
        missing: list[Missing] = []
        try:
            async with aclosing(self._chunks(request.query, missing)) as chunks:
                last = b""
                async for chunk in chunks:
                    if last:
                        yield messages.QueryResponse(encoded=last)
                    last = chunk
        except QueryError as error:
            raise GrpcError(_status(error), str(error)) from None
        if missing:
            yield messages.QueryResponse(warnings=_warnings(missing))
        yield messages.QueryResponse(encoded=last)

    def _chunks(self, sql: str, missing: list[Missing]) -> AsyncGenerator[bytes]:
        return self._engine.query(sql, Format.ARROW, missing)


def _warnings(missing: list[Missing]) -> list[messages.QueryWarning]:
    return [messages.QueryWarning(node_id=one.node, message=one.reason) for one in missing]


def _status(error: QueryError) -> StatusCode:
    """INTERNAL also for names that do not exist: what operators' tools are used to."""
    if isinstance(error, TooManyQueries):
        return StatusCode.RESOURCE_EXHAUSTED
    if isinstance(error, QueryRefused) and error.is_unreadable:
        return StatusCode.INVALID_ARGUMENT
    return StatusCode.INTERNAL
