"""`/invocations`: cancel, kill, pause, resume, purge, restart.

PATCH  /invocations/{id}/cancel|kill|pause|purge|purge-journal
PATCH  /invocations/{id}/resume[?deployment=latest|keep|dp_1…]
PATCH  /invocations/{id}/restart-as-new
DELETE /invocations/{id}?mode=cancel|kill|purge      the old form: always 202

200 done    202 will be done    404 unknown    409 not in that state    410 its input is gone
422 not possible for such a one    503 nobody answered: try again
"""

from __future__ import annotations

from typing import Final, Protocol

from starlette.requests import Request
from starlette.responses import Response

from restate_node.cluster.partition_calls import Unanswered
from restate_node.roles.admin.invocation_control import ControlRequest
from restate_node.roles.admin.rest.exchange import Refused, json_response
from restate_node.runtime.watch import Watch
from restate_node.types.invocation_messages import Control, Controlled, ControlStatus
from restate_node.types.invocations import RawInvocationId, id_text, parse_id_text
from restate_node.types.schema import Schema
from restate_node.types.textual_ids import IdKind, parse_id

_ACTIONS: Final = {
    "cancel": Control.CANCEL,
    "kill": Control.KILL,
    "pause": Control.PAUSE,
    "resume": Control.RESUME,
    "purge": Control.PURGE,
    "purge-journal": Control.PURGE_JOURNAL,
    "restart-as-new": Control.RESTART_AS_NEW,
}
_MODES: Final = {"cancel": Control.CANCEL, "kill": Control.KILL, "purge": Control.PURGE}
_REFUSED: Final = {
    ControlStatus.NOT_RUNNING: (409, "it is not running"),
    ControlStatus.NOT_COMPLETED: (409, "it has not completed yet"),
    ControlStatus.JOURNAL_MISSING: (410, "its journal, and with it its input, is not kept"),
    ControlStatus.UNSUPPORTED: (422, "that is not possible for such an invocation"),
}


class Controls(Protocol):
    """Acts on invocations; `roles.admin.invocation_control.InvocationControl` is one."""

    async def control(self, request: ControlRequest) -> Controlled: ...

    async def service_of(self, invocation: RawInvocationId) -> str | None: ...


class Invocations:
    """The handlers."""

    def __init__(self, controls: Controls, schema: Watch[Schema]) -> None:
        self._controls = controls
        self._schema = schema

    async def act(self, request: Request) -> Response:
        control = _ACTIONS.get(request.path_params["action"])
        if control is None:
            raise Refused(404, "no such action: " + ", ".join(_ACTIONS))
        invocation = _invocation(request)
        wanted = ControlRequest(control, invocation)
        if control is Control.RESUME:
            deployment = await self._deployment(request, invocation)
            wanted = ControlRequest(control, invocation, deployment)
        elif control is Control.RESTART_AS_NEW:
            _refuse_prefix(request)
        return self._answer(wanted, await self._control(wanted))

    async def terminate(self, request: Request) -> Response:
        mode = request.query_params.get("mode", "cancel")
        control = _MODES.get(mode.lower())
        if control is None:
            raise Refused(400, f"mode '{mode[:32]}' is none of cancel, kill, purge")
        await self._control(ControlRequest(control, _invocation(request)))
        return Response(status_code=202)

    async def _control(self, wanted: ControlRequest) -> Controlled:
        try:
            return await self._controls.control(wanted)
        except Unanswered as unanswered:
            raise Refused(503, f"not confirmed: {unanswered}; try again") from None

    def _answer(self, wanted: ControlRequest, controlled: Controlled) -> Response:
        status = controlled.status
        if status is ControlStatus.NOT_FOUND:
            raise _unknown(wanted.invocation)
        if status in _REFUSED:
            code, reason = _REFUSED[status]
            verb = wanted.control.name.lower().replace("_", " ")
            text = f"cannot {verb} the invocation '{id_text(wanted.invocation)}': {reason}"
            raise Refused(code, text)
        if wanted.control is Control.RESTART_AS_NEW:
            new = controlled.new_invocation
            assert new is not None, "a restart gives out an id"
            return json_response(200, {"new_invocation_id": id_text(new)})
        return Response(status_code=202 if status is ControlStatus.ACCEPTED else 200)

    async def _deployment(self, request: Request, invocation: RawInvocationId) -> str | None:
        """Where to go on, by the query parameter; raises Refused."""
        wanted = request.query_params.get("deployment", "keep")
        if wanted.lower() == "keep":
            return None
        latest = wanted.lower() == "latest"
        if not latest:
            _check_deployment_id(wanted)
        try:
            service = await self._controls.service_of(invocation)
        except Unanswered as unanswered:
            raise Refused(503, f"not confirmed: {unanswered}; try again") from None
        if service is None:
            raise _unknown(invocation)
        schema = self._schema.value
        newest = schema.latest_deployment(service)
        deployment = wanted if not latest else None if newest is None else newest.id
        if deployment is None or not schema.supports(service, deployment):
            text = f"The deployment '{wanted}' does not expose the service '{service}'"
            raise Refused(400, text)
        return deployment


def _invocation(request: Request) -> RawInvocationId:
    try:
        return parse_id_text(request.path_params["invocation"])
    except ValueError as error:
        text = f"The request field 'invocation_id' is invalid. Reason: {error}"
        raise Refused(400, text) from None


def _check_deployment_id(text: str) -> None:
    try:
        parse_id(IdKind.DEPLOYMENT, text)
    except ValueError as error:
        raise Refused(
            400, f"The query parameter 'deployment' is invalid. Reason: {error}"
        ) from None


def _refuse_prefix(request: Request) -> None:
    """Keeping a part of the journal is not supported: from the beginning, on the latest."""
    start = request.query_params.get("from", "0")
    if not start.isdecimal():
        raise Refused(400, "The query parameter 'from' is invalid: write a number")
    if int(start) > 0:
        raise Refused(
            422, "restarting from the middle of a journal is not supported: leave out from"
        )


def _unknown(invocation: RawInvocationId) -> Refused:
    return Refused(404, f"The requested invocation '{id_text(invocation)}' does not exist")
