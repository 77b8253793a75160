"""One typed config from one TOML file, the environment and the command line; every key is checked here alone.

Precedence: command line, then FEATLAS_SECTION_KEY (`FEATLAS_SAMPLE_SEED=1`), then the file, then the default. It does
not know which explainers, scorers or models exist: their own folders do, and they refuse what they don't know.
API keys are no part of it; they come from ANTHROPIC_API_KEY and OPENAI_API_KEY where the request is sent.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path, PurePath
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

from labeling import corpora, registry
from labeling.config_values import KeyDoc, Origin, as_json, looks_secret, read_value, refuse_unknown, toml_value
from labeling.errors import UsageError
from labeling.identity import identify
from labeling.selection import EVERYTHING, Selection
from labeling.types import JSON


def _key(doc: str, default: Any = None, **rules: Any) -> Any:
    """A key of the file: what it means, its default, and the values it may have."""
    return field(default=default, metadata={"key": KeyDoc(doc, **rules)})


_SELECTION = {"key": KeyDoc('"all", "0-199", [3, 17] or "sql: select feature from ..."')}


@dataclass(frozen=True)
class FeatureSetConfig:
    """One [[features]] section: a dictionary at one place of one model, or a table of activations."""

    name: str = _key("how tables call it; made from model, hook and dictionary when left out", "", hint="minilm-l2")
    source: Literal["torch", "table"] = _key('"torch" runs a model; "table" reads activations from files', "torch")
    model: str | None = _key("folder or hub id", example="embedded/minilm")
    hook: str | None = _key("module or TransformerLens name that is read", example="encoder.layer.2")
    dictionary: str | None = _key(
        "folder, file, hf://owner/name/subfolder@revision, embedded/..., neurons",
        example="embedded/minilm-l2-2048",
    )
    format: str | None = _key("format of its files; left out: what they look like", hint="sae_lens")
    path: str | None = _key('folder of the table, when source = "table"; no corpus is read then', hint="activations/")
    device: str = _key('"auto", "cpu", "cuda", "cuda:1", "mps"', "auto")
    dtype: Literal["float32", "bfloat16", "float16"] = _key("numbers the model computes with", "float32")
    prepend_bos: bool | None = _key("start sequences with BOS; left out: as the dictionary was trained", hint=True)
    force: bool = _key("go on when the dictionary names another model or hook", False)
    max_tokens: int | None = _key("read fewer tokens than the corpus allows", at_least=1, hint=150_000)
    control_for: str | None = _key("name of the feature set this is a random-weights control for", hint="minilm-l2")


CORPUS_KEYS = ("column", "subset", "split")
"""Keys of [corpus] that only some corpora take."""


@dataclass(frozen=True)
class CorpusConfig:
    source: str = _key("embedded, files, jsonl, parquet or huggingface", "embedded")
    path: str | None = _key("file, folder or data set; the embedded corpus has none", hint="texts/")
    column: str | None = _key(
        'key or column of the text, "text" when left out; for jsonl, parquet, huggingface', hint="text"
    )
    subset: str | None = _key("part of a Hugging Face data set that has parts", hint="wikitext-2-raw-v1")
    split: str | None = _key('split of a Hugging Face data set, "train" when left out', hint="train")
    max_tokens: int = _key("stop reading after so many tokens", 1_000_000, at_least=1)

    @property
    def place(self) -> dict[str, str | None]:
        """What the corpus is made with: the path, and the other keys that are given."""
        others = {key: getattr(self, key) for key in CORPUS_KEYS}
        return {"path": self.path} | {key: value for key, value in others.items() if value is not None}


@dataclass(frozen=True)
class SampleConfig:
    window: int = _key("tokens in a window, the unit that is shown and judged", 32, at_least=2, at_most=4096)
    sequence: int = _key("tokens in one forward pass; a multiple of window", 256, at_least=2)
    top: int = _key("strongest windows kept for each feature and split", 20, at_least=1)
    reservoir: int = _key("firing windows kept at random for each feature and split", 100, at_least=1)
    seed: int = _key("every random choice of the run follows from it", 0, at_least=0, at_most=2**63 - 1)
    threads: int = _key("CPU cores to use; 0 takes the idle ones, 8 at most", 0, at_least=0)
    panel: int = _key("random windows judged for every feature", 500, at_least=1)
    shard_tokens: int = _key("tokens between two saved states; what a crash can cost", 50_000, at_least=1)
    cache_activations: bool = _key("also keep all activations as an activation table, in activations/", False)


@dataclass(frozen=True)
class LabelConfig:
    explainer: tuple[str, ...] = _key("who writes labels: one name or a list", ("token_pattern",))
    model: str | None = _key('"provider/model", for explainers that ask one', hint="anthropic/MODEL")
    prompt: str | None = _key("file with your own prompt", hint="my_prompt.md")
    labels: str | None = _key("file or folder of labels made elsewhere, for the explainer import", hint="labels.csv")
    samples: int = _key("labels that best_of_k writes for each feature, to keep the best", 5, at_least=2, at_most=50)
    features: Selection = field(default=EVERYTHING, metadata=_SELECTION)
    repeats: int = _key("labels written for each feature and explainer", 1, at_least=1)


@dataclass(frozen=True)
class ScoreConfig:
    scorers: tuple[str, ...] = _key("how labels are graded", ("pattern", "embedding"))
    model: str | None = _key('"provider/model" that judges, for scorers that ask one', hint="openai/MODEL")
    features: Selection = field(default=EVERYTHING, metadata=_SELECTION)
    controls: bool = _key("also grade labels that must score low: without them a score means little", True)
    control_features: int = _key("features that get controls, at most", 2000, at_least=1)
    windows_per_request: int = _key("windows that a judge grades in one request", 20, at_least=1, at_most=100)
    embedding_features: int = _key("features graded by the embedding scorer, drawn at random; 0 is all", 0, at_least=0)
    bootstrap: int = _key("draws behind each interval", 1000, at_least=50)
    repeats: int = _key(
        "times a language model judges the same labels, to measure how reliable it is", 2, at_least=1, at_most=20
    )
    repeat_share: float = _key("share of the features that are judged again; 0 is none", 0.1, at_least=0, at_most=0.5)


@dataclass(frozen=True)
class LLMConfig:
    mode: Literal["interactive", "batch"] = _key(
        "interactive asks at once; batch asks at half the price and answers within a day", "interactive"
    )
    wait: bool = _key("wait for batches; otherwise a later run collects them", True)
    max_in_flight: int = _key("requests under way at the same time", 64, at_least=1)
    base_url: str | None = _key("any server that speaks the provider's protocol", hint="http://localhost:8000/v1")
    max_cost: float | None = _key("stop a run before it spends more than this, US dollars", above=0, hint=5.0)
    max_requests: int | None = _key("stop a run before it sends more requests than this", at_least=1, hint=1000)
    prices: str | None = _key("file with prices of your own, over data/prices.json", hint="my_prices.json")
    retry_failed: bool = _key("ask once more for answers that could not be used", False)
    timeout_seconds: float = _key("wait so long for one answer", 120.0, above=0)
    requests_per_minute: float | None = _key("send no more; left out: what the provider says", above=0, hint=600.0)
    tokens_per_minute: float | None = _key("likewise, input and output together", above=0, hint=200_000.0)
    max_retry_after_seconds: float = _key("pause no longer, whatever the server asks for", 120.0, above=0)
    max_attempts: int = _key("times a request is sent before it counts as failed", 8, at_least=1)


@dataclass(frozen=True)
class ClusterConfig:
    neighbors: int = _key("neighbors of each feature", 10, at_least=1)
    resolution: tuple[float, ...] = _key("one clustering each; higher gives more clusters", (0.5, 1.0, 2.0), above=0)


@dataclass(frozen=True)
class Config:
    """Everything a run depends on, checked."""

    features: tuple[FeatureSetConfig, ...]
    corpus: CorpusConfig
    sample: SampleConfig
    label: LabelConfig
    score: ScoreConfig
    llm: LLMConfig
    cluster: ClusterConfig
    base_url_from: str = field(default="", compare=False)
    """Where `llm.base_url` was given, in words; for people, and no part of what was asked for."""
    kept: tuple[str, ...] = field(default=(), compare=False)
    """`key = value` of limits and modes that come from the workspace's last run; for people, too."""
    left_over: tuple[str, ...] = field(default=(), compare=False)
    """Keys of [label] that were given for the explainers of the workspace's last run, not for those of this one."""

    def as_json(self) -> dict[str, JSON]:
        """All resolved values, sections as in the file; `json.dumps` takes it."""
        sections: dict[str, JSON] = {name: as_json(getattr(self, name)) for name in SECTIONS}
        return {"features": [as_json(feature_set) for feature_set in self.features], **sections}

    @property
    def hash(self) -> str:
        """The same for two runs that were asked for the same, wherever the values came from."""
        return identify("config", **self.as_json())

    def max_tokens(self, feature_set: FeatureSetConfig) -> int:
        """Tokens to read for a feature set: its own limit, never more than the corpus's."""
        return min(self.corpus.max_tokens, feature_set.max_tokens or self.corpus.max_tokens)


SECTIONS: dict[str, type[Any]] = {
    "corpus": CorpusConfig,
    "sample": SampleConfig,
    "label": LabelConfig,
    "score": ScoreConfig,
    "llm": LLMConfig,
    "cluster": ClusterConfig,
}
ALL_SECTIONS: dict[str, type[Any]] = {"features": FeatureSetConfig, **SECTIONS}

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


def config_text(stored: str) -> str:
    """The JSON that a run stored as a config file, TOML, that `load_config` reads back. Keys without a value are left out."""
    table = json.loads(stored)
    sections = [("[[features]]", section) for section in table.get("features", [])]
    sections += [(f"[{name}]", section) for name, section in table.items() if name != "features"]
    return "\n".join(_stored_section(head, section) for head, section in sections)


def _stored_section(head: str, section: Mapping[str, JSON]) -> str:
    lines = [f"{key} = {toml_value(value)}" for key, value in section.items() if value is not None]
    return "\n".join([head, *lines]) + "\n"


def default_config_text() -> str:
    """The commented file that `featlas init` writes: every key with its meaning and its default."""
    head = "# Featlas: what to label, and how. Lines that start with # show what may be added.\n"
    tables = (_section_text(name, kind) for name, kind in ALL_SECTIONS.items())
    return "\n".join([head, *tables])


def _section_text(name: str, kind: type[Any]) -> str:
    lines = ["[[features]]" if name == "features" else f"[{name}]"]
    for key in fields(kind):
        doc: KeyDoc = key.metadata["key"]
        value = doc.example if doc.example is not None else key.default
        text = f"{key.name} = {toml_value(value)}" if doc.hint is None else f"# {key.name} = {toml_value(doc.hint)}"
        lines.append(f"{text:<44} # {doc.doc}")
    return "\n".join(lines) + "\n"


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
    places = _Places(origin, {f"{section}.{key}": source for section, key, _, source in given})
    config = Config(
        features=_feature_sets(table.get("features"), origin, layers["features"]),
        base_url_from=places.of("llm.base_url"),
        kept=_kept(table.get("llm", {}), places),
        left_over=tuple(key for key in ("prompt", "labels") if places.of(f"label.{key}") == LAST_RUN),
        **sections,
    )
    _cross_check(config, places)
    return config


def _kept(llm: Mapping[str, JSON], places: _Places) -> tuple[str, ...]:
    keys = ("mode", "max_cost", "max_requests")
    return tuple(
        f"llm.{key} = {llm[key]}"
        for key in keys
        if places.of(f"llm.{key}") == LAST_RUN and llm.get(key) not in (None, LLMConfig().mode)
    )


@dataclass(frozen=True)
class _Places:
    """Where values come from, for messages."""

    file: str
    elsewhere: Mapping[str, str]
    """`section.key` to where it was given, for values that stand over the file's."""

    def of(self, *keys: str) -> str:
        return next((self.elsewhere[key] for key in keys if key in self.elsewhere), self.file)


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
        _check_feature_set(feature_set, where)
        sets.append(feature_set if feature_set.name else _named(feature_set))
    return tuple(sets)


def _check_feature_set(feature_set: FeatureSetConfig, where: str) -> None:
    needed = ("model", "dictionary") if feature_set.source == "torch" else ("path",)
    for key in needed:
        if getattr(feature_set, key) is None:
            raise UsageError(f'{where}: source = "{feature_set.source}" needs the key {key!r}. Add it.')
    if feature_set.source == "torch" and feature_set.path is not None:
        raise UsageError(f'{where}: path is {feature_set.path!r}, but only source = "table" has a path. Remove one.')
    if feature_set.name and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", feature_set.name):
        raise UsageError(
            f"{where}: name is {feature_set.name!r}; allowed: 1 to 80 letters, digits, '.', '_' and '-', "
            "starting with a letter or digit."
        )


def _named(feature_set: FeatureSetConfig) -> FeatureSetConfig:
    values = {key: getattr(feature_set, key) for key in _keys(FeatureSetConfig)}
    keys = ("path",) if feature_set.source == "table" else ("model", "hook", "dictionary")
    parts = (PurePath(values[key]).name for key in keys if values[key] is not None)
    name = "-".join(re.sub(r"[^A-Za-z0-9._-]+", "-", part).strip("-._") for part in parts)
    return FeatureSetConfig(**values | {"name": name[:80].strip("-._") or "features"})


def _cross_check(config: Config, places: _Places) -> None:
    names = [feature_set.name for feature_set in config.features]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{places.file}: two [[features]] sections are named {name!r}. Give each its own `name`.")
    real = [feature_set.name for feature_set in config.features if feature_set.control_for is None]
    for feature_set in config.features:
        if feature_set.control_for is not None and feature_set.control_for not in real:
            raise UsageError(
                f"{places.file}: [[features]] {feature_set.name!r} has control_for = {feature_set.control_for!r}; "
                f"allowed: a feature set that is no control itself ({', '.join(real) or 'there is none'})."
            )
    if config.sample.sequence % config.sample.window:
        raise UsageError(
            f"{places.of('sample.window', 'sample.sequence')}: "
            f"sample.sequence is {config.sample.sequence}, sample.window is {config.sample.window}; "
            "allowed: a sequence that holds whole windows, such as window 32 and sequence 256."
        )
    _check_corpus(config.corpus, places)
    _check_llm(config, places)


def _check_corpus(corpus: CorpusConfig, places: _Places) -> None:
    refuse_unknown("corpus.source", [corpus.source], registry.names(corpora), where=places.of("corpus.source"))
    if corpus.source == "embedded" and corpus.path is not None:
        raise UsageError(
            f"{places.of('corpus.path')}: the embedded corpus has no path, but corpus.path is {corpus.path!r}. Remove it."
        )
    if corpus.source != "embedded" and corpus.path is None:
        raise UsageError(
            f"{places.of('corpus.source')}: corpus.source = {corpus.source!r} needs corpus.path: where the text is."
        )
    taken = registry.settings_of(corpora, corpus.source, kind="corpus")
    for key in sorted(corpus.place.keys() - {*taken, "path"}):
        known = ", ".join(key for key in CORPUS_KEYS if key in taken) or "none"
        raise UsageError(
            f"{places.of(f'corpus.{key}')}: corpus.{key} is {getattr(corpus, key)!r}, but corpus.source = {corpus.source!r} "
            f"does not take it; of {', '.join(CORPUS_KEYS)} it takes: {known}. Remove it."
        )


def _check_llm(config: Config, places: _Places) -> None:
    for name, model in (("label.model", config.label.model), ("score.model", config.score.model)):
        if model is not None and not re.fullmatch(r"[a-z_]+/\S+", model):
            raise UsageError(
                f"{places.of(name)}: {name} is {model!r}; allowed: provider/model, such as 'openai/NAME-OF-MODEL'."
            )
    if config.llm.mode != "batch" and not config.llm.wait:
        raise UsageError(
            f"{places.of('llm.wait', 'llm.mode')}: llm.wait is false (--no-wait), llm.mode is {config.llm.mode!r}; only "
            "batches can be left to a later run. Add --mode batch, or leave --no-wait out: requests are then sent at once."
        )
    url = config.llm.base_url
    if url is None:
        return
    try:
        parts = urlsplit(url)
        hidden = "@" in parts.netloc or any(looks_secret(name) for name, _ in parse_qsl(parts.query))
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        hidden, usable = "@" in url, False
    if hidden:  # the address is not repeated: it holds a secret
        raise UsageError(
            f"{places.of('llm.base_url')}: "
            "llm.base_url holds a user name, password or key; the config is stored with every run, so none "
            "may stand in it. Give the address alone, and the key in ANTHROPIC_API_KEY or OPENAI_API_KEY."
        )
    if not usable:
        raise UsageError(
            f"{places.of('llm.base_url')}: llm.base_url is {url!r}; allowed: http://host:port/path or https://..."
        )
