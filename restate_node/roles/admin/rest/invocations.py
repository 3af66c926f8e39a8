"""`/invocations`: cancel, kill, pause, resume, purge, restart.

PATCH  /invocations/{id}/cancel|kill|pause|purge|purge-journal
PATCH  /invocations/{id}/resume[?deployment=latest|keep|dp_1…]
PATCH  /invocations/{id}/restart-as-new[?from=3][&deployment=latest|keep|dp_1…]
DELETE /invocations/{id}?mode=cancel|kill|purge      the old form: always 202

200 done    202 will be done    404 unknown    409 not in that state    410 its input is gone
422 not possible for such a one    425 not begun yet    503 nobody answered: try again

Where it goes on is decided here, by the schema; whether it may, by its partition.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Protocol

from starlette.requests import Request
from starlette.responses import Response

from restate_node.cluster.partition_calls import Unanswered
from restate_node.roles.admin.invocation_control import ControlRequest, Standing
from restate_node.roles.admin.rest.exchange import Refused, json_response
from restate_node.runtime.watch import Watch
from restate_node.types.attempts import PROTOCOL_VERSION_MAX
from restate_node.types.invocation_messages import Control, Controlled, ControlStatus
from restate_node.types.invocations import RawInvocationId, id_text, parse_id_text
from restate_node.types.schema import Deployment, Schema
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
_KEEP: Final = "keep"
_LATEST: Final = "latest"
_INDEX_MAX: Final = (1 << 32) - 1
_DIGITS_MAX: Final = 10
_MODES: Final = {"cancel": Control.CANCEL, "kill": Control.KILL, "purge": Control.PURGE}
_REFUSED: Final = {
    ControlStatus.NOT_RUNNING: (409, "it is not running"),
    ControlStatus.NOT_COMPLETED: (409, "it has not completed yet"),
    ControlStatus.JOURNAL_MISSING: (410, "its journal, and with it its input, is not kept"),
    ControlStatus.UNSUPPORTED: (
        422,
        "it is a workflow, which runs once, or no deployment had begun it: then leave out 'from'",
    ),
    ControlStatus.NOT_BEGUN: (425, "it has not begun yet"),
    ControlStatus.PREFIX_OPEN: (
        400,
        "its journal is shorter than 'from', or has commands up to there that were never "
        "completed: use a smaller one",
    ),
    ControlStatus.PIN_FIXED: (
        409,
        "it is running, or not pinned to a deployment yet, so the deployment cannot be changed",
    ),
}


class Controls(Protocol):
    """Acts on invocations; `roles.admin.invocation_control.InvocationControl` is one."""

    async def control(self, request: ControlRequest) -> Controlled: ...

    async def standing_of(self, invocation: RawInvocationId) -> Standing | None: ...


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
        match control:
            case Control.RESUME:
                wanted = await self._resumed(request, invocation)
            case Control.RESTART_AS_NEW:
                wanted = await self._restarted(request, invocation)
            case _:
                wanted = ControlRequest(control, invocation)
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

    async def _resumed(self, request: Request, invocation: RawInvocationId) -> ControlRequest:
        """Raises Refused."""
        where = _where(request, _KEEP)
        if where == _KEEP:
            return ControlRequest(Control.RESUME, invocation)
        standing = await self._standing(invocation)
        if where == _LATEST and standing.deployment is None:
            return ControlRequest(Control.RESUME, invocation)  # It goes to the latest anyway.
        deployment = self._find(standing, where)
        _check_version(standing, deployment)
        return ControlRequest(Control.RESUME, invocation, deployment.id)

    async def _restarted(self, request: Request, invocation: RawInvocationId) -> ControlRequest:
        """Raises Refused."""
        length, where = _from(request), _where(request, _LATEST)
        standing = await self._standing(invocation)
        again = ControlRequest(Control.RESTART_AS_NEW, invocation, copy_entries=length)
        is_unpinned = standing.deployment is None and (length or where == _KEEP)
        if not standing.has_ended or is_unpinned:
            return again  # It is refused, or goes to the latest.
        deployment = self._find(standing, where)
        if length:
            _check_version(standing, deployment)
        elif where == _LATEST:
            return again
        version = min(PROTOCOL_VERSION_MAX, deployment.protocol_version_max)
        return replace(again, deployment=deployment.id, protocol_version=version)

    async def _standing(self, invocation: RawInvocationId) -> Standing:
        try:
            standing = await self._controls.standing_of(invocation)
        except Unanswered as unanswered:
            raise Refused(503, f"not confirmed: {unanswered}; try again") from None
        if standing is None:
            raise _unknown(invocation)
        return standing

    def _find(self, standing: Standing, where: str) -> Deployment:
        """The deployment that is meant, if it has the service; raises Refused."""
        schema, service = self._schema.value, standing.service
        name = standing.deployment if where == _KEEP else where
        found = schema.deployments.get(name or "")
        if where == _LATEST:
            found = schema.latest_deployment(service)
        if found is None or service not in found.services:
            raise Refused(400, f"The deployment '{name}' does not expose the service '{service}'")
        return found


def _invocation(request: Request) -> RawInvocationId:
    try:
        return parse_id_text(request.path_params["invocation"])
    except ValueError as error:
        text = f"The request field 'invocation_id' is invalid. Reason: {error}"
        raise Refused(400, text) from None


def _where(request: Request, default: str) -> str:
    """`keep`, `latest` or the id of a deployment; raises Refused."""
    text = request.query_params.get("deployment", default)
    if text.lower() in (_KEEP, _LATEST):
        return text.lower()
    try:
        parse_id(IdKind.DEPLOYMENT, text)
    except ValueError as error:
        raise Refused(
            400, f"The query parameter 'deployment' is invalid. Reason: {error}"
        ) from None
    return text


def _from(request: Request) -> int:
    """The last entry of the journal that is kept; raises Refused."""
    text = request.query_params.get("from", "0")
    is_number = text.isascii() and text.isdecimal() and len(text) <= _DIGITS_MAX
    if not is_number or int(text) > _INDEX_MAX:
        raise Refused(400, "The query parameter 'from' is invalid: write the index of an entry")
    return int(text)


def _check_version(standing: Standing, deployment: Deployment) -> None:
    """A journal is read by the version that wrote it; raises Refused."""
    version = standing.protocol_version
    lowest, highest = deployment.protocol_version_min, deployment.protocol_version_max
    if version is not None and not lowest <= version <= highest:
        raise Refused(
            400,
            f"The deployment '{deployment.id}' does not support the service protocol version "
            f"{version} that the invocation began with",
        )


def _unknown(invocation: RawInvocationId) -> Refused:
    return Refused(404, f"The requested invocation '{id_text(invocation)}' does not exist")
