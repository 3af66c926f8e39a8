"""What a log server tells operators about one loglet: `restate.log_server.LogServerSvc`.

`restatectl replicated-loglet info` and `digest` ask every member of a nodeset by itself, so the
answer is what this very node holds. A loglet that was never stored here is an empty one, not an
error: the operator sees tail 1.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from restate_node.roles.log_server.log_store import CorruptStore
from restate_node.roles.log_server.service import LogServer
from restate_node.runtime.ports import StoreError
from restate_node.types.fabric import RpcFailure
from restate_node.types.grpc_status import GrpcError, StatusCode
from restate_node.types.ids import LogletId
from restate_node.types.log_messages import DigestEntry, GetDigest, LogletHeader
from restate_node.types.offsets import OFFSET_MAX, LogletOffset
from restate_node.wire.pb import log_server_common_pb2 as common
from restate_node.wire.pb import log_server_pb2 as messages


class LogServerSvc:
    """The handlers, one method each; errors are GrpcErrors."""

    def __init__(self, server: LogServer) -> None:
        self._server = server

    async def get_loglet_info(
        self, request: messages.GetLogletInfoRequest
    ) -> messages.GetLogletInfoResponse:
        with _store_errors():
            info = self._server.worker(LogletId(request.loglet_id)).info()
        return messages.GetLogletInfoResponse(
            info=common.LogletInfo(header=_header(info.header), trim_point=info.trim_point)
        )

    async def get_digest(self, request: messages.GetDigestRequest) -> messages.GetDigestResponse:
        """Both offsets are inclusive; what lies outside the loglet is left out."""
        loglet = LogletId(request.loglet_id)
        first = LogletOffset(min(max(1, request.from_offset), OFFSET_MAX))
        last = LogletOffset(min(request.to_offset, OFFSET_MAX))
        with _store_errors():
            digest = self._server.worker(loglet).digest(GetDigest(loglet, first, last))
        return messages.GetDigestResponse(
            digest=common.Digest(
                header=_header(digest.header), entries=[_entry(entry) for entry in digest.entries]
            )
        )


def _header(header: LogletHeader) -> common.ResponseHeader:
    return common.ResponseHeader(
        status=header.status.name,
        local_tail=header.local_tail,
        known_global_tail=header.known_global_tail,
        sealed=header.sealed,
    )


def _entry(entry: DigestEntry) -> common.DigestEntry:
    return common.DigestEntry(
        from_offset=entry.from_offset, to_offset=entry.to_offset, status=entry.status.name
    )


@contextmanager
def _store_errors() -> Generator[None]:
    try:
        yield
    except (RpcFailure, CorruptStore, StoreError) as error:
        raise GrpcError(StatusCode.INTERNAL, f"the loglet cannot be read here: {error}") from None
