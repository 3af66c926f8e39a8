"""The OpenAPI document of a service: how clients call its handlers at the ingress.

For each handler four paths: call, send, and by idempotency key attach and output; for a workflow
its own two instead. Schemas of handlers are put under `components`, once each.
"""

from __future__ import annotations

from typing import Any, Final

from restate_node.roles.admin.rest.views import input_content_type
from restate_node.types.schema import Body, Handler, NoBody, Service
from restate_node.types.targets import TargetKind

_JSON: Final = "application/json"
_TAGS: Final = {
    "Request Response": "Call a handler and wait for its response",
    "Send": "Submit a call and do not wait for its response",
    "Attach": "Wait for the response of a call made before",
    "Get Output": "The response of a call made before, if it is there",
}


def openapi_of(service: Service, ingress_endpoint: str | None) -> dict[str, Any]:
    """The document, version 3.1."""
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = {"RestateError": _ERROR}
    for handler in service.handlers.values():
        paths |= _handler_paths(service, handler)
        schemas |= _handler_schemas(handler)
    about: dict[str, Any] = {"title": service.name, "version": str(service.revision)}
    if service.documentation:
        about["description"] = service.documentation
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": about,
        "paths": paths,
        "components": {
            "parameters": _PARAMETERS,
            "responses": _RESPONSES,
            "schemas": schemas,
        },
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
    }
    if ingress_endpoint is not None:
        document["servers"] = [{"url": ingress_endpoint, "description": "Restate Ingress URL"}]
    return document


def _handler_paths(service: Service, handler: Handler) -> dict[str, Any]:
    keyed = service.type.is_keyed
    key = "/{key}" if keyed else ""
    target = f"{service.name}{key}/{handler.name}"
    common = [_parameter("key")] if keyed else []
    runs = handler.kind is TargetKind.WORKFLOW_RUN
    call_parameters = common if runs else [*common, _parameter("idempotencyKeyHeader")]
    paths = {
        f"/restate/call/{target}": {
            "post": _operation(
                handler,
                "",
                "Request Response",
                f"Call {service.name}/{handler.name} and wait for its response",
                call_parameters,
                {"200": _output(handler), "default": _response("GenericError")},
                _request_body(handler),
            )
        },
        f"/restate/send/{target}": {
            "post": _operation(
                handler,
                "Send",
                "Send",
                f"Submit a call of {service.name}/{handler.name}",
                [*call_parameters, _parameter("delay")],
                {
                    "200": _response("Send"),
                    "202": _response("Send"),
                    "default": _response("GenericError"),
                },
                _request_body(handler),
            )
        },
    }
    if runs:
        base, parameters = f"/restate/workflow/{service.name}/{{key}}", common
    else:
        base = f"/restate/invocation/{target}/{{idempotencyKey}}"
        parameters = [*common, _parameter("idempotencyKeyPath")]
    return paths | _outcome_paths(service, handler, base, parameters)


def _outcome_paths(
    service: Service, handler: Handler, base: str, parameters: list[dict[str, str]]
) -> dict[str, Any]:
    name = f"{service.name}/{handler.name}"
    unknown, generic = _response("InvocationNotFoundError"), _response("GenericError")
    attach = {"200": _output(handler), "404": unknown, "default": generic}
    not_ready = _response("InvocationNotReadyError")
    output = {"200": _output(handler), "404": unknown, "470": not_ready, "default": generic}
    return {
        f"{base}/attach": {
            "get": _operation(
                handler, "Attach", "Attach", f"Wait for the end of {name}", parameters, attach
            )
        },
        f"{base}/output": {
            "get": _operation(
                handler, "Output", "Get Output", f"The response of {name}", parameters, output
            )
        },
    }


def _operation(
    handler: Handler,
    suffix: str,
    tag: str,
    description: str,
    parameters: list[dict[str, str]],
    responses: dict[str, Any],
    request_body: dict[str, Any] | None = None,
) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": handler.name + suffix,
        "summary": handler.name,
        "description": handler.documentation or description,
        "tags": [tag],
        "parameters": parameters,
        "responses": responses,
    }
    if request_body is not None:
        operation["requestBody"] = request_body
    return operation


def _request_body(handler: Handler) -> dict[str, Any] | None:
    content_type = input_content_type(handler.input)
    if content_type is None:
        return None
    media = {} if _input_schema(handler) is None else {"schema": _schema(_input_name(handler))}
    optional = any(isinstance(rule, NoBody) for rule in handler.input.rules)
    return {"content": {str(content_type): media}, "required": not optional}


def _output(handler: Handler) -> dict[str, Any]:
    if handler.output.content_type is None:
        return {"description": "No content"}
    has_schema = handler.output.json_schema is not None
    media = {"schema": _schema(_output_name(handler))} if has_schema else {}
    return {"description": "", "content": {handler.output.content_type: media}}


def _handler_schemas(handler: Handler) -> dict[str, Any]:
    schemas: dict[str, Any] = {}
    if _input_schema(handler) is not None:
        schemas[_input_name(handler)] = _input_schema(handler)
    if handler.output.json_schema is not None:
        schemas[_output_name(handler)] = handler.output.json_schema
    return schemas


def _input_schema(handler: Handler) -> Any:
    bodies = (rule for rule in handler.input.rules if isinstance(rule, Body))
    body = next(bodies, None)
    return None if body is None else body.json_schema


def _input_name(handler: Handler) -> str:
    return f"{handler.name}Request"


def _output_name(handler: Handler) -> str:
    return f"{handler.name}Response"


def _schema(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _parameter(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/parameters/{name}"}


def _response(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/responses/{name}"}


def _text_parameter(name: str, place: str, description: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": place,
        "description": description,
        "required": place == "path",
        "schema": {"type": "string"},
    }


def _error_response(description: str) -> dict[str, Any]:
    return {
        "description": description,
        "content": {_JSON: {"schema": _schema("RestateError")}},
    }


_PARAMETERS: Final = {
    "key": _text_parameter("key", "path", "Key of the object or workflow"),
    "delay": _text_parameter("delay", "query", "Not before this has passed: 10s, PT1M"),
    "idempotencyKeyHeader": _text_parameter(
        "idempotency-key", "header", "Calls with the same key are one call"
    ),
    "idempotencyKeyPath": _text_parameter(
        "idempotencyKey", "path", "The idempotency key that the call was made with"
    ),
}
_ERROR: Final = {
    "title": "RestateError",
    "description": "Why there is no response",
    "type": "object",
    "properties": {
        "code": {"type": "number", "title": "HTTP status"},
        "message": {"type": "string", "title": "Reason"},
        "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
        "source": {
            "type": "string",
            "enum": ["ingress", "invocation"],
            "description": "Who raised it: the ingress refused the request, or the handler failed.",
        },
    },
    "required": ["message", "source"],
}
_RESPONSES: Final = {
    "GenericError": _error_response("Error response"),
    "InvocationNotFoundError": _error_response("Invocation not found"),
    "InvocationNotReadyError": _error_response("Invocation has not ended yet"),
    "Send": {
        "description": "The call is accepted",
        "content": {
            _JSON: {
                "schema": {
                    "title": "RestateSendResponse",
                    "type": "object",
                    "properties": {
                        "invocationId": {"type": "string"},
                        "status": {"type": "string", "enum": ["Accepted", "PreviouslyAccepted"]},
                        "executionTime": {"type": "string", "format": "date-time"},
                    },
                    "required": ["invocationId", "status"],
                }
            }
        },
    },
}
