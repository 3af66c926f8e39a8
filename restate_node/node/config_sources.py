"""Merges file, environment and flags into one tree of raw values; the later one wins.

    file (TOML)  <  RESTATE_A__B_C  <  --flag

pydantic-settings does the merging, over a model that is generated from the option classes. Every
field of that model is `Any`: values stay as they were written, because our own messages name the
key, the place and the remedy, and because aliases in kebab case break its `env_prefix`. Keys are
therefore turned to snake case on the way in and back to kebab case on the way out.

It is imported only here and only while loading: measured, it adds 8.6 MB to the resident memory of
a node that has imported everything else it needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from restate_node.node.config_keys import known_keys, normalised

ENVIRONMENT_PREFIX = "RESTATE_"


def merged(
    file: Mapping[str, Any], environ: Mapping[str, str], flags: Mapping[str, Any]
) -> dict[str, Any]:
    """One tree with kebab keys, of the values that were given; unknown keys are left out.

    The caller MUST have refused values that stand where a table belongs.
    """
    from pydantic_settings import (
        BaseSettings,
        EnvSettingsSource,
        InitSettingsSource,
        PydanticBaseSettingsSource,
        SettingsConfigDict,
    )

    class Environment(EnvSettingsSource):
        """Reads the mapping that it is given instead of the process's environment."""

        def _load_env_vars(self) -> Mapping[str, str | None]:
            return {key.lower(): value for key, value in environ.items()}

    class Merge(BaseSettings):
        """Decides which sources there are, and their order."""

        model_config = SettingsConfigDict(
            env_prefix=ENVIRONMENT_PREFIX, env_nested_delimiter="__", extra="ignore"
        )

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (
                InitSettingsSource(settings_cls, _snake(flags)),
                Environment(settings_cls),
                InitSettingsSource(settings_cls, _snake(file)),
            )

    found = _model("Node", shape(), Merge)()
    return normalised(found.model_dump(exclude_unset=True))


def shape() -> dict[str, Any]:
    """Key -> None for every value, key -> shape for every table, as keys stand in a file."""
    found: dict[str, Any] = {}
    for dotted in known_keys():
        *tables, name = dotted.split(".")
        inner = found
        for key in tables:
            inner = inner.setdefault(key, {})
        inner[name] = None
    return found


def _model(name: str, keys: Mapping[str, Any], base: Any = None) -> Any:
    """A model with the keys as fields, all optional and of any type."""
    from pydantic import ConfigDict, create_model

    fields: dict[str, Any] = {}
    for key, nested in keys.items():
        field = _identifier(key)
        inner: Any = Any if nested is None else _model(f"{name}_{field}", nested) | None
        fields[field] = (inner, None)
    if base is not None:
        return create_model(name, __base__=base, **fields)
    return create_model(name, __config__=ConfigDict(extra="ignore"), **fields)


def _snake(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {
        _identifier(key): (
            _snake(cast("dict[str, Any]", value)) if isinstance(value, dict) else value
        )
        for key, value in tree.items()
    }


def _identifier(key: str) -> str:
    return key.replace("-", "_")
