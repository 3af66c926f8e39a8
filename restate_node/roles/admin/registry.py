"""The registry of services, as this node changes it: decisions of `protocol.schema_registration`,
written with compare-and-swap.

    discover ─▶ metadata store: read ─▶ decide ─▶ write if nobody else did ─▶ this node's cache

A decision is taken on what is stored, not on what this node happens to know, and again whenever
somebody else was faster. Discovery happens before, once: it asks a user's code.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from restate_node.cluster.metadata_cache import MetadataCache
from restate_node.protocol import schema_registration as registration
from restate_node.protocol.schema_registration import Refusal, Registered, ServiceChange
from restate_node.roles.admin.discovery import DeploymentAddress, discover
from restate_node.runtime.ports import Clock
from restate_node.runtime.services import ServiceTransport
from restate_node.runtime.watch import Watch
from restate_node.types.ids import Version
from restate_node.types.metadata import MetadataKind
from restate_node.types.schema import Deployment, HttpVersion, Schema
from restate_node.types.textual_ids import IdKind, id_text, ulid
from restate_node.wire.metadata_keys import SCHEMA_KEY
from restate_node.wire.schema import decode_schema, encode_schema

_ULID_RANDOM_BITS: Final = 80

Decide = Callable[[Schema], Registered | Refusal]


class SchemaStore(Protocol):
    """The metadata store; `cluster.metadata_client.MetadataClient` is one."""

    async def update(
        self, key: str, edit: Callable[[bytes | None], bytes | None]
    ) -> bytes | None: ...


class RegistryRefused(Exception):
    """Nothing was written."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What somebody wants to register."""

    address: DeploymentAddress
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    force: bool = False
    breaking: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentChange:
    """How a deployment is to be reached from now on; None leaves it."""

    uri: str | None = None
    """An ARN, too: then `assume_role_arn` holds as well, given or not."""
    use_http_11: bool | None = None
    assume_role_arn: str | None = None
    additional_headers: Mapping[str, str] | None = None
    overwrite: bool = False
    dry_run: bool = False


class SchemaRegistry:
    """Changes what is registered."""

    def __init__(
        self,
        metadata: MetadataCache,
        store: SchemaStore,
        transport: ServiceTransport,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._metadata = metadata
        self._store = store
        self._transport = transport
        self._clock = clock
        self._rng = rng

    @property
    def watch(self) -> Watch[Schema]:
        """What this node knows, and when it changes."""
        return self._metadata.schema

    @property
    def schema(self) -> Schema:
        """What this node knows."""
        return self._metadata.schema.value

    async def register(self, wanted: Registration) -> Registered:
        """Raises DiscoveryFailed, RegistryRefused, MetadataError, CodecError."""
        found = await discover(self._transport, wanted.address, self._metadata.cluster_name)
        now_ms = self._clock.unix_ms()
        number = ulid(now_ms, self._rng.getrandbits(_ULID_RANDOM_BITS))
        found = replace(
            found,
            id=id_text(IdKind.DEPLOYMENT, number),
            created_at_ms=now_ms,
            metadata=wanted.metadata,
        )

        def decide(schema: Schema) -> Registered | Refusal:
            return registration.register(
                schema, found, force=wanted.force, breaking=wanted.breaking
            )

        return await self._change(decide, dry_run=wanted.dry_run)

    async def update(self, deployment: str, change: DeploymentChange) -> Registered:
        """Raises DiscoveryFailed, RegistryRefused, MetadataError, CodecError."""
        known = self.schema.deployments.get(deployment)
        if known is None:
            text = f"The requested deployment '{deployment}' does not exist"
            raise RegistryRefused(Refusal(registration.RefusalKind.NOT_FOUND, text))
        address = _address_after(known, change)
        found = await discover(self._transport, address, self._metadata.cluster_name)

        def decide(schema: Schema) -> Registered | Refusal:
            return registration.update(schema, deployment, found, overwrite=change.overwrite)

        return await self._change(decide, dry_run=change.dry_run)

    async def remove(self, deployment: str) -> None:
        """Raises RegistryRefused, MetadataError, CodecError."""
        await self._edit(lambda schema: registration.remove(schema, deployment))

    async def modify(self, service: str, change: ServiceChange) -> Schema:
        """What is registered then. Raises RegistryRefused, MetadataError, CodecError."""
        return await self._edit(lambda schema: registration.modify(schema, service, change))

    async def _change(self, decide: Decide, *, dry_run: bool) -> Registered:
        outcome: Registered | None = None

        def edit(schema: Schema) -> Schema | Refusal:
            nonlocal outcome
            decided = decide(schema)
            if isinstance(decided, Refusal):
                return decided
            outcome = decided
            return schema if dry_run else decided.schema

        await self._edit(edit)
        assert outcome is not None, "an edit that is not refused has an outcome"
        return outcome

    async def _edit(self, decide: Callable[[Schema], Schema | Refusal]) -> Schema:
        """What is stored afterwards."""

        def edit(blob: bytes | None) -> bytes | None:
            schema = Schema(Version(0)) if blob is None else decode_schema(blob)
            decided = decide(schema)
            if isinstance(decided, Refusal):
                raise RegistryRefused(decided)
            return None if decided is schema else encode_schema(decided)

        blob = await self._store.update(SCHEMA_KEY, edit)
        if blob is None:
            return Schema(Version(0))
        self._metadata.install_blob(MetadataKind.SCHEMA, blob)
        return decode_schema(blob)


def _address_after(known: Deployment, change: DeploymentChange) -> DeploymentAddress:
    use_http_11 = change.use_http_11
    if use_http_11 is None:
        use_http_11 = known.http_version is HttpVersion.HTTP_11 and not known.is_function
    headers = change.additional_headers
    role = change.assume_role_arn
    if change.uri is None and role is None:
        role = known.assume_role_arn
    return DeploymentAddress(
        change.uri or known.uri,
        use_http_11,
        known.additional_headers if headers is None else headers,
        role,
    )
