"""One request's way from server to server until one of them answers.

    candidates: last leader, configured addresses, metadata servers that the cache knows
                     |
        ask one --answer--> done
          ^  |
          |  +-- "N2 leads" ---> ask N2 next
          +-- refused, silent -> note why, ask the next one; after a round of all, pause

A round in which every server refuses for good ends the request at once: another cluster does not
become ours by waiting. Everything else is tried again until the time is over, and then each
server's last words are in the error.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, assert_never

from restate_node.cluster.metadata_cache import MetadataCache
from restate_node.cluster.metadata_errors import MetadataUnavailable, NotProvisioned
from restate_node.types.fabric import RpcCode, RpcFailure
from restate_node.types.ids import PlainNodeId
from restate_node.types.metadata_messages import (
    NOT_MEMBER_TEXT,
    NOT_PROVISIONED_TEXT,
    Executed,
    KvReply,
    LeaderHint,
    NotFounded,
    NotLeading,
    NotMember,
    TryAgain,
    ValueFound,
    VersionFound,
)
from restate_node.types.nodes import MetadataServerState, Role

Target = PlainNodeId | str
"""A member by id, or whoever listens at an address."""

HINTS_PER_ROUND_MAX: Final = 8


class Finding(Enum):
    """What a server's words mean for the request."""

    LATER = "later"
    """It may answer another time."""
    NOT_FOUNDED = "not founded"
    NEVER = "never"
    """It belongs to another cluster, or does not talk to this node any more."""


@dataclass(frozen=True, slots=True)
class Answered:
    """The end of a request, and who ended it."""

    answer: ValueFound | VersionFound | Executed
    address: str


@dataclass(slots=True)
class Round:
    """Whom to ask next, and what those who were asked had to say."""

    queue: deque[Target]
    name_of: Callable[[Target], str]
    findings: dict[str, Finding] = field(default_factory=dict[str, Finding])
    hints: int = 0

    def next(self) -> Target | None:
        """The next server that was not asked in this round."""
        while self.queue:
            target = self.queue.popleft()
            if authority(self.name_of(target)) not in self.findings:
                return target
        return None

    def prefer(self, target: Target) -> None:
        """Ask this one next, unless it was asked already or hints go round in circles."""
        if self.hints < HINTS_PER_ROUND_MAX:
            self.hints += 1
            self.queue.appendleft(target)

    @property
    def is_hopeless(self) -> bool:
        """Asking again would get the same words."""
        return Finding.LATER not in self.findings.values()


class Inquiry:
    """The story of one request: who said what, and whether a write may have happened."""

    def __init__(self) -> None:
        self.maybe_executed = False
        self._cluster_exists = False
        self._reasons: dict[str, str] = {}
        self._findings: dict[str, Finding] = {}

    def heard(self, address: str, reply: KvReply) -> Answered | LeaderHint | None:
        """Take a reply: the end, a better one to ask, or nothing."""
        answer = reply.answer
        match answer:
            case ValueFound() | VersionFound() | Executed():
                return Answered(answer, address)
            case NotLeading(leader):
                self._cluster_exists = True
                self._note(address, "is not the leader" if leader else "knows no leader")
                return leader
            case NotMember(leader):
                self._cluster_exists = True
                self._note(address, NOT_MEMBER_TEXT)
                return leader
            case NotFounded():
                self._note(address, NOT_PROVISIONED_TEXT, Finding.NOT_FOUNDED)
                return None
            case TryAgain(reason, maybe_executed):
                self.maybe_executed |= maybe_executed
                self._note(address, reason)
                return None
            case _:
                assert_never(answer)

    def failed(self, address: str, failure: RpcFailure) -> None:
        """Take a failure instead of a reply."""
        self.maybe_executed |= failure.maybe_executed
        is_final = failure.code in (RpcCode.REFUSED, RpcCode.FORBIDDEN)
        self._note(address, str(failure), Finding.NEVER if is_final else Finding.LATER)

    def finding(self, address: str) -> Finding:
        """What the server's last words meant."""
        return self._findings[address]

    def _note(self, address: str, reason: str, finding: Finding = Finding.LATER) -> None:
        self._reasons[address] = reason
        self._findings[address] = finding

    def error(self, is_write: bool) -> MetadataUnavailable:
        """Everybody's last words, as the exception to raise."""
        if not self._reasons:
            text = "no metadata server is known: set metadata-client.addresses"
            return MetadataUnavailable(text, maybe_executed=False)
        reasons = "; ".join(f"[{address}] {why}" for address, why in self._reasons.items())
        if Finding.NOT_FOUNDED in self._findings.values() and not self._cluster_exists:
            return NotProvisioned(reasons, maybe_executed=False)
        text = f"the metadata store is unavailable: {reasons}"
        return MetadataUnavailable(text, maybe_executed=is_write and self.maybe_executed)


class Candidates:
    """Which servers there are, the most promising first."""

    def __init__(self, cache: MetadataCache, addresses: tuple[str, ...]) -> None:
        self._cache = cache
        self._addresses = addresses
        self._leader: Target | None = None
        self._silent: dict[str, int] = {}
        self._silences = 0

    def all(self) -> deque[Target]:
        """Each server once: by id where it is known, so that this node finds itself."""
        targets = {authority(self.name_of(target)): target for target in self._in_order()}
        ordered = sorted(targets, key=lambda name: self._silent.get(name, 0))
        return deque(targets[name] for name in ordered)

    def configured(self) -> list[Target]:
        """The configured addresses alone, in their order."""
        return [self._resolve(address) for address in self._addresses]

    def follow(self, hint: LeaderHint) -> Target | None:
        """The server that a hint means."""
        if self._cache.address_of(hint.node) is not None:
            return hint.node
        return hint.address

    def name_of(self, target: Target) -> str:
        """Its address, as far as known."""
        if isinstance(target, str):
            return target
        return self._cache.address_of(target) or f"N{target}"

    def answered(self, target: Target) -> None:
        """It leads: ask it first from now on."""
        self._leader = target
        self._silent.pop(authority(self.name_of(target)), None)

    def kept_silent(self, target: Target) -> None:
        """Ask it last from now on."""
        self._silences += 1
        self._silent[authority(self.name_of(target))] = self._silences
        if self._leader == target:
            self._leader = None

    def _in_order(self) -> list[Target]:
        servers = self._cache.nodes.value.with_role(Role.METADATA_SERVER)
        known: list[Target] = [
            node.id
            for node in sorted(
                servers, key=lambda node: node.metadata_server_state != MetadataServerState.MEMBER
            )
        ]
        leader = [] if self._leader is None else [self._leader]
        return [*leader, *self._useful(self.configured(), known), *known]

    def _useful(self, configured: list[Target], known: list[Target]) -> list[Target]:
        """Configured members without the role need not be asked once there are better ones."""
        return [
            target for target in configured if isinstance(target, str) or target in known
        ] or configured * (not known)

    def _resolve(self, address: str) -> Target:
        for node in self._cache.nodes.value.members():
            if authority(node.address) == authority(address):
                return node.id
        return address


def authority(address: str) -> str:
    """`http://host:5122/` -> `host:5122`, to tell if two addresses are one."""
    return address.rpartition("://")[2].rstrip("/").lower()
