"""What can be called: services, virtual objects and workflows, and the handlers in them.

    Greeter/greet           a service: unkeyed, any number at once
    Counter/mine/add        an object: exclusive, one at a time for each key
    Counter/mine/get        an object: shared, beside whatever runs
    Signup/ann/run          a workflow: runs once for each key
    Signup/ann/status       a workflow: shared

One number says all of it, because it is in every record of a call.
"""

from __future__ import annotations

from enum import Enum, IntEnum

import msgspec

from restate_node.types import partition_keys


class ServiceType(Enum):
    """The value is the name in SQL; `label` is the one in JSON."""

    SERVICE = "service"
    VIRTUAL_OBJECT = "virtual_object"
    WORKFLOW = "workflow"

    @property
    def label(self) -> str:
        """`VirtualObject`, as manifests, metadata and the admin API spell it."""
        return self.value.title().replace("_", "")

    @property
    def is_keyed(self) -> bool:
        return self is not ServiceType.SERVICE


class TargetKind(IntEnum):
    """A handler, as far as running it is concerned. Numbers are for ever."""

    SERVICE = 0
    OBJECT_EXCLUSIVE = 1
    OBJECT_SHARED = 2
    WORKFLOW_RUN = 3
    WORKFLOW_SHARED = 4

    @property
    def service_type(self) -> ServiceType:
        return _SERVICE_TYPES[self]

    @property
    def is_keyed(self) -> bool:
        return self is not TargetKind.SERVICE

    @property
    def is_exclusive(self) -> bool:
        """It holds its key: others that want it wait in the inbox."""
        return self is TargetKind.OBJECT_EXCLUSIVE

    @property
    def may_write_state(self) -> bool:
        return self in (TargetKind.OBJECT_EXCLUSIVE, TargetKind.WORKFLOW_RUN)


_SERVICE_TYPES = {
    TargetKind.SERVICE: ServiceType.SERVICE,
    TargetKind.OBJECT_EXCLUSIVE: ServiceType.VIRTUAL_OBJECT,
    TargetKind.OBJECT_SHARED: ServiceType.VIRTUAL_OBJECT,
    TargetKind.WORKFLOW_RUN: ServiceType.WORKFLOW,
    TargetKind.WORKFLOW_SHARED: ServiceType.WORKFLOW,
}


class Target(msgspec.Struct, frozen=True, array_like=True):
    """The handler that an invocation runs; `key` is empty for a service."""

    kind: TargetKind
    service: str
    handler: str
    key: str = ""

    def __str__(self) -> str:
        if self.kind.is_keyed:
            return f"{self.service}/{self.key}/{self.handler}"
        return f"{self.service}/{self.handler}"

    def partition_key(self, idempotency_key: str | None, bucket: int) -> int:
        """Where a call belongs; `bucket` is drawn by the caller and counts only when nothing else
        tells the call from others.
        """
        if self.kind.is_keyed:
            return partition_keys.partition_key_of_key(self.key)
        if idempotency_key:
            return partition_keys.partition_key_of_idempotency_key(self.service, idempotency_key)
        return partition_keys.partition_key_of_bucket(self.service, bucket)
