"""Every message between nodes: its number on the wire, what answers it, and the lane it travels on.

Numbers are for ever: a retired one is not given out again. A request type stands for its method, so
callers and handlers name structs and never numbers.

    10..29 metadata      30..39 gossip and cluster state
    40..59 one loglet    60..69 sequencer    70..89 partitions    90..99 invocations
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from restate_node.types import gossip, metadata
from restate_node.types import invocation_messages as invocations
from restate_node.types import log_messages as log
from restate_node.types import metadata_messages as store
from restate_node.types import node_row_messages as node_rows
from restate_node.types import processor_messages as processors
from restate_node.types.fabric import Swimlane

encode = msgspec.msgpack.Encoder().encode


class SharedEncoding:
    """Encodes messages, and remembers the last one: what goes to several nodes is encoded once.

    A store of a mebibyte goes to each member of a nodeset, one after the other; messages never
    change, so the same object has the same bytes.
    """

    __slots__ = ("_bytes", "_message")

    def __init__(self) -> None:
        self._message: msgspec.Struct | None = None
        self._bytes = b""

    def encode(self, message: msgspec.Struct) -> bytes:
        if message is not self._message:
            self._bytes = encode(message)
            self._message = message
        return self._bytes


class UnknownMethod(ValueError):
    """A number that this release does not know."""


@dataclass(frozen=True, slots=True)
class Method:
    """One row of the catalog. `reply` is None for a one-way message."""

    number: int
    request: type[msgspec.Struct]
    reply: type[msgspec.Struct] | None
    lane: Swimlane
    request_decoder: msgspec.msgpack.Decoder[Any]
    reply_decoder: msgspec.msgpack.Decoder[Any] | None

    def decode_reply(self, payload: memoryview) -> msgspec.Struct:
        """Raises one of UNDECODABLE."""
        assert self.reply_decoder is not None, f"{self.request.__name__} is one-way"
        return self.reply_decoder.decode(payload)


def _row(
    number: int, request: type[msgspec.Struct], reply: type[msgspec.Struct] | None, lane: Swimlane
) -> Method:
    reply_decoder = None if reply is None else msgspec.msgpack.Decoder(reply)
    return Method(number, request, reply, lane, msgspec.msgpack.Decoder(request), reply_decoder)


METHODS: tuple[Method, ...] = (
    _row(10, metadata.GetMetadata, metadata.MetadataObject, Swimlane.GENERAL),
    _row(11, store.KvRequest, store.KvReply, Swimlane.GENERAL),
    _row(12, store.RaftEnvelope, None, Swimlane.GENERAL),
    _row(13, store.RaftFragment, store.FragmentTaken, Swimlane.GENERAL),
    _row(14, store.JoinMetadataCluster, store.MembershipReply, Swimlane.GENERAL),
    _row(15, store.RemoveFromMetadataCluster, store.MembershipReply, Swimlane.GENERAL),
    _row(16, store.MetadataServerStatusRequest, store.MetadataServerStatus, Swimlane.GENERAL),
    _row(17, store.GroupRecovered, None, Swimlane.GENERAL),
    _row(30, gossip.Gossip, None, Swimlane.GOSSIP),
    _row(31, gossip.AskGossip, gossip.Gossip, Swimlane.GOSSIP),
    _row(32, node_rows.ReadNodeRows, node_rows.NodeRows, Swimlane.GENERAL),
    _row(40, log.Store, log.LogletHeader, Swimlane.APPEND),
    _row(41, log.Release, None, Swimlane.APPEND),
    _row(42, log.Seal, log.LogletHeader, Swimlane.GENERAL),
    _row(43, log.GetLogletInfo, log.LogletInfo, Swimlane.GENERAL),
    _row(44, log.GetRecords, log.Records, Swimlane.READ),
    _row(45, log.TrimLoglet, log.Trimmed, Swimlane.GENERAL),
    _row(46, log.WaitForTail, log.LogletHeader, Swimlane.GENERAL),
    _row(47, log.GetDigest, log.Digest, Swimlane.GENERAL),
    _row(48, log.GetChecksums, log.Checksums, Swimlane.READ),
    _row(60, log.Append, log.Appended, Swimlane.APPEND),
    _row(61, log.GetSequencerState, log.SequencerState, Swimlane.GENERAL),
    _row(70, processors.GetNodeState, processors.NodeState, Swimlane.GENERAL),
    _row(71, processors.ControlProcessors, processors.ControlAccepted, Swimlane.GENERAL),
    _row(72, processors.PatchState, processors.Proposed, Swimlane.INGRESS),
    _row(73, processors.CreateSnapshot, processors.SnapshotCreated, Swimlane.GENERAL),
    _row(90, invocations.SubmitInvocation, invocations.Submitted, Swimlane.INGRESS),
    _row(91, invocations.AttachInvocation, invocations.Attached, Swimlane.INGRESS),
    _row(92, invocations.NotifyInvocation, processors.Proposed, Swimlane.INGRESS),
    _row(93, invocations.ControlInvocation, invocations.Controlled, Swimlane.INGRESS),
    _row(94, invocations.ReadRows, invocations.Rows, Swimlane.READ),
)

_BY_NUMBER = {method.number: method for method in METHODS}
_BY_REQUEST = {method.request: method for method in METHODS}
assert len(_BY_NUMBER) == len(_BY_REQUEST) == len(METHODS), "a number or a type is used twice"


def method_of(request: msgspec.Struct) -> Method:
    """The method that a request stands for."""
    return _BY_REQUEST[type(request)]


def decode_request(number: int, payload: memoryview) -> msgspec.Struct:
    """Raises UnknownMethod or one of UNDECODABLE."""
    method = _BY_NUMBER.get(number)
    if method is None:
        raise UnknownMethod(f"method {number} is not known to this release")
    return method.request_decoder.decode(payload)
