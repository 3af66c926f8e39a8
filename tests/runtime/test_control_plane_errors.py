"""Errors of the control plane: short enough for a header, and never called OK."""

import pytest

from restate_node.runtime.real.control_plane_endpoints import STATUS_MESSAGE_BYTES_MAX, shortened
from restate_node.types.grpc_status import GrpcError, StatusCode


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("two\nlines", "two lines"),
        ("x" * 5000, "x" * STATUS_MESSAGE_BYTES_MAX),
        ("ü" * 5000, "ü" * (STATUS_MESSAGE_BYTES_MAX // 2)),
    ],
)
def test_status_messages_are_one_short_line(text: str, expected: str) -> None:
    """Goal: messages fit into a header. Method: table."""
    assert shortened(text) == expected


def test_an_error_cannot_be_ok() -> None:
    """Goal: a failure never looks like success. Method: construct one."""
    with pytest.raises(ValueError, match="choose another"):
        GrpcError(StatusCode.OK, "fine")
