"""The yardstick of the operations benchmark: the same files, copied as anybody would.

    upload    boto3's `upload_file`, one file after the other, each in parts side by side
    download  boto3's `download_file` and fsync
    copy      `shutil.copyfile` and fsync
    hashed    read, SHA-256, write, and fsync: what a careful copy costs at least on one thread

A process of its own, so that neither side waits for the other's interpreter lock; it copies once,
or for so many seconds again and again, and prints how long each time took, without its own start
and without removing what it wrote.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.world import WorldFailed
from restate_node.types.options import SnapshotOptions

PREFIX = "plain-copy"
PIECE_BYTES = 1 << 18
"""Of a mebibyte it costs a third more: see `restate_node.runtime.real.file_pieces`."""


@dataclass(frozen=True, slots=True)
class PlainCopy:
    """`source` is a directory, or the prefix of a download; without `service`, of directories."""

    what: str
    source: str
    target: Path
    service: SnapshotOptions | None = None


async def plain_copy(copy: PlainCopy, seconds: float = 0.0) -> list[float]:
    """Seconds that each took. At least one, and more until so many seconds are over."""
    service = copy.service
    arguments = ["-m", "benchmarks.plain_copy", copy.what, copy.source, str(copy.target)]
    arguments += ["--seconds", str(seconds)]
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
        raise WorldFailed(f"the plain {copy.what} failed: see above")
    return [float(took) for took in printed.split()]


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


def _copy(directory: Path, target: Path, copy_file: Callable[[Path, Path], None]) -> float:
    files = sorted(file for file in directory.rglob("*") if file.is_file())
    return _timed(target, lambda: [copy_file(file, target) for file in files])


def _copy_file(file: Path, target: Path) -> None:
    place = target / file.name
    shutil.copyfile(file, place)
    _sync(place)


def _copy_hashed(file: Path, target: Path) -> None:
    digest, buffer = hashlib.sha256(), memoryview(bytearray(PIECE_BYTES))
    with file.open("rb", buffering=0) as source, (target / file.name).open("wb") as copied:
        while size_bytes := source.readinto(buffer):
            digest.update(buffer[:size_bytes])
            copied.write(buffer[:size_bytes])
        copied.flush()
        os.fsync(copied.fileno())


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
    parser.add_argument("what", choices=("upload", "download", "copy", "hashed"))
    parser.add_argument("source")
    parser.add_argument("target", type=Path)
    parser.add_argument("--endpoint", default="")
    parser.add_argument("--seconds", type=float, default=0.0)
    given = parser.parse_args()
    work = _work(given.what, given.source, given.target, given.endpoint)
    end = perf_counter() + given.seconds
    while True:
        print(work())
        if perf_counter() >= end:
            break


def _work(what: str, source: str, target: Path, endpoint: str) -> Callable[[], float]:
    match what:
        case "upload":
            objects = bucket(endpoint)
            return lambda: _upload(Path(source), objects)
        case "download":
            objects = bucket(endpoint)
            return lambda: _download(source, target, objects)
        case "hashed":
            return lambda: _copy(Path(source), target, _copy_hashed)
        case _:
            return lambda: _copy(Path(source), target, _copy_file)


if __name__ == "__main__":
    main()
