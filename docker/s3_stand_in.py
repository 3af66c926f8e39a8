#!/opt/moto/bin/python
"""Answers to MinIO's command line, `minio server /data`, with an S3 store in memory on port 9000.

As with MinIO, every directory below the data directory is a bucket. Objects end with the process.
"""

import signal
import sys
from pathlib import Path

import boto3
from moto.server import ThreadedMotoServer

PORT = 9000


def main(arguments: list[str]) -> int:
    """Serves until SIGTERM or SIGINT."""
    words = [word for word in arguments if not word.startswith("-")]
    if len(words) != 2 or words[0] != "server":
        print("usage: minio server DIRECTORY", file=sys.stderr)
        return 2
    endings = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, endings)
    server = ThreadedMotoServer(ip_address="0.0.0.0", port=PORT, verbose=False)
    server.start()
    make_buckets(sorted(path.name for path in Path(words[1]).iterdir() if path.is_dir()))
    signal.sigwait(endings)
    server.stop()
    return 0


def make_buckets(names: list[str]) -> None:
    """Asks the running store for them."""
    client = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{PORT}",
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
    )
    for name in names:
        client.create_bucket(Bucket=name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
