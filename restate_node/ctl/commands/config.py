"""`restatectl config`: what the cluster is told to be."""

from __future__ import annotations

from restate_node.ctl.command import Session, command, noun
from restate_node.ctl.configuration_rows import configuration_document, configuration_lines
from restate_node.ctl.methods import GET_CLUSTER_CONFIGURATION
from restate_node.ctl.render import Report
from restate_node.types.nodes import Role
from restate_node.wire.pb.cluster_ctrl_pb2 import GetClusterConfigurationRequest
from restate_node.wire.pb.cluster_pb2 import ClusterConfiguration

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
    response = await session.cluster.try_each(
        GET_CLUSTER_CONFIGURATION, GetClusterConfigurationRequest(), Role.ADMIN
    )
    return configuration_report(response.cluster_configuration)


def configuration_report(configuration: ClusterConfiguration) -> Report:
    """The block of the operations page."""
    return Report(configuration_document(configuration), configuration_lines(configuration))
