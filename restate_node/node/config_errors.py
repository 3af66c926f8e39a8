"""The one error of loading a configuration."""

from __future__ import annotations


class ConfigError(Exception):
    """The configuration cannot be used; the text is one line that says where and what to change."""

    def __str__(self) -> str:
        return " ".join(super().__str__().split())
