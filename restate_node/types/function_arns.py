"""Names of functions on AWS Lambda, as deployments are registered under them.

    arn:aws:lambda:eu-central-1:123456789012:function:greeter:3
    arn:PARTITION:lambda:REGION:ACCOUNT:function:NAME:QUALIFIER

The qualifier, a version or an alias, MUST be there: calls that have begun go on where they began,
so the name has to mean the same code tomorrow. `$LATEST` is allowed, for development.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

ARN_PREFIX: Final = "arn:"
ARN_CHARACTERS_MAX: Final = 512
_PARTS: Final = 8
_PART: Final = re.compile(r"[A-Za-z0-9$_.-]+")
_ROLE: Final = re.compile(r"arn:[a-z-]+:iam::[0-9]+:role/[A-Za-z0-9_+=,.@/-]+")


@dataclass(frozen=True, slots=True)
class FunctionArn:
    """One version of one function."""

    partition: str
    region: str
    account: str
    name: str
    qualifier: str

    def __str__(self) -> str:
        return (
            f"arn:{self.partition}:lambda:{self.region}:{self.account}"
            f":function:{self.name}:{self.qualifier}"
        )


def is_arn(address: str) -> bool:
    """Whether the address of a deployment is a name on AWS instead of a URI."""
    return address.startswith(ARN_PREFIX)


def parse_function_arn(text: str) -> FunctionArn:
    """Raises ValueError with what to change."""
    parts = text.split(":")
    if len(text) > ARN_CHARACTERS_MAX:
        raise ValueError(f"not more than {ARN_CHARACTERS_MAX} characters")
    if len(parts) == _PARTS - 1 and parts[5] == "function":
        parts.append("")
    if len(parts) != _PARTS or parts[0] != "arn":
        raise ValueError("write arn:aws:lambda:REGION:ACCOUNT:function:NAME:VERSION")
    _, partition, service, region, account, resource, name, qualifier = parts
    if service != "lambda" or resource != "function":
        raise ValueError(f"this is a {resource} of {service}: only functions of lambda can be used")
    if not qualifier:
        raise ValueError(
            "a version or an alias is missing at its end; $LATEST stands for the code that is not "
            "published (in a shell, quote it: '$LATEST')"
        )
    for part in (partition, region, account, name, qualifier):
        if not _PART.fullmatch(part):
            raise ValueError(f"{part!r} in it is empty or has characters that no ARN has")
    return FunctionArn(partition, region, account, name, qualifier)


def parse_role_arn(text: str) -> str:
    """The same text. Raises ValueError with what to change."""
    if len(text) > ARN_CHARACTERS_MAX or not _ROLE.fullmatch(text):
        raise ValueError("write arn:aws:iam::ACCOUNT:role/NAME")
    return text
