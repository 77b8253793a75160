"""One typed config from one TOML file, the environment and the command line.

Precedence: command line, then FEATLAS_SECTION_KEY (`FEATLAS_SAMPLE_SEED=1`), then the file, then the default. It does
not know which explainers, scorers or models exist: their own folders do, and they refuse what they don't know.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path, PurePath
from typing import Any

from labeling.config import ALL_SECTIONS, SECTIONS, Config, FeatureSetConfig, LLMConfig
from labeling.config_checks import Places, check_feature_set, cross_check
from labeling.config_values import Origin, read_value, refuse_unknown
from labeling.errors import UsageError
from labeling.types import JSON

LAST_RUN = "the config of the workspace's last run"

DEMO: dict[str, JSON] = {
    "features": [
        {
            "name": "minilm-l2",
            "model": "embedded/minilm",
            "hook": "encoder.layer.2",
            "dictionary": "embedded/minilm-l2-2048",
        },
        {
            "name": "minilm-l2-random",
            "model": "embedded/minilm-random",
            "hook": "encoder.layer.2",
            "dictionary": "embedded/minilm-random-l2-512",
            "max_tokens": 150_000,
            "control_for": "minilm-l2",
        },
    ],
    "corpus": {"max_tokens": 300_000},
    "sample": {"shard_tokens": 25_000},
    "score": {"embedding_features": 300, "bootstrap": 400},
}


def load_config(path: Path, *, environment: Mapping[str, str], overrides: Mapping[str, object]) -> Config:
    """Read and check a config file. `overrides` are options of the command line, as `{"sample.seed": 1}`.

    Raise UsageError that names where a value stands, the value, and what is allowed.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"There is no config file at {path}. `featlas init` writes one to start from.") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        message = f"{path} can't be read as a TOML file: {error}. Mend it, or start from `featlas init`."
        raise UsageError(message) from None
    return _resolve(table, origin=str(path), environment=environment, overrides=overrides)


def demo_config(*, environment: Mapping[str, str], overrides: Mapping[str, object]) -> Config:
    """The embedded demo: a real model, its random-weights control, no key and no network."""
    return _resolve(DEMO, origin="the demo", environment=environment, overrides=overrides)


def restore_config(
    stored: str, *, environment: Mapping[str, str], overrides: Mapping[str, object], origin: str = LAST_RUN
) -> Config:
    """Read a config back from the JSON that a run stored. The environment and options count as for a file."""
    table = json.loads(stored)
    known: dict[str, JSON] = {
        name: {key: value for key, value in section.items() if value is not None}
        for name, section in table.items()
        if name != "features"
    }
    known["features"] = [{k: v for k, v in section.items() if v is not None} for section in table["features"]]
    return _resolve(known, origin=origin, environment=environment, overrides=overrides)


def _resolve(
    table: Mapping[str, JSON], *, origin: str, environment: Mapping[str, str], overrides: Mapping[str, object]
) -> Config:
    refuse_unknown("section", table, ALL_SECTIONS, where=origin)
    given = [*_environment_values(environment), *_override_values(overrides)]
    layers = {name: [layer for layer in given if layer[0] == name] for name in ALL_SECTIONS}
    sections = {
        name: _section(kind, table.get(name, {}), where=f"{origin}, [{name}]", above=layers[name])
        for name, kind in SECTIONS.items()
    }
    places = Places(origin, {f"{section}.{key}": source for section, key, _, source in given})
    config = Config(
        features=_feature_sets(table.get("features"), origin, layers["features"]),
        base_url_from=places.of("llm.base_url"),
        kept=_kept(table.get("llm", {}), places),
        left_over=tuple(key for key in ("prompt", "labels") if places.of(f"label.{key}") == LAST_RUN),
        **sections,
    )
    cross_check(config, places)
    return config


def _kept(llm: Mapping[str, JSON], places: Places) -> tuple[str, ...]:
    keys = ("mode", "max_cost", "max_requests")
    return tuple(
        f"llm.{key} = {llm[key]}"
        for key in keys
        if places.of(f"llm.{key}") == LAST_RUN and llm.get(key) not in (None, LLMConfig().mode)
    )


Layer = tuple[str, str, object, str]
"""Section, key, value, and where the value comes from."""


def _environment_values(environment: Mapping[str, str]) -> list[Layer]:
    found: list[Layer] = []
    for variable, value in sorted(environment.items()):
        section, _, key = variable.removeprefix("FEATLAS_").lower().partition("_")
        if not variable.startswith("FEATLAS_") or not value:
            continue
        # other variables, FEATLAS_WORKSPACE say, are no keys; a near miss of a section is a slip
        if get_close_matches(section, ALL_SECTIONS, n=1, cutoff=0.75):
            refuse_unknown("section", [section], ALL_SECTIONS, where=f"environment variable {variable}")
            refuse_unknown("key", [key], _keys(ALL_SECTIONS[section]), where=f"environment variable {variable}")
            found.append((section, key, value, f"environment variable {variable}"))
    return found


def _override_values(overrides: Mapping[str, object]) -> list[Layer]:
    found: list[Layer] = []
    for name, value in overrides.items():
        section, _, key = name.partition(".")
        refuse_unknown("section", [section], ALL_SECTIONS, where="the command line")
        refuse_unknown("key", [key], _keys(ALL_SECTIONS[section]), where=f"the command line, {section}")
        found.append((section, key, value, "the command line"))
    return found


def _keys(kind: type[Any]) -> list[str]:
    return [key.name for key in fields(kind)]


def _section(kind: type[Any], table: object, *, where: str, above: Sequence[Layer]) -> Any:
    """One section as its dataclass. `above` are values that stand over the file's, weakest first."""
    if not isinstance(table, Mapping):
        raise UsageError(
            f"{where}: a section is needed here, not {table!r}. Write its name in brackets, then its keys."
        )
    refuse_unknown("key", table, _keys(kind), where=where)
    values = {key: (value, Origin(where, key)) for key, value in table.items()}
    values |= {key: (value, Origin(source, f"{section}.{key}", text=True)) for section, key, value, source in above}
    return kind(**{key: read_value(kind, key, value, origin) for key, (value, origin) in values.items()})


def _feature_sets(tables: object, origin: str, layers: Sequence[Layer]) -> tuple[FeatureSetConfig, ...]:
    if not isinstance(tables, list) or not tables:
        raise UsageError(
            f"{origin}: it has no [[features]] section, so there is nothing to label. "
            "Add one with model, hook and dictionary; `featlas init` shows how."
        )
    sets = []
    for number, table in enumerate(tables, start=1):
        where = f"{origin}, [[features]] number {number}"
        feature_set: FeatureSetConfig = _section(FeatureSetConfig, table, where=where, above=layers)
        check_feature_set(feature_set, where)
        sets.append(feature_set if feature_set.name else _named(feature_set))
    return tuple(sets)


def _named(feature_set: FeatureSetConfig) -> FeatureSetConfig:
    values = {key: getattr(feature_set, key) for key in _keys(FeatureSetConfig)}
    keys = ("path",) if feature_set.source == "table" else ("model", "hook", "dictionary")
    parts = (PurePath(values[key]).name for key in keys if values[key] is not None)
    name = "-".join(re.sub(r"[^A-Za-z0-9._-]+", "-", part).strip("-._") for part in parts)
    return FeatureSetConfig(**values | {"name": name[:80].strip("-._") or "features"})
