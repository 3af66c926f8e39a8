"""`RecoverMetadata` of `restate_node.operator.OperatorSvc`: an operator continues the metadata
cluster from this member.

It answers from the start of the node on, long before the node has joined: to join, there must be a
metadata cluster. Without `accept_loss` it only tells what would be.
"""

from __future__ import annotations

from collections.abc import Mapping

from restate_node.roles.metadata_server.recovery import RecoveredKey, RecoveryPlan, RecoveryRefused
from restate_node.roles.metadata_server.recovery_standing import RecoveryStanding
from restate_node.roles.metadata_server.service import MetadataServer
from restate_node.runtime.ports import StoreError
from restate_node.types.grpc_status import GrpcError, StatusCode
from restate_node.types.metadata import MetadataKind
from restate_node.wire.pb import operator_pb2 as messages


class RecoveryHandlers:
    """Of one metadata server; errors are GrpcErrors."""

    def __init__(self, server: MetadataServer) -> None:
        self._server = server

    async def recover(
        self, request: messages.RecoverMetadataRequest
    ) -> messages.RecoverMetadataResponse:
        """Tell what would be lost, and if that is accepted, go on alone. Not to be repeated after
        an unknown outcome without looking: a second recovery is one more.
        """
        copies = _copies(request)
        try:
            standing = await self._server.recovery_standing()
            allowed = standing.objection is None or request.force
            done = request.accept_loss and allowed
            plan = (
                await self._server.recover(copies) if done else self._server.plan_recovery(copies)
            )
        except RecoveryRefused as error:
            raise GrpcError(StatusCode.FAILED_PRECONDITION, str(error)) from None
        except StoreError as error:
            raise GrpcError(StatusCode.INTERNAL, str(error)) from None
        return _response(standing, plan, done)


def _copies(request: messages.RecoverMetadataRequest) -> Mapping[MetadataKind, bytes]:
    try:
        return {MetadataKind(copy.kind): copy.encoded for copy in request.copies}
    except ValueError:
        raise GrpcError(StatusCode.INVALID_ARGUMENT, "unknown metadata kind") from None


def _response(
    standing: RecoveryStanding, plan: RecoveryPlan, done: bool
) -> messages.RecoverMetadataResponse:
    hard_state = plan.restored.hard_state
    return messages.RecoverMetadataResponse(
        node_id=plan.me,
        term=hard_state.term,
        last_index=plan.last_index,
        committed=max(hard_state.commit, standing.status.committed),
        members=sorted(plan.former.created_at_millis),
        answering=standing.answering,
        refusal=standing.objection,
        keys=[_key(row) for row in plan.keys],
        done=done,
    )


def _key(row: RecoveredKey) -> messages.RecoveredKey:
    return messages.RecoveredKey(
        key=row.key,
        stored_version=row.stored,
        copied_version=row.cached,
        new_version=row.after,
    )
