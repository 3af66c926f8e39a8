"""`restatectl provision`: turns new nodes into a cluster.

    dry run ──▶ what would be ──▶ question ──▶ the same values, for real

Only the node that answered the dry run is asked for real: had its answer been lost, a second node
might make a second cluster.
"""

from __future__ import annotations

from typing import Annotated, Literal

import typer
from google.protobuf.empty_pb2 import Empty

from restate_node.ctl.command import Session, command, single
from restate_node.ctl.configuration_rows import (
    configuration_document,
    configuration_lines,
    log_replication,
    partition_replication,
)
from restate_node.ctl.connection import failures_text
from restate_node.ctl.errors import CallFailed, CtlError, UsageError
from restate_node.ctl.link import Link
from restate_node.ctl.methods import GET_IDENT, PROVISION_CLUSTER
from restate_node.ctl.render import Json, Report
from restate_node.types.replication import ReplicationProperty
from restate_node.wire.pb.cluster_pb2 import ReplicationProperty as ReplicationMessage
from restate_node.wire.pb.node_ctl_svc_pb2 import (
    ClusterFeature,
    ProvisionClusterRequest,
    ProvisionClusterResponse,
)

PARTITIONS_MAX = 65_535

Outcome = Literal["provisioned", "already-provisioned", "dry-run"]

_OUTCOME_TEXT: dict[Outcome, str] = {
    "provisioned": "✅ Cluster has been successfully provisioned.",
    "already-provisioned": "🤷 Cluster has already been provisioned: see `restatectl config get`.",
    "dry-run": "Dry run: nothing was changed.",
}
_FEATURES = {
    "controlled-idempotent-sharding": ClusterFeature.CONTROLLED_IDEMPOTENT_SHARDING,
}

app = single()


@command(app, "provision")
async def provision(
    session: Session,
    num_partitions: Annotated[
        int | None,
        typer.Option("--num-partitions", "-n", min=1, max=PARTITIONS_MAX, help="For ever."),
    ] = None,
    replication: Annotated[
        str | None,
        typer.Option("--replication", "-r", metavar="R", help="Of both: 2, {zone: 2}."),
    ] = None,
    log_replication: Annotated[
        str | None, typer.Option("--log-replication", metavar="R", help="Copies of a record.")
    ] = None,
    partition_replication: Annotated[
        str | None,
        typer.Option("--partition-replication", metavar="R", help="Processors of a partition."),
    ] = None,
    log_provider: Annotated[
        str | None, typer.Option("--log-provider", help="replicated or local.")
    ] = None,
    log_default_nodeset_size: Annotated[
        int | None,
        typer.Option("--log-default-nodeset-size", min=0, max=128, help="0: as needed."),
    ] = None,
    disable_feature: Annotated[
        list[str] | None,
        typer.Option("--disable-feature", help="controlled-idempotent-sharding."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be, change nothing.")
    ] = False,
) -> Report:
    """Provision a new cluster: shows the configuration, asks, and does it.

    What is not given comes from the configuration of the node. Doing it again changes nothing.

    \b
    Examples:
      restatectl provision --num-partitions 8 --replication 2
      restatectl provision --dry-run

    \b
    JSON:
      {"outcome", "configuration", "features"}; outcome is provisioned, already-provisioned or
      dry-run; configuration as in `config get`, null if the cluster exists already
    """
    if replication is not None and (log_replication or partition_replication):
        raise UsageError("--replication sets both: leave out --log- and --partition-replication")
    both = _replication("--replication", replication)
    request = ProvisionClusterRequest(
        dry_run=True,
        num_partitions=num_partitions,
        partition_replication=_replication("--partition-replication", partition_replication)
        or both,
        log_replication=_replication("--log-replication", log_replication) or both,
        log_provider=_provider(log_provider),
        target_nodeset_size=log_default_nodeset_size,
        disabled_features=[_feature(name) for name in disable_feature or ()],
    )
    answer = await _dry_run(session, request)
    if answer is None:
        return provision_report("already-provisioned", None)
    link, preview = answer
    if dry_run:
        return provision_report("dry-run", preview, show_configuration=True)
    session.show(*preview_lines(preview))
    if not session.confirm("Provision cluster with this configuration?"):
        raise CtlError("aborted: nothing was changed")
    return provision_report(await _for_real(session, link, request, preview), preview)


def provision_report(
    outcome: Outcome,
    preview: ProvisionClusterResponse | None,
    *,
    show_configuration: bool = False,
) -> Report:
    """What became of it."""
    existed = outcome == "already-provisioned"
    configuration = None if existed or preview is None else preview.cluster_configuration
    document: Json = {
        "outcome": outcome,
        "configuration": None if configuration is None else configuration_document(configuration),
        "features": [] if configuration is None or preview is None else feature_names(preview),
    }
    lines = preview_lines(preview) if show_configuration and preview is not None else ()
    return Report(document, (*lines, _OUTCOME_TEXT[outcome]))


def preview_lines(preview: ProvisionClusterResponse) -> tuple[str, ...]:
    """The configuration and the features that would be on."""
    features = feature_names(preview)
    named = ("", "Features to enable:", *(f"  - {name}" for name in features)) if features else ()
    return (*configuration_lines(preview.cluster_configuration), *named, "")


def feature_names(preview: ProvisionClusterResponse) -> list[str]:
    """As they are written on the command line."""
    return [
        ClusterFeature.Name(feature).lower().replace("_", "-")
        for feature in preview.enabled_features
    ]


def real_request(
    asked: ProvisionClusterRequest, preview: ProvisionClusterResponse
) -> ProvisionClusterRequest:
    """Exactly what was shown, whatever the node's configuration says by now."""
    configuration = preview.cluster_configuration
    provider = configuration.bifrost_provider
    replicated = provider.provider == "replicated"
    partitions = partition_replication(configuration)
    return ProvisionClusterRequest(
        dry_run=False,
        num_partitions=configuration.num_partitions,
        partition_replication=_message(partitions),
        log_provider=provider.provider,
        log_replication=_message(log_replication(configuration)) if replicated else None,
        target_nodeset_size=provider.target_nodeset_size if replicated else None,
        disabled_features=asked.disabled_features,
    )


async def _dry_run(
    session: Session, request: ProvisionClusterRequest
) -> tuple[Link, ProvisionClusterResponse] | None:
    """The first node that answers, and its answer; None if it belongs to a cluster."""
    failures: list[CallFailed] = []
    for address in session.cluster.addresses:
        link = session.cluster.link(address)
        try:
            ident = await session.cluster.call(link, GET_IDENT, Empty())
            if ident.nodes_config_version:
                return None
            return link, await session.cluster.call(link, PROVISION_CLUSTER, request)
        except CallFailed as failure:
            if failure.status == "ALREADY_EXISTS":
                return None
            failures.append(failure)
            if not failure.unreachable:
                break
    raise CtlError(failures_text("the cluster was not provisioned", failures))


async def _for_real(
    session: Session,
    link: Link,
    asked: ProvisionClusterRequest,
    preview: ProvisionClusterResponse,
) -> Outcome:
    try:
        await session.cluster.call(link, PROVISION_CLUSTER, real_request(asked, preview))
    except CallFailed as failure:
        if failure.status == "ALREADY_EXISTS":
            return "already-provisioned"
        if failure.unreachable:
            raise CtlError(
                f"{failure}; it may have been provisioned all the same: see `restatectl status`"
            ) from None
        raise CtlError(f"the cluster was not provisioned: {failure}") from None
    return "provisioned"


def _replication(option: str, text: str | None) -> ReplicationMessage | None:
    if text is None:
        return None
    try:
        return _message(str(ReplicationProperty.parse(text)))
    except ValueError as error:
        raise UsageError(f"invalid value for {option}: {error}") from None


def _message(text: str | None) -> ReplicationMessage | None:
    return None if text is None else ReplicationMessage(replication_property=text)


def _provider(text: str | None) -> str | None:
    if text not in (None, "replicated", "local"):
        raise UsageError(f"invalid value for --log-provider: {text!r}; use replicated or local")
    return text


def _feature(name: str) -> ClusterFeature:
    feature = _FEATURES.get(name)
    if feature is None:
        raise UsageError(
            f"invalid value for --disable-feature: {name!r}; use one of {', '.join(_FEATURES)}"
        )
    return feature
