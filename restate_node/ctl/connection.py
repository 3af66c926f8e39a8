"""The cluster as this tool sees it: any address leads to the newest metadata.

    addresses of the command line ──GetIdent──▶ newest nodes configuration among the answers
            nodes of that version ──GetIdent──▶ newest logs and partition table; a majority
                                                must answer, stragglers are hardly waited for
              nodes with the role ──the call──▶ one after the other until one succeeds

Nodes that are not alive are passed over: what they know may be old. A node that cannot be reached
is not asked twice in one invocation. An address of the command line that turned out to be node N1
is used for N1 from then on: it works from where the operator sits, which the advertised address
may not.

With a single address nothing else is dialled for these calls. Commands that ask particular nodes
(`metadata-server list-servers`, `replicated-loglet info`) dial them all the same.

Invariants: at most `CALLS_MAX` calls are under way; an object is fetched once per invocation.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from google.protobuf.empty_pb2 import Empty

from restate_node.ctl.address import Address, parse_address
from restate_node.ctl.errors import CallFailed, CtlError, NotProvisioned
from restate_node.ctl.link import DEFAULT_TIMEOUTS, NOT_A_NODE, Link, Timeouts
from restate_node.ctl.methods import GET_IDENT, GET_METADATA, Method, Request, Response
from restate_node.types.ids import PlainNodeId
from restate_node.types.logs import Logs
from restate_node.types.metadata import MetadataKind
from restate_node.types.nodes import Node, NodesConfiguration, Role
from restate_node.types.partitions import PartitionTable
from restate_node.wire.logs import decode_logs
from restate_node.wire.nodes import decode_nodes_configuration
from restate_node.wire.partitions import decode_partition_table
from restate_node.wire.pb.common_pb2 import MetadataServerStatus, NodeStatus
from restate_node.wire.pb.node_ctl_svc_pb2 import GetMetadataRequest, IdentResponse
from restate_node.wire.storage_codec import CodecError

CALLS_MAX = 32
"""Calls under way at once."""
STRAGGLER_TIMEOUT_MS = 250
"""How long the remaining nodes have for each further answer once a majority has answered."""
NOT_PROVISIONED = (
    "the cluster appears to be not provisioned: provision it with `restatectl provision`"
)

Item = TypeVar("Item")
Result = TypeVar("Result")
Metadata = TypeVar("Metadata", NodesConfiguration, Logs, PartitionTable)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a node says about itself, and the connection that it said it on."""

    link: Link
    ident: IdentResponse

    @property
    def alive(self) -> bool:
        return self.ident.status == NodeStatus.ALIVE


class Cluster:
    """Use as `async with`; every method may raise CtlError."""

    def __init__(
        self,
        addresses: Sequence[Address],
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
        *,
        single: bool = False,
        rng: random.Random | None = None,
    ) -> None:
        assert addresses, "at least one address is needed"
        assert not single or len(addresses) == 1, "a single address is one address"
        self.addresses = tuple(addresses)
        self.single = single
        self._timeouts = timeouts
        self._rng = rng or random.Random()
        self._links: dict[str, Link] = {}
        self._link_of_node: dict[PlainNodeId, Link] = {}
        self._unreachable: dict[str, CallFailed] = {}
        self._under_way = asyncio.Semaphore(CALLS_MAX)
        self._answers: list[Answer] = []
        self._failures: list[CallFailed] = []
        self._nodes: NodesConfiguration | None = None
        self._logs: Logs | None = None
        self._table: PartitionTable | None = None

    async def __aenter__(self) -> Cluster:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await asyncio.gather(*(link.close() for link in self._links.values()))

    # ------------------------------------------------------------ objects

    async def nodes_configuration(self) -> NodesConfiguration:
        """The newest that the given addresses know."""
        if self._nodes is None:
            answers, failures = await self._idents([self.link(a) for a in self.addresses])
            self._answers = answers
            if not answers:
                raise CtlError(failures_text("cannot reach the cluster", failures))
            self._failures = failures
            found = await self._newest(
                answers, MetadataKind.NODES_CONFIGURATION, decode_nodes_configuration
            )
            self._nodes = found if found is not None else self._no_cluster(answers)
        return self._nodes

    async def logs(self) -> Logs:
        """The newest that a majority of the nodes knows, or as many as answer."""
        if self._logs is None:
            self._logs = await self._from_nodes(MetadataKind.LOGS, decode_logs)
            if not self._logs.version:
                raise NotProvisioned(NOT_PROVISIONED)
        return self._logs

    async def partition_table(self) -> PartitionTable:
        """The newest that a majority of the nodes knows, or as many as answer."""
        if self._table is None:
            self._table = await self._from_nodes(
                MetadataKind.PARTITION_TABLE, decode_partition_table
            )
        return self._table

    def direct_answers(self) -> Sequence[Answer]:
        """What the given addresses said about themselves, alive or not."""
        return self._answers

    async def newest_copies(self) -> dict[MetadataKind, bytes]:
        """Of each object the newest encoding that any node has which answers, alive or not: for
        who wants to save what can be saved.
        """
        links = [self.link(address) for address in self.addresses]
        if self._nodes is not None and not self.single:
            links += self._in_order(self._nodes.members())
        answers, _ = await self._idents(list(dict.fromkeys(links)))
        copies: dict[MetadataKind, bytes] = {}
        for kind in MetadataKind:
            known = [answer for answer in answers if version_of(answer.ident, kind) > 0]
            for answer in sorted(known, key=lambda a: version_of(a.ident, kind), reverse=True):
                request = GetMetadataRequest(kind=int(kind))  # type: ignore[arg-type]
                try:
                    copies[kind] = (await self.call(answer.link, GET_METADATA, request)).encoded
                    break
                except CallFailed:
                    continue
        return copies

    # ------------------------------------------------------------ calls

    def link(self, address: Address) -> Link:
        """The connection to an address."""
        link = self._links.get(address.target)
        if link is None:
            link = self._links[address.target] = Link(address, self._timeouts)
        return link

    def link_to(self, node: Node) -> Link:
        """The connection to a node: one that is known to lead there, or its address."""
        known = self._link_of_node.get(node.id)
        return known if known is not None else self.link(parse_address(node.address))

    async def call(
        self,
        link: Link,
        method: Method[Request, Response],
        request: Request,
        timeout_ms: int | None = None,
    ) -> Response:
        """One call; CallFailed. An unreachable node fails at once the second time."""
        return await self._guarded(link, lambda: link.call(method, request, timeout_ms))

    def forgive(self) -> None:
        """Whoever could not be reached is worth asking again: for commands that wait."""
        self._unreachable.clear()

    async def try_each(
        self,
        method: Method[Request, Response],
        request: Request,
        role: Role | None = None,
        timeout_ms: int | None = None,
        *,
        ends_at_timeout: bool = False,
    ) -> Response:
        """The first answer of a node with that role. MUST be safe to repeat: a node that failed
        may have acted. `ends_at_timeout`: when one takes all the time, no other is asked.
        """
        failures: list[CallFailed] = []
        for link in await self._candidates(role):
            try:
                return await self.call(link, method, request, timeout_ms)
            except CallFailed as failure:
                failures.append(failure)
                if failure.final or (ends_at_timeout and failure.timed_out):
                    break
        raise CallsFailed(failures)

    async def follow_any(
        self,
        method: Method[Request, Response],
        request: Request,
        role: Role,
        on_response: Callable[[Response], None],
    ) -> None:
        """The stream of the first node with that role that sends one to its end; what one has not
        found, nobody has.
        """
        failures: list[CallFailed] = []
        for link in await self._candidates(role):
            try:
                async with self._under_way:
                    await link.follow(method, request, on_response)
                return
            except CallFailed as failure:
                failures.append(failure)
                if failure.final or failure.status == "NOT_FOUND":
                    break
        raise CallsFailed(failures)

    async def collect_from_any(
        self, method: Method[Request, Response], request: Request, role: Role
    ) -> list[Response]:
        """All responses of the first node of that role that can be reached. MUST be safe to repeat.

        What a node refuses, another would refuse too.
        """
        failures: list[CallFailed] = []
        for link in await self._candidates(role):
            try:
                return await self._guarded(link, lambda at=link: at.collect(method, request))
            except CallFailed as failure:
                if not failure.unreachable:
                    raise
                failures.append(failure)
        raise CallsFailed(failures)

    async def each(
        self, items: Iterable[Item], ask: Callable[[Item], Awaitable[Result]]
    ) -> list[Result | CtlError]:
        """Ask about all at once; an error takes the place of its result."""

        async def one(item: Item) -> Result | CtlError:
            try:
                return await ask(item)
            except CtlError as error:
                return error

        return await asyncio.gather(*(one(item) for item in items))

    # ------------------------------------------------------------ inside

    async def _guarded(self, link: Link, ask: Callable[[], Awaitable[Result]]) -> Result:
        target = link.address.target
        if target in self._unreachable:
            raise self._unreachable[target]
        async with self._under_way:
            try:
                return await ask()
            except CallFailed as failure:
                if failure.unreachable:
                    self._unreachable[target] = failure
                raise

    async def _from_nodes(
        self, kind: MetadataKind, decode: Callable[[bytes], Metadata]
    ) -> Metadata:
        nodes = (await self.nodes_configuration()).members()
        links = [self.link(self.addresses[0])] if self.single else self._in_order(nodes)
        enough = len(links) // 2 + 1
        answers, failures = await self._idents(links, enough)
        found = await self._newest(answers, kind, decode) if answers else None
        if found is None:
            name = kind.name.lower().replace("_", " ")
            raise CtlError(failures_text(f"no node answers with its {name}", failures))
        return found

    async def _candidates(self, role: Role | None) -> list[Link]:
        if self.single:
            return [await self._single_with(role)]
        configuration = await self.nodes_configuration()
        nodes = configuration.members() if role is None else configuration.with_role(role)
        if not nodes:
            wanted = "" if role is None else f" with the role {role.value}"
            raise CtlError(f"the cluster has no node{wanted}: see `restatectl nodes list`")
        return self._in_order(nodes, shuffle=False)

    async def _single_with(self, role: Role | None) -> Link:
        link = self.link(self.addresses[0])
        if role is not None:
            ident = await self.call(link, GET_IDENT, Empty())
            if role.value not in ident.roles:
                raise CtlError(
                    f"{link.address} has not the role {role.value}, which this command needs: "
                    "use --address to let it find one"
                )
        return link

    def _in_order(self, nodes: Sequence[Node], shuffle: bool = True) -> list[Link]:
        """Connected nodes first, the rest by chance so that no node is asked by everyone."""
        connected = [node for node in nodes if node.id in self._link_of_node]
        rest = [node for node in nodes if node.id not in self._link_of_node]
        if shuffle:
            self._rng.shuffle(rest)
        return list(dict.fromkeys(self.link_to(node) for node in [*connected, *rest]))

    async def _idents(
        self, links: Sequence[Link], enough: int | None = None
    ) -> tuple[list[Answer], list[CallFailed]]:
        """Ask all. Once `enough` nodes that are alive have answered, the rest has little time."""
        pending = {asyncio.create_task(self._ident(link)) for link in links}
        started = list(pending)
        answers: list[Answer] = []
        failures: list[CallFailed] = []
        try:
            while pending:
                settled = enough is not None and sum(a.alive for a in answers) >= enough
                done, pending = await asyncio.wait(
                    pending,
                    timeout=STRAGGLER_TIMEOUT_MS / 1000 if settled else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if not done:
                    break
                for task in done:
                    error = task.exception()
                    if isinstance(error, CallFailed):
                        failures.append(error)
                    else:
                        answers.append(task.result())
        finally:
            for task in started:
                task.cancel()
            await asyncio.gather(*started, return_exceptions=True)
        return answers, failures

    async def _ident(self, link: Link) -> Answer:
        try:
            ident = await self.call(link, GET_IDENT, Empty())
        except CallFailed as failure:
            if failure.status == "UNIMPLEMENTED":  # gRPC, but of something else
                raise CallFailed(failure.address, failure.status, NOT_A_NODE) from None
            raise
        if ident.HasField("node_id"):
            self._link_of_node.setdefault(PlainNodeId(ident.node_id.id), link)
        return Answer(link, ident)

    async def _newest(
        self, answers: Sequence[Answer], kind: MetadataKind, decode: Callable[[bytes], Metadata]
    ) -> Metadata | None:
        """Of the alive nodes, the newest object; None if nobody has one."""
        known = [a for a in answers if a.alive and version_of(a.ident, kind) > 0]
        failures: list[CallFailed] = []
        for answer in sorted(known, key=lambda a: version_of(a.ident, kind), reverse=True):
            request = GetMetadataRequest(kind=int(kind))  # type: ignore[arg-type]
            try:
                response = await self.call(answer.link, GET_METADATA, request)
            except CallFailed as failure:
                failures.append(failure)
                continue
            return decoded(answer, response.encoded, decode)
        if failures:
            raise CallsFailed(failures)
        return None

    def _no_cluster(self, answers: Sequence[Answer]) -> NodesConfiguration:
        """Nodes answer, but none is alive and knows the members."""
        awaiting = MetadataServerStatus.MS_AWAITING_PROVISIONING
        if any(answer.ident.metadata_server_status == awaiting for answer in answers):
            raise NotProvisioned(NOT_PROVISIONED)
        states = [f"{a.link.address} is {_status_text(a.ident)}" for a in answers]
        said = "; ".join([*states, *(str(failure) for failure in self._failures)])
        raise NotProvisioned(
            f"no cluster metadata: {said}. Has the cluster been provisioned yet? If not, "
            "use `restatectl provision`"
        )


class CallsFailed(CtlError):
    """Nobody could answer a call."""

    def __init__(self, failures: Sequence[CallFailed]) -> None:
        super().__init__(_calls_text(failures))
        self.failures = tuple(failures)

    def last_is(self, status: str) -> bool:
        """The last node that was asked said this."""
        return bool(self.failures) and self.failures[-1].status == status

    @property
    def timed_out(self) -> bool:
        """The last node that was asked may still be at it."""
        return bool(self.failures) and self.failures[-1].timed_out

    @property
    def is_unknown_method(self) -> bool:
        """Every node that answered does not know the call."""
        answered = {f.status for f in self.failures if not f.unreachable}
        return answered == {"UNIMPLEMENTED"}

    @property
    def may_have_acted(self) -> bool:
        """Some node may have done it before it fell silent."""
        return any(failure.unreachable for failure in self.failures)


def decoded(answer: Answer, blob: bytes, decode: Callable[[bytes], Metadata]) -> Metadata:
    """The object; CtlError if the node sent something else."""
    try:
        return decode(blob)
    except CodecError as error:
        raise CtlError(f"{answer.link.address} sent an unreadable object: {error}") from None


def failures_text(what: str, failures: Sequence[CallFailed]) -> str:
    """All failures on one line."""
    if not failures:
        return what
    return f"{what}: " + "; ".join(dict.fromkeys(str(failure) for failure in failures))


def _calls_text(failures: Sequence[CallFailed]) -> str:
    """Each reason once, with those who gave it: nodes of a cluster tend to agree."""
    by_reason: dict[str, list[str]] = {}
    for failure in failures:
        by_reason.setdefault(failure.reason, []).append(failure.address)
    said = "; ".join(f"{why} ({', '.join(who)})" for why, who in by_reason.items())
    if any(not failure.unreachable for failure in failures):
        return said
    return f"no node could answer: {said}" if said else "no node could answer"


def _status_text(ident: IdentResponse) -> str:
    name = {NodeStatus.ALIVE: "alive", NodeStatus.SHUTTING_DOWN: "shutting down"}
    return name.get(ident.status, "starting up")


def version_of(ident: IdentResponse, kind: MetadataKind) -> int:
    """The version of an object that a node says it has."""
    match kind:
        case MetadataKind.NODES_CONFIGURATION:
            return ident.nodes_config_version
        case MetadataKind.LOGS:
            return ident.logs_version
        case MetadataKind.SCHEMA:
            return ident.schema_version
        case MetadataKind.PARTITION_TABLE:
            return ident.partition_table_version
