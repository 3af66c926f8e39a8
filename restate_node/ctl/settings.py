"""What applies to every command: where to connect, how long to wait, how to print.

The same options stand before the noun, after it, and after the command; the last one given wins.
`RESTATECTL_ADDRESS` and `CI` speak when no option does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from restate_node.ctl.address import DEFAULT_ADDRESS, Address, parse_address, parse_addresses
from restate_node.ctl.errors import UsageError
from restate_node.ctl.times import TimeFormat

if TYPE_CHECKING:
    from typing import Any

ADDRESS_VARIABLE = "RESTATECTL_ADDRESS"
CI_VARIABLE = "CI"
CONNECT_TIMEOUT_MS_DEFAULT = 3_000
REQUEST_TIMEOUT_MS_DEFAULT = 13_000
LONG_REQUEST_TIMEOUT_MS_DEFAULT = 600_000
"""For calls that copy much data."""
TIMEOUT_MS_MAX = 3_600_000


@dataclass(frozen=True, slots=True)
class GivenOptions:
    """The options of one or more levels of the command line; None and False: not given there."""

    address: tuple[str, ...] | None = None
    single_address: str | None = None
    yes: bool = False
    json: bool = False
    connect_timeout: int | None = None
    request_timeout: int | None = None
    time_format: TimeFormat | None = None

    def then(self, inner: GivenOptions) -> GivenOptions:
        """These options, overridden by those of an inner level."""
        given = {f.name: getattr(inner, f.name) for f in fields(inner)}
        return replace(self, **{name: value for name, value in given.items() if value})


@dataclass(frozen=True, slots=True)
class Settings:
    """The options after defaults and environment."""

    addresses: tuple[Address, ...]
    single: bool = False
    yes: bool = False
    json: bool = False
    connect_timeout_ms: int = CONNECT_TIMEOUT_MS_DEFAULT
    request_timeout_ms: int = REQUEST_TIMEOUT_MS_DEFAULT
    long_request_timeout_ms: int = LONG_REQUEST_TIMEOUT_MS_DEFAULT
    time_format: TimeFormat = TimeFormat.HUMAN

    @staticmethod
    def of(given: GivenOptions, environment: Mapping[str, str]) -> Settings:
        """UsageError says which option is wrong."""
        if given.address is not None and given.single_address is not None:
            raise UsageError("--address and --single-address exclude each other: give one of them")
        return Settings(
            addresses=_addresses(given, environment),
            single=given.single_address is not None,
            yes=given.yes or bool(environment.get(CI_VARIABLE)),
            json=given.json,
            connect_timeout_ms=given.connect_timeout or CONNECT_TIMEOUT_MS_DEFAULT,
            request_timeout_ms=given.request_timeout or REQUEST_TIMEOUT_MS_DEFAULT,
            long_request_timeout_ms=given.request_timeout or LONG_REQUEST_TIMEOUT_MS_DEFAULT,
            time_format=given.time_format or TimeFormat.HUMAN,
        )


def given_options(values: Mapping[str, Any]) -> GivenOptions:
    """From the values of one level of the command line."""
    given = dict(values)
    address = given.pop("address", None)
    return GivenOptions(address=tuple(address) if address else None, **given)


def _addresses(given: GivenOptions, environment: Mapping[str, str]) -> tuple[Address, ...]:
    if given.single_address is not None:
        return (_checked("--single-address", given.single_address),)
    if given.address is not None:
        return _checked_list("--address", list(given.address))
    if variable := environment.get(ADDRESS_VARIABLE):
        return _checked_list(ADDRESS_VARIABLE, [variable])
    return (parse_address(DEFAULT_ADDRESS),)


def _checked(option: str, text: str) -> Address:
    try:
        return parse_address(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None


def _checked_list(option: str, texts: list[str]) -> tuple[Address, ...]:
    try:
        return parse_addresses(texts)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None
