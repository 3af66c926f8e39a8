"""Lists of nodes on the command line: `1`, `N1`, `1,2`, `N1,N2`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from restate_node.ctl.errors import CtlError, UsageError
from restate_node.types.ids import PlainNodeId, parse_plain_node_id, plain_text
from restate_node.types.nodes import Node, NodesConfiguration


def parse_nodes(texts: Iterable[str]) -> tuple[PlainNodeId, ...]:
    """The nodes, each once, in the order given; UsageError."""
    parts = [part.strip() for text in texts for part in text.split(",")]
    try:
        return tuple(dict.fromkeys(parse_plain_node_id(part) for part in parts))
    except ValueError as error:
        raise UsageError(f"invalid node: {error}") from None


def parse_node(text: str) -> PlainNodeId:
    """Exactly one; UsageError."""
    nodes = parse_nodes([text])
    if len(nodes) != 1:
        raise UsageError(f"invalid node '{text}': name one node, such as N1")
    return nodes[0]


def known_nodes(
    wanted: Sequence[PlainNodeId], configuration: NodesConfiguration
) -> tuple[Node, ...]:
    """The members; CtlError names one that is none."""
    found: list[Node] = []
    for node_id in wanted:
        node = configuration.node(node_id)
        if node is None:
            members = ", ".join(plain_text(member.id) for member in configuration.members())
            raise CtlError(f"{plain_text(node_id)} was not found in the cluster: it has {members}")
        found.append(node)
    return tuple(found)
