"""`restatectl metadata`: raw objects of the metadata store."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from restate_node.ctl.command import Session, command, noun
from restate_node.ctl.errors import CtlError, UsageError
from restate_node.ctl.json_patch import PatchError, apply_patch, parse_patch
from restate_node.ctl.metadata_store import put_blob, read_blob
from restate_node.ctl.methods import GET_KEY
from restate_node.ctl.render import Json, Report, render_json
from restate_node.wire.logs import decode_logs
from restate_node.wire.metadata_keys import (
    LOGS_KEY,
    NODES_CONFIGURATION_KEY,
    PARTITION_TABLE_KEY,
    partition_of_key,
)
from restate_node.wire.nodes import decode_nodes_configuration
from restate_node.wire.partitions import decode_epoch_metadata, decode_partition_table
from restate_node.wire.pb.metadata_proxy_svc_pb2 import GetRequest, GetResponse
from restate_node.wire.storage_codec import CodecError, decode_any, encode_shape

DOCUMENT_BYTES_MAX = 32 * 1024 * 1024
KEY_HELP = "nodes_config, bifrost_config, partition_table, schema_registry or pp_epoch_<partition>."

Key = Annotated[str, typer.Option("--key", "-k", help=KEY_HELP)]
Version = Annotated[
    int | None, typer.Option("--version", min=0, help="Only if this is the present one; 0: none.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", "-n", help="Print what would be written; write nothing.")
]
Change = Callable[[dict[str, Any] | None], Any]

app = noun("Raw objects of the metadata store.")


@command(app, "get")
async def get_key(
    session: Session,
    key: Key,
) -> Report:
    """The object under a key as JSON, or null if there is none.

    \b
    Example:
      restatectl metadata get -k nodes_config

    \b
    JSON:
      the object itself, with and without --json
    """
    return object_report(key, await session.cluster.try_each(GET_KEY, GetRequest(key=key)))


@command(app, "put")
async def put_key(
    session: Session,
    document: Annotated[
        str, typer.Argument(metavar="DOC", help="A file with JSON, or - for stdin.")
    ],
    key: Key,
    version: Version = None,
    dry_run: DryRun = False,
) -> Report:
    """Replace the object under a key. Its version is set here: one more than before.

    What the nodes could not read is refused.

    \b
    Example:
      restatectl metadata put -k partition_table table.json --dry-run

    \b
    JSON:
      {"key", "outcome", "before", "after"}; outcome is written, unchanged or dry-run; before and
      after are versions
    """
    value = _read_document(document)
    return await _write(session, key, version, lambda _: value, dry_run=dry_run)


@command(app, "patch")
async def patch_key(
    session: Session,
    patch: Annotated[
        str, typer.Option("--patch", "-p", metavar="JSON", help="A JSON patch (RFC 6902).")
    ],
    key: Key,
    version: Version = None,
    dry_run: DryRun = False,
) -> Report:
    """Change parts of the object under a key. Its version is set here: one more than before.

    What the nodes could not read is refused.

    \b
    Example:
      restatectl metadata patch -k nodes_config -n -p '[{"op": "remove", "path": "/features/0"}]'

    \b
    JSON:
      as `put`
    """
    try:
        operations = parse_patch(patch)
    except PatchError as error:
        raise UsageError(f"--patch: {error}") from None
    change = partial(_patched, operations)
    return await _write(session, key, version, change, dry_run=dry_run)


def object_report(key: str, response: GetResponse) -> Report:
    """The decoded object; its version comes first, the rest by name."""
    document = decode_value(key, response)
    return Report(document, (render_json(document).rstrip("\n"),))


def decode_value(key: str, response: GetResponse) -> Json:
    """None if there is no object; CtlError if it is not a versioned one."""
    if not response.HasField("value"):
        return None
    try:
        decoded = decode_any(response.value.bytes)
    except CodecError as error:
        raise CtlError(f"{key}: {error}") from None
    stored = response.value.version.value
    if decoded.get("version") != stored:
        raise CtlError(f"{key}: stored at version {stored} but says {decoded.get('version')}")
    return {"version": stored, **{k: v for k, v in _sorted(decoded).items() if k != "version"}}


def _sorted(value: dict[str, Json]) -> dict[str, Json]:
    return {key: _ordered(value[key]) for key in sorted(value)}


def _ordered(value: Json) -> Json:
    if isinstance(value, dict):
        return _sorted(value)
    return [_ordered(element) for element in value] if isinstance(value, list) else value


# ---------------------------------------------------------------- writing


async def _write(
    session: Session, key: str, expected: int | None, change: Change, *, dry_run: bool
) -> Report:
    """Written once: a rival's change in between is a failure, for the operator saw another one."""
    found = await read_blob(session.cluster, key)
    before = None if found is None else _plain(key, found)
    present = 0 if before is None else int(before["version"])
    if expected is not None and expected != present:
        raise CtlError(f"{key} has version {present}, not {expected}: nothing was written")
    after = _next(key, present, change(before))
    if before is not None and {**after, "version": present} == before:
        return write_report(key, "unchanged", present, before)
    if dry_run:
        return write_report(key, "dry-run", present, after)
    if not await put_blob(session.cluster, key, found, _checked_blob(key, after)):
        raise CtlError(f"{key} changed meanwhile: nothing was written, look again")
    return write_report(key, "written", present, after)


def write_report(key: str, outcome: str, before: int, after: dict[str, Any]) -> Report:
    """The object as it is now, or would be."""
    lines = {
        "written": f"{key} is now at version {after['version']}",
        "unchanged": f"{key} is so already, at version {before}",
        "dry-run": "Dry run: nothing was written.",
    }
    shown = (render_json(after).rstrip("\n"),) if outcome == "dry-run" else ()
    document: Json = {"key": key, "outcome": outcome, "before": before, "after": after["version"]}
    return Report(document, (*shown, lines[outcome]))


def _next(key: str, present: int, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise CtlError(f"{key} must be a JSON object: nothing was written")
    after: dict[str, Any] = {**value, "version": present + 1}
    _checked_blob(key, after)
    return after


def _checked_blob(key: str, value: dict[str, Any]) -> bytes:
    """CtlError if the nodes could not read it."""
    blob = encode_shape(value)
    decode = _decoder(key)
    try:
        decode(blob)
    except CodecError as error:
        raise CtlError(f"{key} would be unreadable: {error}. Nothing was written") from None
    return blob


def _decoder(key: str) -> Callable[[bytes], object]:
    known: dict[str, Callable[[bytes], object]] = {
        NODES_CONFIGURATION_KEY: decode_nodes_configuration,
        LOGS_KEY: decode_logs,
        PARTITION_TABLE_KEY: decode_partition_table,
    }
    if partition_of_key(key) is not None:
        return decode_epoch_metadata
    return known.get(key, decode_any)


def _patched(operations: list[dict[str, Any]], value: dict[str, Any] | None) -> Any:
    try:
        return apply_patch(value, operations)
    except PatchError as error:
        raise CtlError(f"the patch does not fit: {error}. Nothing was written") from None


def _plain(key: str, blob: bytes) -> dict[str, Any]:
    try:
        return decode_any(blob)
    except CodecError as error:
        raise CtlError(f"{key}: {error}") from None


def _read_document(source: str) -> Any:
    try:
        raw = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CtlError(f"cannot read {source}: {error}") from None
    if len(raw) > DOCUMENT_BYTES_MAX:
        raise CtlError(f"{source} is larger than {DOCUMENT_BYTES_MAX} bytes")
    try:
        return json.loads(raw)
    except ValueError as error:
        raise CtlError(f"{source} is not JSON: {error}") from None
