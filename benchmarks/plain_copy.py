"""The yardstick of the operations benchmark: the same files, copied as anybody would.

    upload    boto3's `upload_file`, one file after the other, each in parts side by side
    download  boto3's `download_file` and fsync
    copy      `shutil.copyfile` and fsync

A process of its own, so that neither side waits for the other's interpreter lock; it prints how
many seconds the copying took, without its own start. What it wrote is removed afterwards.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.world import WorldFailed
from restate_node.types.options import SnapshotOptions

PREFIX = "plain-copy"


async def plain_copy(
    what: str, source: str, target: Path, service: SnapshotOptions | None
) -> float:
    """Seconds that it took. `source` is a directory, or the prefix of a download."""
    arguments = ["-m", "benchmarks.plain_copy", what, source, str(target)]
    environment = dict(os.environ)
    if service is not None:
        arguments += ["--endpoint", str(service.aws_endpoint_url)]
        environment |= {
            "AWS_ACCESS_KEY_ID": str(service.aws_access_key_id),
            "AWS_SECRET_ACCESS_KEY": str(service.aws_secret_access_key),
            "AWS_DEFAULT_REGION": str(service.aws_region),
        }
    child = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, env=environment, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await child.communicate()
    if child.returncode != 0:
        raise WorldFailed(f"the plain {what} failed: see above")
    return float(printed)


def bucket(endpoint: str) -> Any:
    """boto3's bucket of the benchmark; it takes its credentials from the environment."""
    import boto3  # pyright: ignore[reportMissingTypeStubs]

    resource: Any = getattr(boto3, "resource")  # noqa: B009 (typed by nobody)
    return resource("s3", endpoint_url=endpoint).Bucket(BUCKET)


BUCKET = "snapshots"


def _upload(directory: Path, objects: Any) -> float:
    started = perf_counter()
    for file in sorted(directory.iterdir()):
        objects.upload_file(str(file), f"{PREFIX}/{file.name}")
    took = perf_counter() - started
    objects.objects.filter(Prefix=f"{PREFIX}/").delete()
    return took


def _download(prefix: str, target: Path, objects: Any) -> float:
    keys = [row.key for row in objects.objects.filter(Prefix=prefix)]
    return _timed(target, lambda: [_fetch(objects, key, target) for key in keys])


def _fetch(objects: Any, key: str, target: Path) -> None:
    place = target / key.rsplit("/", 1)[-1]
    objects.download_file(key, str(place))
    _sync(place)


def _copy(directory: Path, target: Path) -> float:
    files = sorted(file for file in directory.rglob("*") if file.is_file())
    return _timed(target, lambda: [_copy_file(file, target) for file in files])


def _copy_file(file: Path, target: Path) -> None:
    place = target / file.name
    shutil.copyfile(file, place)
    _sync(place)


def _sync(place: Path) -> None:
    with place.open("rb+") as file:
        os.fsync(file.fileno())


def _timed(target: Path, work: Callable[[], object]) -> float:
    target.mkdir(parents=True)
    try:
        started = perf_counter()
        work()
        return perf_counter() - started
    finally:
        shutil.rmtree(target)


def main() -> None:
    """Entry point of the child."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plain_copy")
    parser.add_argument("what", choices=("upload", "download", "copy"))
    parser.add_argument("source")
    parser.add_argument("target", type=Path)
    parser.add_argument("--endpoint", default="")
    given = parser.parse_args()
    match given.what:
        case "upload":
            took = _upload(Path(given.source), bucket(given.endpoint))
        case "download":
            took = _download(given.source, given.target, bucket(given.endpoint))
        case _:
            took = _copy(Path(given.source), given.target)
    print(took)


if __name__ == "__main__":
    main()
