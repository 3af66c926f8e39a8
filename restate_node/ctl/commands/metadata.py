"""`restatectl metadata`: raw objects of the metadata store."""

from __future__ import annotations

from typing import Annotated

import typer

from restate_node.ctl.command import Session, command, noun
from restate_node.ctl.errors import CtlError
from restate_node.ctl.methods import GET_KEY
from restate_node.ctl.render import Json, Report, render_json
from restate_node.wire.pb.metadata_proxy_svc_pb2 import GetRequest, GetResponse
from restate_node.wire.storage_codec import CodecError, decode_any

app = noun("Raw objects of the metadata store.")


@command(app, "get")
async def get_key(
    session: Session,
    key: Annotated[
        str,
        typer.Option(
            "--key",
            "-k",
            help="nodes_config, bifrost_config, partition_table, schema_registry or "
            "pp_epoch_<partition>.",
        ),
    ],
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
