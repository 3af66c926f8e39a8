"""What operators' tools ask about metadata: one member of the store, and the store behind a node.

    MetadataServerHandlers  this very server: its standing, its membership, its keys if it leads
    MetadataProxyHandlers   any node: the keys, through the node's own client

Plain handlers from message to message; the node puts them into its table of methods. Tools match
on codes and on pieces of text, so both are contract.
"""

from __future__ import annotations

from typing import Final, NoReturn, assert_never

from google.protobuf.empty_pb2 import Empty

from restate_node.cluster.metadata_client import (
    MetadataClient,
    MetadataError,
    MetadataRejected,
    MetadataUnavailable,
    PreconditionNotMet,
)
from restate_node.roles.metadata_server.service import MetadataServer
from restate_node.types.grpc_status import GrpcError, StatusCode
from restate_node.types.ids import PlainNodeId, Version, plain_text
from restate_node.types.metadata_kv import (
    Delete,
    DoesNotExist,
    Done,
    MatchesVersion,
    Outcome,
    Precondition,
    PreconditionFailed,
    Provision,
    Provisioned,
    Put,
    Rejected,
    RequestId,
    Unconditional,
    VersionedValue,
)
from restate_node.types.metadata_messages import (
    NOT_MEMBER_TEXT,
    NOT_PROVISIONED_TEXT,
    Executed,
    MembershipReply,
    MembershipVerdict,
    MetadataServerPhase,
    NotFounded,
    NotLeading,
    NotMember,
    Operation,
    ReadValue,
    ReadVersion,
    RemoveFromMetadataCluster,
    TryAgain,
    ValueFound,
    VersionFound,
)
from restate_node.wire.nodes import decode_nodes_configuration
from restate_node.wire.pb import common_pb2, metadata_pb2
from restate_node.wire.pb import metadata_proxy_svc_pb2 as proxy_pb2
from restate_node.wire.pb import metadata_server_svc_pb2 as server_pb2
from restate_node.wire.storage_codec import CodecError

_STATUS: Final = {
    MetadataServerPhase.STARTING_UP: common_pb2.MS_STARTING_UP,
    MetadataServerPhase.AWAITING_PROVISIONING: common_pb2.MS_AWAITING_PROVISIONING,
    MetadataServerPhase.STANDBY: common_pb2.MS_STANDBY,
    MetadataServerPhase.MEMBER: common_pb2.MS_MEMBER,
}

_CODE: Final = {
    MembershipVerdict.ALREADY_MEMBER: StatusCode.ALREADY_EXISTS,
    MembershipVerdict.NOT_A_MEMBER: StatusCode.INVALID_ARGUMENT,
    MembershipVerdict.NOT_LEADER: StatusCode.INTERNAL,
    MembershipVerdict.FORBIDDEN: StatusCode.PERMISSION_DENIED,
    MembershipVerdict.REFUSED: StatusCode.FAILED_PRECONDITION,
    MembershipVerdict.TRY_LATER: StatusCode.UNAVAILABLE,
}


class MetadataServerHandlers:
    """The methods of `restate.metadata_server_svc.MetadataServerSvc`."""

    def __init__(self, server: MetadataServer) -> None:
        self._server = server
        self._client_id = server.rng.getrandbits(63)
        self._sequence = 0

    async def status(self, _: Empty) -> server_pb2.StatusResponse:
        """Always answered."""
        status = self._server.status()
        response = server_pb2.StatusResponse(status=_STATUS[status.phase])
        if not status.members:
            return response
        response.configuration.version.value = status.members_version
        for node, created_at_millis in status.members.items():
            response.configuration.members[node] = created_at_millis
        if status.leader is not None:
            response.leader = status.leader
        if status.snapshot_index:
            response.snapshot.index = status.snapshot_index
            response.snapshot.size = status.snapshot_bytes
        response.raft.term = status.term
        response.raft.applied = status.applied
        response.raft.committed = status.committed
        response.raft.first_index = status.first_index
        response.raft.last_index = status.last_index
        return response

    async def add_node(self, _: Empty) -> Empty:
        """Make this node a member."""
        _check_verdict(await self._server.join_now())
        return Empty()

    async def remove_node(self, request: server_pb2.RemoveNodeRequest) -> Empty:
        """Remove a member; only the leader can."""
        node = PlainNodeId(request.plain_node_id)
        created = request.created_at_millis if request.HasField("created_at_millis") else None
        order = RemoveFromMetadataCluster(node, created)
        _check_verdict(await self._server.remove(order))
        return Empty()

    async def get(self, request: server_pb2.GetRequest) -> server_pb2.GetResponse:
        """Linearizable; only the leader can."""
        self._check_identity(request)
        found = await self._answer(ReadValue(request.key))
        assert isinstance(found, ValueFound)
        return server_pb2.GetResponse(value=_value_to_pb(found.value))

    async def get_version(self, request: server_pb2.GetRequest) -> server_pb2.GetVersionResponse:
        """Linearizable; only the leader can."""
        self._check_identity(request)
        found = await self._answer(ReadVersion(request.key))
        assert isinstance(found, VersionFound)
        return server_pb2.GetVersionResponse(version=_version_to_pb(found.version))

    async def put(self, request: server_pb2.PutRequest) -> Empty:
        """Only the leader can."""
        self._check_identity(request)
        value, precondition = _value_of(request), _precondition_of(request)
        await self._execute(Put(self._next_request(), request.key, value, precondition))
        return Empty()

    async def delete(self, request: server_pb2.DeleteRequest) -> Empty:
        """Only the leader can."""
        self._check_identity(request)
        precondition = _precondition_of(request)
        await self._execute(Delete(self._next_request(), request.key, precondition))
        return Empty()

    async def provision(self, request: server_pb2.ProvisionRequest) -> server_pb2.ProvisionResponse:
        """Found the cluster here; retry-safe."""
        blob = request.nodes_configuration
        try:
            configuration = decode_nodes_configuration(blob)
        except CodecError as error:
            raise GrpcError(StatusCode.INVALID_ARGUMENT, str(error)) from None
        fingerprint = configuration.cluster_fingerprint
        if not fingerprint:
            text = "the nodes configuration has no cluster fingerprint"
            raise GrpcError(StatusCode.INVALID_ARGUMENT, text)
        value = VersionedValue(configuration.version, blob)
        name = configuration.cluster_name
        outcome = await self._execute(Provision(self._next_request(), value, name, fingerprint))
        assert isinstance(outcome, Provisioned)
        return server_pb2.ProvisionResponse(newly_provisioned=outcome.newly_provisioned)

    # ------------------------------------------------------------ inside

    def _next_request(self) -> RequestId:
        self._sequence += 1
        return RequestId(self._client_id, self._sequence)

    def _check_identity(
        self,
        request: server_pb2.GetRequest | server_pb2.PutRequest | server_pb2.DeleteRequest,
    ) -> None:
        """Names are optional, but one that is given must be ours."""
        identity = self._server.cache.identity()
        fingerprint = request.cluster_fingerprint
        if fingerprint and identity.fingerprint and fingerprint != identity.fingerprint:
            text = "cluster fingerprint mismatch: this is a different cluster; check the address"
            raise GrpcError(StatusCode.PERMISSION_DENIED, text)
        if request.HasField("cluster_name") and request.cluster_name != identity.cluster_name:
            text = f"cluster name mismatch: this is a node of '{identity.cluster_name}'"
            raise GrpcError(StatusCode.PERMISSION_DENIED, text)

    async def _execute(self, command: Put | Delete | Provision) -> Outcome:
        answer = await self._answer(command)
        assert isinstance(answer, Executed)
        match answer.outcome:
            case Done() | Provisioned():
                return answer.outcome
            case PreconditionFailed(message):
                raise GrpcError(StatusCode.FAILED_PRECONDITION, message)
            case Rejected(message):
                raise GrpcError(StatusCode.INVALID_ARGUMENT, message)

    async def _answer(self, operation: Operation) -> ValueFound | VersionFound | Executed:
        answer = await self._server.answer(operation)
        match answer:
            case ValueFound() | VersionFound() | Executed():
                return answer
            case NotLeading(leader):
                hint = "no leader is known" if leader is None else f"ask {plain_text(leader.node)}"
                raise GrpcError(StatusCode.UNAVAILABLE, f"not leader: {hint}")
            case NotMember():
                raise GrpcError(StatusCode.UNAVAILABLE, NOT_MEMBER_TEXT)
            case NotFounded():
                raise GrpcError(StatusCode.UNAVAILABLE, NOT_PROVISIONED_TEXT)
            case TryAgain(reason):
                raise GrpcError(StatusCode.UNAVAILABLE, reason)
            case _:
                assert_never(answer)


class MetadataProxyHandlers:
    """The methods of `restate.metadata_proxy_svc.MetadataProxySvc`."""

    def __init__(self, client: MetadataClient) -> None:
        self._client = client

    async def get(self, request: proxy_pb2.GetRequest) -> proxy_pb2.GetResponse:
        """Linearizable."""
        try:
            value = await self._client.get(request.key)
        except MetadataError as error:
            _raise_as_status(error)
        return proxy_pb2.GetResponse(value=_value_to_pb(value))

    async def get_version(self, request: proxy_pb2.GetRequest) -> proxy_pb2.GetVersionResponse:
        """Linearizable."""
        try:
            version = await self._client.get_version(request.key)
        except MetadataError as error:
            _raise_as_status(error)
        return proxy_pb2.GetVersionResponse(version=_version_to_pb(version))

    async def put(self, request: proxy_pb2.PutRequest) -> Empty:
        """With a precondition, retry-safe."""
        value, precondition = _value_of(request), _precondition_of(request)
        try:
            await self._client.put(request.key, value, precondition)
        except MetadataError as error:
            _raise_as_status(error)
        return Empty()

    async def delete(self, request: proxy_pb2.DeleteRequest) -> Empty:
        """With a precondition, retry-safe."""
        precondition = _precondition_of(request)
        try:
            await self._client.delete(request.key, precondition)
        except MetadataError as error:
            _raise_as_status(error)
        return Empty()


def _check_verdict(reply: MembershipReply) -> None:
    if reply.verdict is not MembershipVerdict.DONE:
        raise GrpcError(_CODE[reply.verdict], reply.reason)


def _raise_as_status(error: MetadataError) -> NoReturn:
    match error:
        case PreconditionNotMet():
            code = StatusCode.FAILED_PRECONDITION
        case MetadataRejected():
            code = StatusCode.INVALID_ARGUMENT
        case MetadataUnavailable():
            code = StatusCode.UNAVAILABLE
        case _:
            code = StatusCode.INTERNAL
    raise GrpcError(code, str(error)) from None


def _value_of(request: proxy_pb2.PutRequest | server_pb2.PutRequest) -> VersionedValue:
    if not request.HasField("value"):
        raise GrpcError(StatusCode.INVALID_ARGUMENT, "value is required")
    return VersionedValue(Version(request.value.version.value), request.value.bytes)


def _precondition_of(
    request: proxy_pb2.PutRequest
    | proxy_pb2.DeleteRequest
    | server_pb2.PutRequest
    | server_pb2.DeleteRequest,
) -> Precondition:
    if not request.HasField("precondition"):
        raise GrpcError(StatusCode.INVALID_ARGUMENT, "precondition is required")
    precondition = request.precondition
    match precondition.kind:
        case metadata_pb2.NONE:
            return Unconditional()
        case metadata_pb2.DOES_NOT_EXIST:
            return DoesNotExist()
        case metadata_pb2.MATCHES_VERSION:
            if not precondition.HasField("version"):
                text = "precondition MATCHES_VERSION needs a version"
                raise GrpcError(StatusCode.INVALID_ARGUMENT, text)
            return MatchesVersion(Version(precondition.version.value))
        case _:
            text = f"precondition kind {precondition.kind} is unknown"
            raise GrpcError(StatusCode.INVALID_ARGUMENT, text)


def _version_to_pb(version: Version | None) -> common_pb2.Version | None:
    return None if version is None else common_pb2.Version(value=version)


def _value_to_pb(value: VersionedValue | None) -> metadata_pb2.VersionedValue | None:
    if value is None:
        return None
    version = common_pb2.Version(value=value.version)
    return metadata_pb2.VersionedValue(version=version, bytes=value.data)
