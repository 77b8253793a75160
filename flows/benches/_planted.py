"""Features whose truth is known, planted in a corpus: each fires on one word. For benches that judge labels.

The label is the word itself. Windows are cut with the embedded model's tokenizer, 32 tokens each, as in a run.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from flows.sources import group_feature_sets, open_source
from labeling import corpora
from labeling.config_files import demo_config
from labeling.errors import UsageError
from labeling.feature_evidence import count_background
from labeling.registry import create
from labeling.types import (
    QUANTILES,
    Contexts,
    Document,
    Evidence,
    FeatureInfo,
    IntArray,
    JudgeTask,
    Label,
    Windows,
)
from labeling.windows import cut_windows, load_windows
from labeling.workspace import Workspace

WORD = re.compile(r"[^\W\d_]{3,}")
JUDGED = 50
"""Windows judged of those that fire, and of those that are silent."""
TOP, SPREAD = 20, 100


@dataclass(frozen=True)
class Planted:
    """Windows to write labels from, others to judge, and the words that are features."""

    explain: Windows
    score: Windows
    words: tuple[str, ...]
    seed: int

    def evidence(self, feature: int) -> Evidence:
        """What an explainer would see: activations are random, larger than 0 where the word stands."""
        rng = np.random.default_rng([self.seed, feature])
        firing, silent = rows_with(self.explain, self.words[feature], rng)
        firing, silent = firing[: TOP + SPREAD], silent[:24]
        strength = np.sort(rng.lognormal(size=len(firing)))[::-1].astype(np.float32)
        rows = np.concatenate([firing, silent])
        activations = np.zeros((len(rows), self.explain.width), np.float32)
        for i, row in enumerate(firing):
            activations[i, _positions(self.explain, int(row), self.words[feature])] = strength[i]
        spread = np.array(QUANTILES[::-1])[np.arange(len(firing) - TOP) * len(QUANTILES) // max(len(firing) - TOP, 1)]
        stratum = np.concatenate([["top"] * TOP, spread, ["random"] * len(silent)])
        counts = np.full(len(rows), len(rows))
        contexts = Contexts(rows, stratum, counts, counts, activations.max(axis=1), activations)
        return Evidence(self._info(feature, float(strength[0])), contexts, self.explain, count_background(self.explain))

    def task(self, feature: int) -> JudgeTask:
        """As many firing as silent windows, to be judged by the word."""
        firing, silent = rows_with(self.score, self.words[feature], np.random.default_rng([self.seed, feature, 1]))
        rows = np.concatenate([firing[:JUDGED], silent[:JUDGED]])
        activations = np.zeros((len(rows), self.score.width), np.float32)
        activations[: len(firing[:JUDGED]), 0] = 1
        return JudgeTask(feature, Label(self.words[feature]), rows, activations, self.seed)

    def _info(self, feature: int, maximum: float) -> FeatureInfo:
        some = {"explain": 100, "select": 100, "score": 100}
        return FeatureInfo("planted", "planted", feature, "ok", 0.01, maximum, 0.01, some, some)  # type: ignore[arg-type]


def plant(*, corpus: str | None, features: int, tokens: int, seed: int) -> Planted:
    """Plant features in the embedded corpus or in the text at a path. Raise UsageError when it holds too few words."""
    explain, score = _read_windows(corpus, tokens, seed)
    words = _frequent_words(explain, TOP + 10) & _frequent_words(score, JUDGED)
    if len(words) < features:
        raise UsageError(
            f"{'The embedded corpus' if corpus is None else f'The text at {corpus}'} has {len(words)} words that stand in "
            f"at least {TOP + 10} of {len(explain):,} windows and in at least {JUDGED} of {len(score):,} others, and in a "
            f"tenth of them at most; {features} are needed. Give --corpus more text: about {tokens:,} tokens."
        )
    chosen = np.random.default_rng(seed).permutation(sorted(words))[:features]
    return Planted(explain, score, tuple(str(word) for word in chosen), seed)


def contains(word: str, text: str) -> bool:
    """Whether the feature of a word fires in a text."""
    return word in {found.lower() for found in WORD.findall(text)}


def rows_with(windows: Windows, word: str, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
    """Rows that hold the word, and those that don't, each shuffled."""
    holds = np.array([contains(word, text) for text in windows.text])
    return rng.permutation(np.flatnonzero(holds)), rng.permutation(np.flatnonzero(~holds))


def _positions(windows: Windows, row: int, word: str) -> list[int]:
    """Tokens of a window that are part of the word."""
    spans = [match.span() for match in WORD.finditer(windows.text[row]) if match[0].lower() == word]
    return [
        position
        for position in range(int(windows.n_tokens[row]))
        if any(start <= windows.starts[row, position] < end for start, end in spans)
    ]


def _frequent_words(windows: Windows, at_least: int) -> set[str]:
    """Words in so many windows at least, and in a tenth of them at most."""
    counts: dict[str, int] = defaultdict(int)
    for text in windows.text:
        for word in {found.lower() for found in WORD.findall(text)}:
            counts[word] += 1
    return {word for word, count in counts.items() if at_least <= count <= max(at_least, len(windows) // 10)}


def _read_windows(corpus: str | None, tokens: int, seed: int) -> tuple[Windows, Windows]:
    config = demo_config(environment={}, overrides={})
    source = open_source(group_feature_sets(config, threads=1)[0], Workspace(Path()))  # which a model does not use
    name = "embedded" if corpus is None else "files"
    read, size = [], 0
    for documents in _blocks(create(corpora, name, kind="corpus", path=corpus).documents()):
        tokenized = source.tokenize(documents)
        size += sum(len(document.token_ids) for document in tokenized)
        read += tokenized
        if size >= tokens:
            break
    windows = cut_windows(read, corpus_id="bench", width=config.sample.window, seed=seed)
    windows = windows.filter(windows["n_tokens"].cum_sum() <= tokens)
    # By turns, not by document: a folder may hold two long files, and nothing is learned from the words here.
    explain, score = (load_windows(windows.filter(windows["window_id"] % 2 == half)) for half in (0, 1))
    return explain, score


def _blocks(documents: Iterator[Document]) -> Iterator[Sequence[Document]]:
    while block := list(islice(documents, 64)):
        yield block
