"""What a service's URI says, and which addresses a node does not connect to."""

from __future__ import annotations

import pytest

from restate_node.runtime.service_addresses import ServiceUri, is_forbidden, parse_service_uri


@pytest.mark.parametrize(
    ("uri", "parts"),
    [
        ("http://service", ServiceUri("http", "service", 80, "service", "")),
        ("http://service:80/", ServiceUri("http", "service", 80, "service", "")),
        ("https://service", ServiceUri("https", "service", 443, "service", "")),
        ("https://service:80", ServiceUri("https", "service", 80, "service:80", "")),
        ("http://127.0.0.1:9080", ServiceUri("http", "127.0.0.1", 9080, "127.0.0.1:9080", "")),
        ("http://[::1]:9080/a/b/", ServiceUri("http", "::1", 9080, "[::1]:9080", "/a/b")),
    ],
)
def test_parts_of_an_address(uri: str, parts: ServiceUri) -> None:
    """Goal: where to connect, and what requests say. Method: a table."""
    assert parse_service_uri(uri) == parts


@pytest.mark.parametrize(
    ("address", "forbidden"),
    [
        ("127.0.0.1", False),
        ("::1", False),
        ("10.0.0.1", False),
        ("192.168.1.1", False),
        ("fd00::1", False),
        ("8.8.8.8", False),
        ("169.254.0.1", True),
        ("169.254.169.254", True),
        ("::ffff:169.254.169.254", True),
        ("2002:a9fe:a9fe::", True),
        ("fe80::1", True),
        ("fe80::1%eth0", True),
        ("fd00:ec2::254", True),
        ("168.63.129.16", True),
    ],
)
def test_guard(address: str, forbidden: bool) -> None:
    """Goal: metadata services are out of reach, services are not. Method: a table."""
    assert is_forbidden(address) is forbidden
