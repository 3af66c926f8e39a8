"""Changing what is registered: pure decisions from one schema to the next.

    register   a deployment that is new, or (force) one that replaces what its address had
    update     another address or other headers for a deployment; (overwrite) other services
    remove     a deployment: its services fall back to the newest one that is left
    modify     options of a service, at run time

Each returns the next schema, one version higher, or a Refusal with the code that people search for.
Registering gives every service in a deployment the next revision, so that new calls go there.

Rules
  * A service keeps its type (META0006): state, keys and running calls depend on it. `breaking`
    lets it pass, and so does `force`.
  * Names that begin with `restate` are ours (META0005).
  * The protocol versions of a deployment and ours must have one in common (META0012).
  * Handlers may come and go with a revision: running calls stay where they began.
  * An update without `overwrite` MUST still find every handler there: the same calls go on at the
    new address.

Driven by `roles.admin.registry`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum

from restate_node.types.attempts import PROTOCOL_VERSION_MAX, PROTOCOL_VERSION_MIN
from restate_node.types.ids import Version
from restate_node.types.schema import Deployment, Schema, Service
from restate_node.types.targets import ServiceType


class RefusalKind(Enum):
    """What the caller should be told, in terms of HTTP."""

    NOT_FOUND = 404
    INVALID = 400
    CONFLICT = 409
    BAD_DEPLOYMENT = 500
    """The deployment itself does not fit."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Nothing changes. `code` is one of Restate's, if there is one."""

    kind: RefusalKind
    message: str
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Registered:
    """What is registered from now on."""

    schema: Schema
    deployment: Deployment
    is_new: bool
    """False: it was there before, replaced or as it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceChange:
    """Options of a service; None leaves one as it is."""

    public: bool | None = None
    idempotency_retention_ms: int | None = None
    workflow_completion_retention_ms: int | None = None
    journal_retention_ms: int | None = None
    inactivity_timeout_ms: int | None = None
    abort_timeout_ms: int | None = None


def deployment_at(schema: Schema, uri: str) -> Deployment | None:
    """The deployment at an address, if there is one."""
    return next((known for known in schema.deployments.values() if known.uri == uri), None)


def register(
    schema: Schema, discovered: Deployment, *, force: bool, breaking: bool
) -> Registered | Refusal:
    """Register what was discovered; revisions in `discovered` do not count. A deployment that is at
    that address already stays as it is, unless forced: then it is replaced, under its id.
    """
    known = deployment_at(schema, discovered.uri)
    if known is not None and not force:
        return Registered(schema, known, is_new=False)
    refusal = _check_deployment(discovered) or _check_types(
        schema, discovered.services.values(), allowed=force or breaking
    )
    if refusal is not None:
        return refusal
    revised = {
        name: replace(service, revision=_next_revision(schema, name))
        for name, service in discovered.services.items()
    }
    placed = replace(discovered, services=revised)
    if known is not None:
        placed = replace(placed, id=known.id)
    return Registered(_with(schema, placed), placed, is_new=known is None)


def update(
    schema: Schema, deployment: str, discovered: Deployment, *, overwrite: bool
) -> Registered | Refusal:
    """Reach a deployment elsewhere, or otherwise; `overwrite`: with the services found there."""
    known = schema.deployments.get(deployment)
    if known is None:
        return _no_deployment(deployment)
    other = deployment_at(schema, discovered.uri)
    if other is not None and other.id != known.id:
        text = f"the deployment '{other.id}' has the address {discovered.uri} already"
        return Refusal(RefusalKind.CONFLICT, text)
    refusal = _check_deployment(discovered)
    if refusal is None and not overwrite:
        refusal = _check_still_there(known, discovered)
    if refusal is not None:
        return refusal
    services = _overwritten(schema, known, discovered) if overwrite else known.services
    placed = replace(
        discovered,
        id=known.id,
        created_at_ms=known.created_at_ms,
        metadata=known.metadata,
        services=services,
    )
    return Registered(_with(schema, placed), placed, is_new=False)


def remove(schema: Schema, deployment: str) -> Schema | Refusal:
    """Forget a deployment. Calls that stay with it cannot go on."""
    if deployment not in schema.deployments:
        text = f"not found in the schema registry: deployment with id '{deployment}'"
        return Refusal(RefusalKind.NOT_FOUND, text)
    left = {name: known for name, known in schema.deployments.items() if name != deployment}
    return replace(schema, version=Version(schema.version + 1), deployments=left)


def modify(schema: Schema, service: str, change: ServiceChange) -> Schema | Refusal:
    """Change options of the latest revision of a service."""
    deployment, known = schema.latest_deployment(service), schema.service(service)
    if deployment is None or known is None:
        text = f"not found in the schema registry: service with name '{service}'"
        return Refusal(RefusalKind.NOT_FOUND, text)
    retention = change.workflow_completion_retention_ms
    if retention is not None and known.type is not ServiceType.WORKFLOW:
        text = f"modifying retention time for service type {known.type.label} is unsupported"
        return Refusal(RefusalKind.INVALID, text)
    changed = _modified(known, change)
    if changed == known:
        return schema
    placed = replace(deployment, services={**deployment.services, service: changed})
    return _with(schema, placed)


# ------------------------------------------------------------------------------ inside


def _with(schema: Schema, deployment: Deployment) -> Schema:
    deployments: Mapping[str, Deployment] = {**schema.deployments, deployment.id: deployment}
    return replace(schema, version=Version(schema.version + 1), deployments=deployments)


def _next_revision(schema: Schema, service: str) -> int:
    known = schema.service(service)
    return 1 if known is None else known.revision + 1


def _overwritten(
    schema: Schema, known: Deployment, discovered: Deployment
) -> Mapping[str, Service]:
    """What it had keeps its revision: nothing else changes about where new calls go."""
    return {
        name: replace(
            service,
            revision=known.services[name].revision
            if name in known.services
            else _next_revision(schema, name),
        )
        for name, service in discovered.services.items()
    }


def _modified(service: Service, change: ServiceChange) -> Service:
    given = {
        name: value
        for name in change.__dataclass_fields__
        if name != "public" and (value := getattr(change, name)) is not None
    }
    public = service.public if change.public is None else change.public
    return replace(service, public=public, overrides=replace(service.overrides, **given))


def _check_deployment(discovered: Deployment) -> Refusal | None:
    least, most = discovered.protocol_version_min, discovered.protocol_version_max
    if most < PROTOCOL_VERSION_MIN or least > PROTOCOL_VERSION_MAX:
        text = (
            f"[META0012] unsupported service protocol versions: [{least}, {most}]. Supported "
            f"versions by this runtime are [{PROTOCOL_VERSION_MIN}, {PROTOCOL_VERSION_MAX}]. "
            "Please upgrade the SDK and try registering again."
        )
        return Refusal(RefusalKind.BAD_DEPLOYMENT, text, "META0012")
    for name in discovered.services:
        if name.lower() in ("restate", "openapi") or name.lower().startswith("restate."):
            text = (
                f"[META0005] cannot insert/modify service '{name}' as it contains a reserved name"
            )
            return Refusal(RefusalKind.INVALID, text, "META0005")
    return None


def _check_types(schema: Schema, services: Iterable[Service], *, allowed: bool) -> Refusal | None:
    for service in services:
        known = schema.service(service.name)
        if known is None or known.type is service.type or allowed:
            continue
        text = (
            f"[META0006] detected a new service revision for '{service.name}' changing the service "
            "type from previous revision. Service type cannot be changed across revisions."
        )
        return Refusal(RefusalKind.CONFLICT, text, "META0006")
    return None


def _check_still_there(known: Deployment, discovered: Deployment) -> Refusal | None:
    for name, service in known.services.items():
        found = discovered.services.get(name)
        if found is None:
            return _missing(f"the service '{name}' is not exposed there")
        if found.type is not service.type:
            return _missing(f"the service '{name}' is a {found.type.label} there")
        for handler in service.handlers.values():
            there = found.handlers.get(handler.name)
            if there is None or there.kind is not handler.kind:
                return _missing(f"there is no such handler '{name}/{handler.name}' there")
    return None


def _missing(what: str) -> Refusal:
    text = (
        f"the deployment cannot be updated: {what}. Running invocations could not go on; set "
        "overwrite to replace what is registered"
    )
    return Refusal(RefusalKind.CONFLICT, text)


def _no_deployment(deployment: str) -> Refusal:
    text = f"The requested deployment '{deployment}' does not exist"
    return Refusal(RefusalKind.NOT_FOUND, text)
