"""What a request may carry for a handler, and what its answer is labelled as.

A handler says what it takes: nothing, or a body of some type; one of its rules must fit. A body has
a type, and where a schema is told there is a body: nothing fits no schema. What is in it is not
looked at: only the SDK knows how to read it.
"""

from __future__ import annotations

from restate_node.roles.http_ingress.answers import Refused
from restate_node.types.schema import Body, InputRules, NoBody, OutputRules


def check_input(rules: InputRules, content_type: str | None, body: bytes) -> None:
    """Raises Refused when no rule fits."""
    if not rules.rules:
        raise Refused(
            400, "input validation error: Bad configuration of the input validation rules"
        )
    reasons: list[str] = []
    for rule in rules.rules:
        reason = _objection(rule, content_type, body)
        if reason is None:
            return
        reasons.append(reason)
    raise Refused(400, f"input validation error: {reasons[-1]}")


def content_type_of(rules: OutputRules | None, value: bytes) -> str | None:
    """How to label what a handler returned; None: not at all. Without rules (the handler is not
    registered any more) a value is JSON, as it nearly always is.
    """
    if rules is None:
        return "application/json" if value else None
    return rules.content_type if value or rules.even_if_empty else None


def _objection(rule: NoBody | Body, content_type: str | None, body: bytes) -> str | None:
    if isinstance(rule, NoBody):
        if not body and content_type is None:
            return None
        return "Expected an empty body and no content-type"
    if content_type is None:
        expected = "" if rule.content.is_any else f", expected '{rule.content}'"
        return f"Empty content-type{expected}"
    if not rule.content.matches(content_type):
        return f"Content-type '{content_type}' does not match '{rule.content}'"
    return None if body or rule.json_schema is None else "Empty body not allowed"
