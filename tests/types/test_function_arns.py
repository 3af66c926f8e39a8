"""Names of functions: which are understood, and what the others are told."""

from __future__ import annotations

import pytest

from restate_node.types.function_arns import (
    FunctionArn,
    is_arn,
    parse_function_arn,
    parse_role_arn,
)

ARN = "arn:aws:lambda:eu-central-1:123456789012:function:my-fn"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{ARN}:3", FunctionArn("aws", "eu-central-1", "123456789012", "my-fn", "3")),
        (f"{ARN}:$LATEST", FunctionArn("aws", "eu-central-1", "123456789012", "my-fn", "$LATEST")),
        (f"{ARN}:prod_2", FunctionArn("aws", "eu-central-1", "123456789012", "my-fn", "prod_2")),
        (
            "arn:aws-us-gov:lambda:us-gov-west-1:1:function:f:1",
            FunctionArn("aws-us-gov", "us-gov-west-1", "1", "f", "1"),
        ),
    ],
)
def test_names_of_functions(text: str, expected: FunctionArn) -> None:
    """Goal: every part lands where it belongs, and back. How: versions, aliases, partitions."""
    assert parse_function_arn(text) == expected
    assert str(expected) == text
    assert is_arn(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (ARN, "version or an alias"),
        (f"{ARN}:", "version or an alias"),
        ("", "write arn:"),
        ("nonsense", "write arn:"),
        ("http://host:9080", "write arn:"),
        (f"{ARN}:1:2", "write arn:"),
        (f" {ARN}:1", "write arn:"),
        (f"{ARN}:1".replace("arn", "ARN"), "write arn:"),
        ("arn:aws:s3:::bucket", "write arn:"),
        (f"{ARN}:1".replace("function", "layer"), "a layer of lambda"),
        (f"{ARN}:1".replace("lambda", "states"), "function of states"),
        (f"{ARN}:1".replace("eu-central-1", ""), "'' in it"),
        (f"{ARN}:1".replace("eu-central-1", "evil.com/"), "'evil.com/'"),
        (f"{ARN}:1".replace("my-fn", "my fn"), "'my fn'"),
        (f"{ARN}:1\n", "characters that no ARN has"),
        (f"{ARN}:1".replace("my-fn", "fünf"), "'fünf'"),
        (f"{ARN}:{'1' * 512}", "not more than"),
    ],
)
def test_names_of_nothing(text: str, says: str) -> None:
    """Goal: who registers is told what to write, in one line. How: a table of mistakes."""
    with pytest.raises(ValueError, match=says) as caught:
        parse_function_arn(text)
    assert "\n" not in str(caught.value)


def test_names_of_roles() -> None:
    """Goal: a mistake shows at registration. How: roles with and without path, other things."""
    for text in ("arn:aws:iam::1:role/a", "arn:aws-cn:iam::123456789012:role/path/a.b@c"):
        assert parse_role_arn(text) == text
    for text in ("a", f"{ARN}:1", "arn:aws:iam::1:user/a", "arn:aws:iam::1:role/a b", "x" * 600):
        with pytest.raises(ValueError, match="arn:aws:iam"):
            parse_role_arn(text)
