"""`ObjectStore` over a bucket of S3, or of any service that speaks it and honours conditions.

    get, put, delete, list    one request each
    upload                    parts of `PART_BYTES`; one part alone is a plain put
    download                  one request; when it breaks off, the rest is asked for by range

Requests that fail for a passing reason are made again, with pauses that grow and that dice spread,
as `worker.snapshots.object-store-retry-policy` says. A conditional put that is made again can meet
its own first success: it then raises PreconditionFailed, and the caller reads what is there.

Memory: `PARTS_MAX` parts at a time, gathered or on their way, whatever the number of uploads. An
upload that fails is aborted, so that the service keeps no parts of it.

The client is on another thread (`s3_client`); errors are mapped in `s3_errors`. Driven by its
callers alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
from base64 import b64encode
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any, Final, TypeVar

import structlog

from restate_node.runtime.ports import (
    SMALL_OBJECT_BYTES_MAX,
    IfAbsent,
    IfMatches,
    ListedObject,
    ObjectMissing,
    ObjectStoreError,
    ObjectStoreUnavailable,
    Piece,
    Pieces,
    PreconditionFailed,
    PutCondition,
    StoredObject,
    Unconditional,
    Write,
)
from restate_node.runtime.real.s3_client import Call, Client, S3Client
from restate_node.runtime.real.s3_errors import mapped
from restate_node.runtime.real.threads import finish_in_thread
from restate_node.types.options import RetryKind, RetryOptions, SnapshotOptions

__all__ = ["S3Objects"]

logger = structlog.get_logger(__name__)

PART_BYTES: Final = 5 * 1024 * 1024
PARTS_MAX: Final = 4
PARTS_OF_AN_OBJECT_MAX: Final = 10_000
"""The service's limit: with our parts, 48 GiB."""
CHUNK_BYTES: Final = 1024 * 1024
THREADS_MAX: Final = 4
PAGE_OBJECTS_MAX: Final = 1_000
ATTEMPTS_MAX: Final = 10
"""When the options name no limit."""
REQUEST_SECONDS_MAX: Final = 120.0
"""One attempt, with a part or a piece. The library's own limits miss a service that never asks for
the body it was promised."""
ABORT_SECONDS_MAX: Final = 10.0

Result = TypeVar("Result")


class S3Objects:
    """The objects of one bucket."""

    def __init__(self, bucket: str, options: SnapshotOptions, rng: Random) -> None:
        """ValueError when the options contradict each other. Nothing is connected yet."""
        endpoint = options.aws_endpoint_url or ""
        if endpoint.startswith("http://") and not options.aws_allow_http:
            raise ValueError(
                f"worker.snapshots.aws-endpoint-url = {endpoint!r}: set aws-allow-http = true, or "
                "use https"
            )
        self._bucket = bucket
        self._retry = options.object_store_retry_policy
        self._rng = rng
        self._client = S3Client(options)
        self._parts = asyncio.Semaphore(PARTS_MAX)
        # Our own: files that are read or written slowly must not keep others' threads.
        self._threads = ThreadPoolExecutor(THREADS_MAX, "s3-files")

    async def get(self, key: str) -> StoredObject | None:
        """A small object and its etag; None when there is none."""
        place = self._place(key)

        async def call(client: Client) -> StoredObject | None:
            answer = await client.get_object(**place)
            async with answer["Body"] as body:
                if answer["ContentLength"] > SMALL_OBJECT_BYTES_MAX:
                    return None
                return StoredObject(await body.read(), answer["ETag"])

        try:
            stored = await self._request(f"get {self._name(key)}", call)
        except ObjectMissing:
            return None
        if stored is None:
            raise ValueError(f"{self._name(key)} is larger than {SMALL_OBJECT_BYTES_MAX} bytes")
        return stored

    async def download(self, key: str, write: Write) -> None:
        """Hand on the content in order; raises ObjectMissing, and what `write` raises."""
        reading = _Reading(self._place(key))
        try:
            while chunk := await self._request(f"read {self._name(key)}", reading.piece):
                reading.advance(len(chunk))
                await finish_in_thread(lambda chunk=chunk: write(chunk), self._threads)
        finally:
            if reading.is_open:
                await self._client.run(reading.close)

    async def put(self, key: str, content: bytes, condition: PutCondition) -> str:
        """Write a small object; raises PreconditionFailed."""
        return await self._put(key, io.BytesIO(content), condition)

    async def _put(self, key: str, content: io.BytesIO, condition: PutCondition) -> str:
        place = self._place(key) | _condition_fields(condition)

        async def call(client: Client) -> str:
            answer = await client.put_object(**place, **_body_fields(content))
            return answer["ETag"]

        try:
            return await self._request(f"put {self._name(key)}", call)
        except ObjectMissing as error:  # the answer to If-Match when there is no such object
            raise PreconditionFailed(f"{self._name(key)} is gone; read it again") from error

    async def upload(self, key: str, pieces: Pieces) -> None:
        """Write an object of any size; nothing is seen of it before."""
        place, source = self._place(key), _PartSource(pieces)
        await self._next_part(source)
        if not source.ended:
            await self._upload_parts(key, place, source)
            return
        try:
            await self._put(key, source.take(), Unconditional())
        finally:
            self._parts.release()

    async def delete(self, key: str) -> None:
        """Remove an object, if it is there."""
        place = self._place(key)
        try:
            await self._request(
                f"delete {self._name(key)}", lambda client: client.delete_object(**place)
            )
        except ObjectMissing:
            return

    async def list_objects(self, prefix: str) -> AsyncGenerator[ListedObject]:
        """Every object whose key starts so, a page at a time."""
        fields: dict[str, Any] = {
            "Bucket": self._bucket,
            "Prefix": prefix,
            "MaxKeys": PAGE_OBJECTS_MAX,
        }
        while True:
            page = await self._request(
                f"list {self._name(prefix)}",
                lambda client: client.list_objects_v2(**fields),
            )
            for row in page.get("Contents", []):
                yield ListedObject(row["Key"], row["Size"])
            if not page.get("IsTruncated"):
                return
            fields["ContinuationToken"] = page["NextContinuationToken"]

    async def close(self) -> None:
        """Close the connections, end the threads. Idempotent."""
        await self._client.close()
        self._threads.shutdown(wait=False)

    # -- parts

    async def _upload_parts(self, key: str, place: dict[str, Any], source: _PartSource) -> None:
        doing = f"upload {self._name(key)}"
        try:
            created = await self._request(
                doing, lambda client: client.create_multipart_upload(**place)
            )
        except BaseException:
            self._parts.release()
            raise
        place = place | {"UploadId": created["UploadId"]}
        try:
            etags = await self._send_parts(doing, place, source)
            await self._complete(doing, place, etags, source.size_bytes)
        except BaseException:
            # Cancelled once already: this wait is short, and parts that stay are paid for.
            await self._abort(doing, place)
            raise

    async def _send_parts(
        self, doing: str, place: dict[str, Any], source: _PartSource
    ) -> dict[int, str]:
        """Each part holds its right to memory from its gathering until the service has it. No
        frame but that of its task knows it, or it would stay for as long as the upload.
        """
        etags: dict[int, str] = {}

        def begin(group: asyncio.TaskGroup, number: int) -> None:
            sending = group.create_task(self._send_part(doing, place, number, source.take(), etags))
            # Not in a `finally` of the task: one that is cancelled before it starts has none.
            sending.add_done_callback(lambda _: self._parts.release())

        try:
            async with asyncio.TaskGroup() as group:
                begin(group, 1)
                for number in range(2, PARTS_OF_AN_OBJECT_MAX + 1):
                    if source.ended:
                        break
                    await self._next_part(source)
                    if source.is_empty:  # the content ended where the part before did
                        self._parts.release()
                        break
                    begin(group, number)
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        if not source.ended:
            raise ValueError(f"{doing}: more than {PARTS_OF_AN_OBJECT_MAX} parts of {PART_BYTES}")
        return etags

    async def _send_part(
        self,
        doing: str,
        place: dict[str, Any],
        number: int,
        part: io.BytesIO,
        etags: dict[int, str],
    ) -> None:
        async def call(client: Client) -> str:
            answer = await client.upload_part(**place, PartNumber=number, **_body_fields(part))
            return answer["ETag"]

        etags[number] = await self._request(doing, call)

    async def _next_part(self, source: _PartSource) -> None:
        """Gather the next part, and with it the right to keep it in memory, which is the caller's
        now.
        """
        await self._parts.acquire()
        try:
            await finish_in_thread(source.gather, self._threads)
        except BaseException:
            self._parts.release()
            raise

    async def _complete(
        self, doing: str, place: dict[str, Any], etags: dict[int, str], size_bytes: int
    ) -> None:
        parts = [{"PartNumber": number, "ETag": etags[number]} for number in sorted(etags)]
        upload = {"Parts": parts}
        try:
            await self._request(
                doing,
                lambda client: client.complete_multipart_upload(**place, MultipartUpload=upload),
            )
        except ObjectMissing:
            # No such upload: an earlier attempt, whose answer was lost, may have completed it.
            there = {"Bucket": place["Bucket"], "Key": place["Key"]}
            found = await self._request(doing, lambda client: client.head_object(**there))
            if found["ContentLength"] != size_bytes:
                raise

    async def _abort(self, doing: str, place: dict[str, Any]) -> None:
        try:
            async with asyncio.timeout(ABORT_SECONDS_MAX):
                await self._client.run(lambda client: client.abort_multipart_upload(**place))
        except Exception as error:
            logger.info("parts of an upload may stay", upload=doing, reason=str(error))

    # -- requests

    async def _request(self, doing: str, call: Call[Result]) -> Result:
        """One request, made again while that may help."""
        attempts_max = self._retry.attempts_max or ATTEMPTS_MAX
        attempt = 1
        while True:
            try:
                async with asyncio.timeout(REQUEST_SECONDS_MAX):
                    return await self._client.run(call)
            except Exception as error:
                failure: ObjectStoreError = mapped(error, doing)
                if not isinstance(failure, ObjectStoreUnavailable) or attempt >= attempts_max:
                    raise failure from error
                logger.debug("request failed; retrying", attempt=attempt, reason=str(failure))
            await asyncio.sleep(_pause_s(self._retry, attempt, self._rng))
            attempt += 1

    def _place(self, key: str) -> dict[str, Any]:
        if not key or any(part in ("", ".", "..") for part in key.split("/")):
            raise ValueError(f"{key!r} is not the key of an object")
        return {"Bucket": self._bucket, "Key": key}

    def _name(self, key: str) -> str:
        return f"s3://{self._bucket}/{key}"


class _PartSource:
    """Pieces of any size, gathered to parts. Used on threads, by turns."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces
        self._left: Piece = b""
        """A view stays good: the next piece is asked for when nothing is left of it."""
        self._part = io.BytesIO()
        self.ended = False
        self.size_bytes = 0

    @property
    def is_empty(self) -> bool:
        """There is nothing in the part that was gathered."""
        return not self._part.getbuffer().nbytes

    def gather(self) -> None:
        """The next part; one before the end is full, and the last may be empty."""
        room = PART_BYTES
        while room and not self.ended:
            piece = self._left or next(self._pieces, None)
            if piece is None:
                self.ended = True
                break
            self._part.write(piece[:room])
            self._left = piece[room:]
            room -= min(room, len(piece))
        self.size_bytes += PART_BYTES - room

    def take(self) -> io.BytesIO:
        """The part that was gathered; from now on it is the caller's alone."""
        part, self._part = self._part, io.BytesIO()
        return part


class _Reading:
    """One object on its way; lives on the client's loop, except for `advance`."""

    def __init__(self, place: dict[str, Any]) -> None:
        self._place = place
        self._body: Any = None
        self._etag: str | None = None
        self._size_bytes = 0
        self._position = 0

    @property
    def is_open(self) -> bool:
        return self._body is not None

    async def piece(self, client: Client) -> bytes:
        """The bytes after the position, none at the end. After a failure, call it again."""
        if self._etag is not None and self._position == self._size_bytes:
            return b""
        try:
            if self._body is None:
                await self._open(client)
            return await self._read()
        except BaseException:
            await self.close(client)
            raise

    def advance(self, count: int) -> None:
        """These bytes were handed on; do not ask for them again."""
        self._position += count

    async def close(self, client: Client) -> None:
        """Hang up."""
        body, self._body = self._body, None
        if body is not None:
            body.close()

    async def _open(self, client: Client) -> None:
        if self._etag is None:
            answer = await client.get_object(**self._place)
            self._size_bytes = answer["ContentLength"]
            self._etag = answer["ETag"]
        else:
            rest = {"Range": f"bytes={self._position}-", "IfMatch": self._etag}
            answer = await client.get_object(**self._place, **rest)
        self._body = answer["Body"]

    async def _read(self) -> bytes:
        wanted = min(CHUNK_BYTES, self._size_bytes - self._position)
        read = bytearray()
        while len(read) < wanted:
            some = await self._body.read(wanted - len(read))
            if not some:
                raise ObjectStoreUnavailable(f"{self._place['Key']}: the answer ended early")
            read += some
        return bytes(read)


def _condition_fields(condition: PutCondition) -> dict[str, str]:
    match condition:
        case IfAbsent():
            return {"IfNoneMatch": "*"}
        case IfMatches(etag):
            return {"IfMatch": etag}
        case Unconditional():
            return {}


def _body_fields(content: io.BytesIO) -> dict[str, Any]:
    """Called on the client's thread: hashing takes its time, and gives up the interpreter's lock.

    A stream, for aiohttp sends bytes of this size in one breath; one that was written to, not made
    of bytes, for it would copy these. The library leaves it open.
    """
    content.seek(0)
    digest = hashlib.md5(content.getbuffer(), usedforsecurity=False).digest()
    return {"Body": content, "ContentMD5": b64encode(digest).decode()}


def _pause_s(retry: RetryOptions, attempt: int, rng: Random) -> float:
    growth = retry.factor ** min(attempt - 1, 30) if retry.kind is RetryKind.EXPONENTIAL else 1.0
    pause_ms = min(retry.initial_interval_ms * growth, retry.interval_max_ms)
    return pause_ms / 1000 * rng.uniform(0.7, 1.3)
