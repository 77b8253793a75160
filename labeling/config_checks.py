"""Values of a config that are right alone but not together, and those whose rules are more than a range.

Messages name the place where a value was given, the value, and what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from labeling import corpora, registry
from labeling.config import CORPUS_KEYS, Config, CorpusConfig, FeatureSetConfig
from labeling.config_values import looks_secret, refuse_unknown
from labeling.errors import UsageError


@dataclass(frozen=True)
class Places:
    """Where values come from, for messages."""

    file: str
    elsewhere: Mapping[str, str]
    """`section.key` to where it was given, for values that stand over the file's."""

    def of(self, *keys: str) -> str:
        return next((self.elsewhere[key] for key in keys if key in self.elsewhere), self.file)


def check_feature_set(feature_set: FeatureSetConfig, where: str) -> None:
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


def cross_check(config: Config, places: Places) -> None:
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


def _check_corpus(corpus: CorpusConfig, places: Places) -> None:
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


def _check_llm(config: Config, places: Places) -> None:
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
