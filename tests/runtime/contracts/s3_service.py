"""A bucket service on this machine that honours conditional puts, for tests of the S3 store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from restate_node.runtime.real.s3_client import S3Client
from restate_node.types.options import RetryOptions, SnapshotOptions

OPTIONS = SnapshotOptions(
    aws_region="eu-central-1",
    aws_access_key_id="key",
    aws_secret_access_key="secret",
    aws_allow_http=True,
    object_store_retry_policy=RetryOptions(
        initial_interval_ms=1, interval_max_ms=5, attempts_max=4
    ),
)


@contextmanager
def s3_service() -> Iterator[SnapshotOptions]:
    """A fresh service on a free port; the options that lead to it."""
    # Not at the top: importing it takes longer than all other tests of this directory.
    from moto.moto_api._internal.models import moto_api_backend
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield replace(OPTIONS, aws_endpoint_url=f"http://{host}:{port}")
    finally:
        server.stop()
        moto_api_backend.reset()


async def create_bucket(name: str, options: SnapshotOptions) -> None:
    """An empty bucket."""
    region = {"LocationConstraint": options.aws_region}
    client = S3Client(options)
    try:
        await client.run(lambda s3: s3.create_bucket(Bucket=name, CreateBucketConfiguration=region))
    finally:
        await client.close()
