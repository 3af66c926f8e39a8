"""What a decision about a log was based on, in words: inputs, and the log servers not chosen.

Driven by the log improvement, which keeps it for `restatectl why log`.
"""

from __future__ import annotations

from collections.abc import Collection

from restate_node.types.ids import PlainNodeId, plain_text
from restate_node.types.logs import Chain, ProviderConfiguration, ReplicatedSegment
from restate_node.types.nodes import NodesConfiguration


def log_inputs(
    chain: Chain, configuration: ProviderConfiguration, nodes: NodesConfiguration
) -> dict[str, str]:
    """The configuration, the tail segment, and the states of the log servers."""
    inputs = {
        "provider": configuration.kind.value,
        "replication": str(configuration.replication),
        "nodeset size": str(configuration.target_nodeset_size),
        "log servers": ", ".join(
            f"{plain_text(node.id)} {node.storage_state.value}" for node in nodes.log_servers()
        ),
        "segment": str(chain.tail.index),
    }
    tail = chain.tail
    if isinstance(tail, ReplicatedSegment):
        members = ", ".join(plain_text(node) for node in sorted(tail.params.nodeset))
        inputs["segment nodeset"] = f"[{members}]"
        inputs["segment replication"] = str(tail.params.replication)
        inputs["segment sequencer"] = str(tail.params.sequencer)
    return inputs


def log_alternatives(chosen: Collection[PlainNodeId], nodes: NodesConfiguration) -> tuple[str, ...]:
    """Every log server that was not chosen, and why."""
    return tuple(
        f"{plain_text(node.id)}: "
        + (
            "read-write, others come first for this log"
            if node.storage_state.in_new_nodesets
            else f"{node.storage_state.value}, takes no new segments"
        )
        for node in nodes.log_servers()
        if node.id not in chosen
    )
