"""`restatectl config`: what the cluster is told to be.

    get ─▶ replace values ─▶ show the difference ─▶ plan ─▶ question ─▶ set

The plan comes from the cluster: what each log and partition will become, or why it cannot be. A
cluster of Restate's own servers has no plans; there the question follows the difference.
"""

from __future__ import annotations

from typing import Annotated

import typer

from restate_node.ctl.command import Session, command, noun
from restate_node.ctl.configuration_edit import (
    PROVIDERS,
    Wanted,
    difference,
    edited,
    parse_replication,
)
from restate_node.ctl.configuration_rows import configuration_document, configuration_lines
from restate_node.ctl.connection import CallsFailed
from restate_node.ctl.errors import CtlError, UsageError
from restate_node.ctl.metadata_store import MAYBE_WRITTEN
from restate_node.ctl.methods import (
    GET_CLUSTER_CONFIGURATION,
    PLAN_CONFIGURATION,
    SET_CLUSTER_CONFIGURATION,
    SET_CONFIGURATION,
)
from restate_node.ctl.plan_rows import log_rows, partition_rows, plan_blocks, plan_documents
from restate_node.ctl.render import Block, Json, Report
from restate_node.types.nodes import Role
from restate_node.wire.pb.cluster_ctrl_pb2 import (
    GetClusterConfigurationRequest,
    SetClusterConfigurationRequest,
)
from restate_node.wire.pb.cluster_pb2 import ClusterConfiguration
from restate_node.wire.pb.operator_pb2 import (
    PlanConfigurationRequest,
    PlanConfigurationResponse,
    SetConfigurationRequest,
)

PARTITIONS_MAX = 65_535
NODESET_SIZE_MAX = 128

app = noun("What the cluster is told to be: partitions, replication, log provider.")


@command(app, "get")
async def get_configuration(session: Session) -> Report:
    """Partitions and their replication, provider and replication of logs.

    Partition replication * means on every worker; nodeset size 0 means as the replication needs.

    \b
    Example:
      restatectl config get

    \b
    JSON:
      {"num_partitions", "partition_replication", "provider", "log_replication",
       "target_nodeset_size"}; partition_replication null means every worker
    """
    return configuration_report(await _current(session))


@command(app, "set")
async def set_configuration(
    session: Session,
    replication: Annotated[
        str | None,
        typer.Option("--replication", "-r", metavar="R", help="Of logs and partitions."),
    ] = None,
    log_replication: Annotated[
        str | None,
        typer.Option("--log-replication", metavar="R", help="Copies of a record: 2, {zone: 2}."),
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
        typer.Option(
            "--log-default-nodeset-size", min=0, max=NODESET_SIZE_MAX, help="0: as needed."
        ),
    ] = None,
    num_partitions: Annotated[
        int | None,
        typer.Option(
            "--num-partitions", "-n", min=1, max=PARTITIONS_MAX, help="Only while there are none."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan for every log; change nothing.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also what the nodes cannot satisfy yet.")
    ] = False,
) -> Report:
    """Change the configuration: shows the difference, asks, and sets it.

    Logs and partitions follow by themselves. What the nodes of the cluster cannot satisfy is
    refused, since logs would stop; --force sets it all the same.

    \b
    Examples:
      restatectl config set --log-replication 2 --partition-replication 2
      restatectl config set --replication 3 --dry-run

    \b
    JSON:
      {"outcome", "configuration", "plan": {"refusal", "logs": [{"id", "now", "then", "why"}],
       "partitions": […]}}; outcome is changed, unchanged or dry-run; plan is null if the cluster
       has no plans; then is null for what stays
    """
    if replication is not None and (log_replication or partition_replication):
        raise UsageError("--replication sets both: leave out --log- and --partition-replication")
    if log_provider is not None and log_provider not in PROVIDERS:
        raise UsageError(f"--log-provider: use {' or '.join(PROVIDERS)}, not '{log_provider}'")
    both = parse_replication("--replication", replication)
    wanted = Wanted(
        num_partitions=num_partitions,
        partition_replication=parse_replication("--partition-replication", partition_replication)
        or both,
        log_replication=parse_replication("--log-replication", log_replication) or both,
        log_provider=log_provider,
        nodeset_size=log_default_nodeset_size,
    )
    if wanted.is_nothing:
        raise UsageError("say what to change: see `restatectl config set --help`")
    before = await _current(session)
    return await _change(session, before, edited(before, wanted), dry_run=dry_run, force=force)


async def _change(
    session: Session,
    before: ClusterConfiguration,
    after: ClusterConfiguration,
    *,
    dry_run: bool,
    force: bool,
) -> Report:
    lines = difference(before, after)
    if not lines:
        text = "Nothing to change: the configuration is so already."
        return outcome_report("unchanged", after, None, (*configuration_lines(after), "", text))
    plan = await _plan(session, after)
    if dry_run:
        blocks = (*lines, *_plan_blocks(plan), "", "Dry run: nothing was changed.")
        return outcome_report("dry-run", after, plan, blocks)
    session.show(*lines, "", "")
    refuse(plan, force=force)
    session.require("Apply changes?")
    await _set(session, after, force=force)
    return outcome_report("changed", after, plan, ("✅ Configuration updated successfully",))


def configuration_report(configuration: ClusterConfiguration) -> Report:
    """The block of the operations page."""
    return Report(configuration_document(configuration), configuration_lines(configuration))


def outcome_report(
    outcome: str,
    configuration: ClusterConfiguration,
    plan: PlanConfigurationResponse | None,
    blocks: tuple[Block, ...],
) -> Report:
    """What became of it; a refused dry run is a failure."""
    document: Json = {
        "outcome": outcome,
        "configuration": configuration_document(configuration),
        "plan": None if plan is None else _plan_document(plan),
    }
    refused = plan is not None and plan.HasField("refusal") and outcome == "dry-run"
    problems = (_refusal(plan),) if refused and plan is not None else ()
    return Report(document, blocks, problems)


def refuse(plan: PlanConfigurationResponse | None, *, force: bool) -> None:
    """CtlError with the reason if the change would be refused."""
    if plan is None or not plan.HasField("refusal") or (plan.forcible and force):
        return
    raise CtlError(f"{_refusal(plan)}. Nothing was changed")


def _refusal(plan: PlanConfigurationResponse) -> str:
    return f"{plan.refusal}{'; --force sets it all the same' if plan.forcible else ''}"


def _plan_document(plan: PlanConfigurationResponse) -> Json:
    return {
        "refusal": plan.refusal if plan.HasField("refusal") else None,
        "logs": plan_documents(log_rows(plan.logs)),
        "partitions": plan_documents(partition_rows(plan.partitions)),
    }


def _plan_blocks(plan: PlanConfigurationResponse | None) -> tuple[Block, ...]:
    if plan is None:
        return ("", "The nodes of this cluster make no plans.")
    logs = plan_blocks("log", log_rows(plan.logs))
    return (*logs, *plan_blocks("partition", partition_rows(plan.partitions)))


async def _current(session: Session) -> ClusterConfiguration:
    response = await session.cluster.try_each(
        GET_CLUSTER_CONFIGURATION, GetClusterConfigurationRequest(), Role.ADMIN
    )
    return response.cluster_configuration


async def _plan(
    session: Session, configuration: ClusterConfiguration
) -> PlanConfigurationResponse | None:
    """None if the cluster cannot say: it consists of other servers."""
    request = PlanConfigurationRequest(configuration=configuration)
    try:
        return await session.cluster.try_each(PLAN_CONFIGURATION, request, Role.ADMIN)
    except CallsFailed as error:
        if error.is_unknown_method:
            return None
        raise


async def _set(session: Session, configuration: ClusterConfiguration, *, force: bool) -> None:
    cluster = session.cluster
    try:
        if force:
            request = SetConfigurationRequest(configuration=configuration, force=True)
            await cluster.try_each(SET_CONFIGURATION, request, Role.ADMIN)
        else:
            standard = SetClusterConfigurationRequest(cluster_configuration=configuration)
            await cluster.try_each(SET_CLUSTER_CONFIGURATION, standard, Role.ADMIN)
    except CallsFailed as error:
        if error.may_have_acted:
            raise CtlError(f"{error}; {MAYBE_WRITTEN} (`restatectl config get`)") from None
        raise
