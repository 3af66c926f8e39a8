"""Where an attempt goes: which handler of which deployment, and what is said to it over HTTP before
and instead of a conversation.

    POST /invoke/<service>/<handler>   ─▶  200, content type of the same version: the conversation
    x-restate-service-key: <key>       ─▶  anything else: the attempt has failed
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from restate_node.protocol.invocation.retry import BUSY, wait_asked_for_ms
from restate_node.runtime.services import EndpointAddress, HttpVersion, RequestHead, ResponseHead
from restate_node.types import schema as registered
from restate_node.types.attempts import (
    ATTEMPT_FAILED,
    UNSUPPORTED_MEDIA_TYPE,
    AttemptFailure,
    ErrorCode,
)
from restate_node.types.invocations import RawInvocationId, id_text
from restate_node.types.schema import Deployment, ProtocolMode, ResolvedHandler

CONTENT_TYPE: Final = "application/vnd.restate.invocation.v"
KEY_HEADER: Final = "x-restate-service-key"
KEY_CHARACTERS_MAX: Final = 1024
"""Longer ones are not told in the head of a request: servers bound it, and answer 431."""
BODY_SHOWN_MAX: Final = 300

_UNAVAILABLE: Final = (HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT)
"""Said by a proxy before a service that is not there."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an attempt goes, and what holds for it."""

    deployment: Deployment
    handler: ResolvedHandler
    protocol_version: int
    pins: bool
    """Its first entries pin an invocation to the deployment; until then it may go to the next."""
    key: str = ""
    """Of the object or workflow."""

    @property
    def is_bidirectional(self) -> bool:
        return self.deployment.mode is ProtocolMode.BIDIRECTIONAL

    @property
    def content_type(self) -> str:
        """Of the request, and of an answer that is a conversation."""
        return f"{CONTENT_TYPE}{self.protocol_version}"

    def address(self) -> EndpointAddress:
        """Whom to ask."""
        deployment = self.deployment
        is_old = deployment.http_version is registered.HttpVersion.HTTP_11
        version = HttpVersion.HTTP_1_1 if is_old else HttpVersion.HTTP_2
        unpacks_zstd = deployment.compression is registered.Compression.ZSTD
        return EndpointAddress(deployment.uri, version, deployment.assume_role_arn, unpacks_zstd)

    def head(self, invocation: RawInvocationId) -> RequestHead:
        """What to ask. The key is for proxies: they can send all calls of an object to one place;
        and a signature covers it.
        """
        headers = [
            ("content-type", self.content_type),
            ("accept", self.content_type),
            ("x-restate-invocation-id", id_text(invocation)),
        ]
        key = self.key if len(self.key) <= KEY_CHARACTERS_MAX else ""
        if key:
            headers.append((KEY_HEADER, quote(key, safe="")))
        headers += self.deployment.additional_headers.items()
        path = f"/invoke/{self.handler.service}/{self.handler.handler}"
        return RequestHead("POST", path, tuple(headers), key)

    def is_conversation(self, head: ResponseHead) -> bool:
        """It is, and in the version that was asked for."""
        content_type = (head.header("content-type") or "").partition(";")[0].strip()
        return head.status == HTTPStatus.OK and content_type == self.content_type

    def refusal(self, head: ResponseHead, body: bytes) -> AttemptFailure:
        """What an answer means that is no conversation; `body` is its beginning."""
        shown = body[:BODY_SHOWN_MAX].decode("utf-8", "replace").strip()
        content_type = head.header("content-type") or "none"
        text = (
            f"{self.deployment.uri} answered {head.status} with content type {content_type} "
            f"instead of 200 with {self.content_type}: {shown}"
        )
        code, error_code = ATTEMPT_FAILED, ErrorCode.PROTOCOL_VIOLATION
        if head.status in _UNAVAILABLE:
            error_code = ErrorCode.UNREACHABLE
        elif head.status in BUSY:
            error_code = ErrorCode.BUSY
        elif head.status == UNSUPPORTED_MEDIA_TYPE:
            code, error_code = UNSUPPORTED_MEDIA_TYPE, ErrorCode.VERSION_REFUSED
        return AttemptFailure(
            code,
            " ".join(text.split()),
            next_retry_delay_ms=wait_asked_for_ms(head.status, head.header("retry-after")),
            error_code=error_code,
        )
