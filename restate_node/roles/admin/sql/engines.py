"""The two engines of an admin node: what users ask over HTTP, what operators ask with `restatectl`.

They know different tables, as in Restate: `sys_*` are not for operators, `nodes` not for users.
Nothing of DataFusion is loaded before the first query.
"""

from __future__ import annotations

from collections.abc import Callable

from restate_node.cluster.metadata_cache import MetadataCache
from restate_node.fabric.fabric import Fabric
from restate_node.roles.admin.liveness import Liveness
from restate_node.roles.admin.sql.cluster_catalog import ClusterRows, ClusterSources
from restate_node.roles.admin.sql.engine import QueryEngine, QueryLimits
from restate_node.roles.admin.sql.partition_rows import PartitionRows
from restate_node.roles.admin.sql.user_catalog import Registry, UserRows
from restate_node.types.cluster_tables import CLUSTER_TABLES
from restate_node.types.introspection import USER_TABLES


def user_engine(
    metadata: MetadataCache,
    liveness: Liveness,
    fabric: Fabric,
    registry: Callable[[], Registry],
    limits: QueryLimits | None = None,
) -> QueryEngine:
    """Queries about invocations, state and services; `registry`: what is registered now."""
    rows = UserRows(PartitionRows(metadata, liveness, fabric), registry)
    return QueryEngine(USER_TABLES, rows, limits)


def cluster_engine(sources: ClusterSources, limits: QueryLimits | None = None) -> QueryEngine:
    """Queries about nodes, logs and partitions."""
    return QueryEngine(CLUSTER_TABLES, ClusterRows(sources), limits)
