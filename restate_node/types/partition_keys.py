"""From what a caller names to the partition key that decides who serves it.

The hash is XXH3 (64 bit, seed 0). A string is hashed as its UTF-8 bytes and one 0xFF byte, an
integer as eight little-endian bytes. These are contract: another implementation on the same
cluster must compute the same numbers.

    object or workflow key        hash(key)
    service + idempotency key     hash(service, "unscoped/service", hash(idempotency key) % 512)
    service, nothing else         hash(service, "unscoped/service", bucket)

The caller draws the bucket from 0..511.
"""

from __future__ import annotations

import xxhash

SERVICE_BUCKETS = 512
"""Unkeyed calls of one service spread over so many keys."""

_UNSCOPED_SERVICE = "unscoped/service"


def partition_key_of_key(key: str) -> int:
    """Of a virtual object or a workflow; the service name does not count."""
    return _hash(key)


def partition_key_of_idempotency_key(service: str, idempotency_key: str) -> int:
    """Of a call to an unkeyed service with an idempotency key."""
    return partition_key_of_bucket(service, _hash(idempotency_key) % SERVICE_BUCKETS)


def partition_key_of_bucket(service: str, bucket: int) -> int:
    """Of a call to an unkeyed service with nothing to tell it from others."""
    assert 0 <= bucket < SERVICE_BUCKETS, f"bucket {bucket} is not below {SERVICE_BUCKETS}"
    return _hash(service, _UNSCOPED_SERVICE, bucket)


def _hash(*parts: str | int) -> int:
    encoded = [
        part.encode() + b"\xff" if isinstance(part, str) else part.to_bytes(8, "little")
        for part in parts
    ]
    return xxhash.xxh3_64_intdigest(b"".join(encoded))
