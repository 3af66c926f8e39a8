"""Registers the services of a run, as an admin node does: compare-and-swap of the schema.

Two deployments, so that one can be away while the other works.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from restate_node.cluster.metadata_errors import MetadataError
from restate_node.sim.history_invocations import JOURNAL_KEPT_SECONDS
from restate_node.sim.load import Load
from restate_node.sim.workloads.workload import Client, Stage, pause
from restate_node.sim.world import NodeLife
from restate_node.types.ids import Version
from restate_node.types.metadata import MetadataKind
from restate_node.types.options import OnAttemptsExhausted
from restate_node.types.schema import (
    Deployment,
    Handler,
    HttpVersion,
    Overrides,
    ProtocolMode,
    RetryOverrides,
    Schema,
    Service,
)
from restate_node.types.targets import ServiceType, TargetKind
from restate_node.wire.metadata_keys import SCHEMA_KEY
from restate_node.wire.schema import decode_schema, encode_schema

OBJECTS: Final = "http://objects:9080"
PROGRAMS: Final = "http://programs:9080"
ADDRESSES: Final = (OBJECTS, PROGRAMS)
RETRY_SECONDS: Final = 0.5

EXCLUSIVE, SHARED = TargetKind.OBJECT_EXCLUSIVE, TargetKind.OBJECT_SHARED
PLAIN, RUN, BESIDE = TargetKind.SERVICE, TargetKind.WORKFLOW_RUN, TargetKind.WORKFLOW_SHARED

_OBJECTS: Final = {
    "Counter": {"add": EXCLUSIVE, "tokens": SHARED},
    "Register": {"set": EXCLUSIVE, "get": SHARED, "swap": EXCLUSIVE},
}
_PROGRAMS: Final = {
    "Program": {"run": PLAIN, "draw": PLAIN},
    "Resolver": {"resolve": PLAIN, "signal": PLAIN},
    "Signup": {"run": RUN, "confirm": BESIDE},
}
_RETRY: Final = RetryOverrides(
    initial_interval_ms=50,
    exponentiation_factor=2.0,
    interval_max_ms=500,
    on_attempts_max=OnAttemptsExhausted.PAUSE,
    attempts_max=10_000,
)
_OVERRIDES: Final = Overrides(
    journal_retention_ms=0, inactivity_timeout_ms=300, abort_timeout_ms=1_000, retry=_RETRY
)
"""Journals are forgotten soon: a probe hashes all rows of a store after each transaction."""


def schema(load: Load) -> Schema:
    """What is registered from then on."""
    overrides = replace(_OVERRIDES, enable_lazy_state=load.is_lazy)
    kept_ms = int(JOURNAL_KEPT_SECONDS * 1000) if load.meddling_probability else 0
    of_programs = replace(overrides, journal_retention_ms=kept_ms)
    objects, programs = load.versions
    deployments = (
        _deployment("dp_objects", OBJECTS, objects, _OBJECTS, overrides),
        _deployment("dp_programs", PROGRAMS, programs, _PROGRAMS, of_programs),
    )
    return Schema(Version(1), {deployment.id: deployment for deployment in deployments})


def _deployment(
    name: str,
    uri: str,
    version_max: int,
    services: dict[str, dict[str, TargetKind]],
    overrides: Overrides,
) -> Deployment:
    return Deployment(
        id=name,
        uri=uri,
        mode=ProtocolMode.BIDIRECTIONAL,
        http_version=HttpVersion.HTTP_2,
        protocol_version_min=5,
        protocol_version_max=version_max,
        services={
            service: _service(service, kinds, overrides) for service, kinds in services.items()
        },
    )


def _service(name: str, kinds: dict[str, TargetKind], overrides: Overrides) -> Service:
    handlers = {handler: Handler(name=handler, kind=kind) for handler, kind in kinds.items()}
    kind: ServiceType = next(iter(kinds.values())).service_type
    return Service(name=name, type=kind, handlers=handlers, overrides=overrides)


async def _run(life: NodeLife, stage: Stage) -> None:
    """Until somebody has done it."""
    load = stage.load
    assert load is not None, "who registers has something to call"

    def edit(blob: bytes | None) -> bytes | None:
        known = Schema(Version(0)) if blob is None else decode_schema(blob)
        return None if known.deployments else encode_schema(schema(load))

    while stage.writing and not life.node.cache.schema.value.deployments:
        try:
            blob = await life.node.client.update(SCHEMA_KEY, edit)
            if blob is not None:
                life.node.cache.install_blob(MetadataKind.SCHEMA, blob)
        except MetadataError:
            pass
        await pause(life.rng, RETRY_SECONDS)


CLIENT: Final = Client("registration", _run)
