"""Everything a run depends on: sections and keys, what they mean, their defaults and the values they may have.

From the keys alone also the commented file that people start from. `config_files.py` reads values, `config_checks.py`
holds them against each other. API keys are no part of it; they come from ANTHROPIC_API_KEY and OPENAI_API_KEY where the
request is sent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from labeling.config_values import KeyDoc, as_json, toml_value
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
    bootstrap: int = _key("draws behind each interval; at most 200 where one is dear", 1000, at_least=50)
    logprobs: bool = _key("use a judge's log-probabilities where the provider gives them (simulation)", True)
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
