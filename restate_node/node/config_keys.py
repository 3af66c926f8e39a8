"""Which keys exist: those that mean something here, those that only Restate uses, and all others.

A file that was written for Restate must work, and a typing error must not go unnoticed: a key that
Restate has and this implementation does not use is mentioned once; a key that nobody knows is
reported with the nearest known one. Neither stops the node.

Keys are compared in kebab case, so `bind_port`, `bind-port` and `RESTATE_BIND_PORT` are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, cast

from restate_node.types.options import NodeOptions
from restate_node.types.settings import walk

KNOWN_UNUSED = frozenset(
    {
        "admin.disable-web-ui",
        "admin.listen-mode",
        "admin.query-engine.*",
        "bifrost.local.*",
        "disable-controlled-idempotent-sharding",
        "disable-prometheus",
        "disable-telemetry",
        "ingress.ingestion.*",
        "ingress.kafka-clusters",
        "ingress.listen-mode",
        "network-error-retry-policy.*",
        "networking.data-stream-window-size",
        "networking.disable-compression",
        "networking.http2-adaptive-window",
        "rocksdb-*",
        "*.rocksdb-*",
        "tokio-console-*",
        "tracing-*",
        "use-random-ports",
        "worker.data-service-memory-limit",
        "worker.invoker.additional-request-headers",
        "worker.invoker.http2-*",
        "worker.invoker.in-memory-queue-length-limit",
        "worker.invoker.max-awaited-future-depth",
        "worker.invoker.memory-limit",
        "worker.invoker.message-size-warning",
        "worker.invoker.per-invocation-*",
        "worker.invoker.request-identity-expiration",
        "worker.rule-book-poll-interval",
        "worker.self-proposal-queue-memory-limit",
        "worker.shuffle.*",
        "worker.storage.*",
    }
)
"""Patterns of keys that Restate has and that change nothing here."""


def kebab(written: str) -> str:
    """The spelling that keys are compared in."""
    return written.strip().lower().replace("_", "-")


def normalised(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The same tree with every key in kebab case."""
    return {
        kebab(key): normalised(cast("dict[str, Any]", value)) if isinstance(value, dict) else value
        for key, value in tree.items()
    }


@cache
def known_keys() -> frozenset[str]:
    """The dotted keys of all options."""
    return frozenset(key for key, _, _ in walk(NodeOptions()))


@cache
def known_tables() -> frozenset[str]:
    """The dotted keys of all tables."""
    found = (key.rpartition(".")[0] for key in known_keys() if "." in key)
    return frozenset(found)


def leaves(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of everything but known tables, which are entered."""
    for key, value in tree.items():
        dotted = path + key
        if isinstance(value, dict) and dotted in known_tables():
            yield from leaves(cast("dict[str, Any]", value), dotted + ".")
        else:
            yield dotted, value


def unused(dotted: str) -> bool:
    """Restate has this key, and here it changes nothing."""
    written = (dotted, dotted + ".")  # the second is for a pattern that names a whole table
    return any(fnmatchcase(key, pattern) for key in written for pattern in KNOWN_UNUSED)


def suggestion(dotted: str) -> str:
    """`; did you mean 'x'?` with the nearest key of the same table, else of any; or nothing."""
    table, _, name = dotted.rpartition(".")
    siblings = {key.rpartition(".")[2]: key for key in _all_keys() if _table(key) == table}
    near = get_close_matches(name, siblings, n=1, cutoff=0.75)
    if not near:
        near = get_close_matches(dotted, sorted(_all_keys()), n=1, cutoff=0.8)
    return f"; did you mean '{near[0]}'?" if near else ""


def _all_keys() -> frozenset[str]:
    return known_keys() | known_tables()


def _table(dotted: str) -> str:
    return dotted.rpartition(".")[0]
