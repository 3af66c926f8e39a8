"""An S3 service on this machine, in a process of its own: moto's server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks import processes
from benchmarks.plain_copy import BUCKET
from restate_node.runtime.real.s3_client import S3Client
from restate_node.types.options import SnapshotOptions

READY_WITHIN_S = 60.0
HOST = "127.0.0.1"


@asynccontextmanager
async def bucket_service(directory: Path) -> AsyncIterator[SnapshotOptions]:
    """A service with an empty bucket; the options that lead to it."""
    (port,) = processes.free_ports(1)
    arguments = ["-m", "moto.server", "-H", HOST, "-p", str(port)]
    child = processes.start(arguments, directory / "bucket-service.log")
    options = SnapshotOptions(
        destination=f"s3://{BUCKET}/repository",
        aws_endpoint_url=f"http://{HOST}:{port}",
        aws_allow_http=True,
        aws_region="us-east-1",
        aws_access_key_id="benchmark",
        aws_secret_access_key="benchmark",
    )
    try:
        await _listening(port)
        await _create_bucket(options)
        yield options
    finally:
        await asyncio.to_thread(processes.stop, [child])


async def _listening(port: int) -> None:
    async with asyncio.timeout(READY_WITHIN_S):
        while True:
            try:
                _, writer = await asyncio.open_connection(HOST, port)
            except OSError:
                await asyncio.sleep(0.1)
            else:
                writer.close()
                return


async def _create_bucket(options: SnapshotOptions) -> None:
    client = S3Client(options)
    try:
        await client.run(lambda s3: s3.create_bucket(Bucket=BUCKET))
    finally:
        await client.close()
