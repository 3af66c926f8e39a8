"""`restatectl metadata-server recover`: go on when the majority of the metadata servers is lost for
ever.

    copies of every node that answers ──┐
    the member to go on from ◀──────────┴── RecoverMetadata, first only to ask

The member must run, if only to wait for a cluster: then no node may know the members, and the
member is looked for at the addresses of the command line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from restate_node.ctl.command import Session, command
from restate_node.ctl.commands.metadata_server import app
from restate_node.ctl.connection import Cluster, failures_text
from restate_node.ctl.errors import CallFailed, CtlError
from restate_node.ctl.link import Link
from restate_node.ctl.methods import RECOVER_METADATA
from restate_node.ctl.node_lists import parse_node
from restate_node.ctl.render import Block, CellLike, Json, Report, Table
from restate_node.types.ids import PlainNodeId, plain_text
from restate_node.wire.pb.operator_pb2 import (
    MetadataCopy,
    RecoverMetadataRequest,
    RecoverMetadataResponse,
)

__all__ = ["app"]

COLUMNS = ("KEY", "STORED", "COPY", "BECOMES")
ABSENT = "-"
LOSSES = (
    "What may be lost for ever:",
    "  - every change that the lost members acknowledged and {} never received, however many. Of",
    "    the four objects that all nodes cache, the newest copy of a node that answers is taken",
    "    (COPY); placements of partitions (pp_epoch_…) and other keys are as {} has them",
    "  - records of log segments that only the lost members knew of",
    "Versions and leader epochs jump far ahead, so that none of them gets a second meaning.",
)
FENCED = (
    "{} must not be started again with their old metadata: they would be refused. To bring one "
    "back, move its directory replicated-metadata-server away first, then use `restatectl "
    "metadata-server add-node`."
)
NOT_DONE = "nothing was changed: repeat the command with --accept-loss to go on without them"


@command(app, "recover")
async def recover(
    session: Session,
    member: Annotated[
        str, typer.Option("--from", metavar="NODE", help="The member to go on from, such as N2.")
    ],
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Do it; else it only tells what may be lost.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Although the others answer, or know more.")
    ] = False,
) -> Report:
    """Continue the metadata cluster from one member, because its majority is lost for ever.

    That member must run; if no node knows the cluster any more, name its address. It becomes the
    only member; afterwards add others with `metadata-server add-node`. Run it once.

    \b
    Examples:
      restatectl metadata-server recover --from N2
      restatectl --address http://n2:5122 metadata-server recover --from N2 --accept-loss

    \b
    JSON:
      {"node", "term", "last_index", "committed", "members", "answering", "refusal", "done",
       "keys": [{"key", "stored", "copy", "becomes"}]}
    """
    wanted = parse_node(member)
    link, told = await _find(session.cluster, wanted)
    copies = [
        MetadataCopy(kind=int(kind), encoded=blob)
        for kind, blob in (await session.cluster.newest_copies()).items()
    ]
    if accept_loss and (force or not told.HasField("refusal")):
        session.show(*_told(told))
    request = RecoverMetadataRequest(accept_loss=accept_loss, force=force, copies=copies)
    try:
        response = await session.cluster.call(link, RECOVER_METADATA, request)
    except CallFailed as failure:
        if accept_loss and failure.unreachable:
            look = "see `restatectl metadata-server list-servers` whether it took effect"
            raise CtlError(f"{failure}; {look}") from None
        raise
    return recovery_report(response, accept_loss)


async def _find(cluster: Cluster, wanted: PlainNodeId) -> tuple[Link, RecoverMetadataResponse]:
    """The member, and what it says of itself."""
    links = [cluster.link(address) for address in cluster.addresses]
    try:
        node = (await cluster.nodes_configuration()).node(wanted)
        if node is not None:
            links.insert(0, cluster.link_to(node))
    except CtlError:
        pass  # Without a majority a node that was started again knows nothing yet.
    failures: list[CallFailed] = []
    for link in dict.fromkeys(links):
        try:
            told = await cluster.call(link, RECOVER_METADATA, RecoverMetadataRequest())
        except CallFailed as failure:
            failures.append(failure)
            continue
        if told.node_id == wanted:
            return link, told
    name = plain_text(wanted)
    raise CtlError(
        failures_text(
            f"{name} does not answer: start it, and name its address with --address", failures
        )
    )


def recovery_report(response: RecoverMetadataResponse, accept_loss: bool) -> Report:
    """What was, or would be, done; a problem unless it was."""
    name = plain_text(PlainNodeId(response.node_id))
    lost = _names([node for node in response.members if node != response.node_id])
    problems: tuple[str, ...] = ()
    blocks: list[Block] = []
    if response.done:
        blocks.append(f"{name} is the only member of the metadata cluster now.")
        blocks.append(FENCED.format(lost))
    else:
        blocks.extend(_told(response))
        refused = response.refusal if response.HasField("refusal") else None
        if refused is not None:
            problems = (f"refused: {refused}" + (" (--force overrides)" if accept_loss else ""),)
        else:
            problems = (NOT_DONE,)
    return Report(_document(response), tuple(blocks), problems)


def _told(response: RecoverMetadataResponse) -> list[Block]:
    """What is here, and what may not be."""
    name = plain_text(PlainNodeId(response.node_id))
    undecided = response.last_index - response.committed
    rows: list[tuple[CellLike, ...]] = [
        (
            row.key,
            f"v{row.stored_version}" if row.HasField("stored_version") else ABSENT,
            f"v{row.copied_version}" if row.HasField("copied_version") else ABSENT,
            f"v{row.new_version}" if row.HasField("new_version") else "stays",
        )
        for row in response.keys
    ]
    return [
        f"Metadata cluster: members {_names(response.members)}; "
        f"besides {name} answer: {_names(response.answering) or 'none'}",
        f"{name}: term {response.term}, last entry {response.last_index}, committed "
        f"{response.committed} ({undecided} undecided, they are kept)",
        Table(COLUMNS, tuple(rows)),
        *(line.format(name) for line in LOSSES),
    ]


def _names(nodes: Sequence[int]) -> str:
    return ", ".join(plain_text(PlainNodeId(node)) for node in nodes)


def _document(response: RecoverMetadataResponse) -> Json:
    return {
        "node": plain_text(PlainNodeId(response.node_id)),
        "term": response.term,
        "last_index": response.last_index,
        "committed": response.committed,
        "members": [plain_text(PlainNodeId(node)) for node in response.members],
        "answering": [plain_text(PlainNodeId(node)) for node in response.answering],
        "refusal": response.refusal if response.HasField("refusal") else None,
        "done": response.done,
        "keys": [
            {
                "key": row.key,
                "stored": row.stored_version if row.HasField("stored_version") else None,
                "copy": row.copied_version if row.HasField("copied_version") else None,
                "becomes": row.new_version if row.HasField("new_version") else None,
            }
            for row in response.keys
        ],
    }
