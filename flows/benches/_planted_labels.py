"""Labels of planted features beside the truth: what windows each covers, how well, and which claim it comes nearest to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from evals.planted.baselines import holding, token_table
from evals.planted.extents import BoolArray
from evals.planted.oracle import agreement
from evals.planted.ranking import KINDS
from evals.planted.reader import Reader
from flows.benches._planted_judged import label_table
from flows.benches._planted_workspace import Planted, learn, token_ranges
from labeling.feature_table import MIN_SCORE_WINDOWS
from labeling.patterns import Pattern, log_odds
from labeling.store import Store
from labeling.types import TAU_SHARE
from labeling.workspace import Workspace

CLASSES = ("true", "broad", "narrow", "sibling", "trap", "context_dropped", "unrelated", "generic")
NEAREST_MCC = 0.3
"""A label that agrees with no claim better than this is nearest to none."""
AS_GOOD = 0.02
"""Loss of MCC below the true label's up to which a label is as good as the truth."""


@dataclass(frozen=True)
class Verdicts:
    """How good the labels of one explainer are, over the features that have enough windows."""

    n_features: int
    n_labels: int
    """Labels whose windows are known exactly."""
    mcc: float
    """Mean over those labels of the MCC with the windows that fire."""
    f1: float
    as_good: float
    """Share that is as good as the true label."""
    nearest: Mapping[str, float] = field(default_factory=dict)
    """Share of the labels that come nearest to each kind of claim, or to none."""
    weighted_correlation: float | None = None
    """Mean over all judged labels, by the model that wrote them; None: nobody judged."""
    headline: float | None = None


def make_reader(planted: Planted) -> Reader:
    """A reader who knows every claim in the windows that explainers are shown."""
    facts = next(iter(planted.facts.values()))
    knowledge = learn(planted.root, facts.corpus_id, "explain", planted.text, planted.features, planted.concepts)
    texts = {
        text for name in planted.features for texts in label_table(planted.features[name]) for text in _claims(texts)
    }
    return Reader(knowledge, {text: knowledge.meanings[text].covered for text in sorted(texts)})


def _claims(texts: Sequence[str]) -> list[str]:
    """Labels that say where they hold; of the true one its first wording."""
    return [texts[KINDS.index(kind)] for kind in CLASSES if texts[KINDS.index(kind)]]


def verdicts(planted: Planted, feature_set: str, explainer: str) -> Verdicts:
    """Labels that the workspace holds from an explainer."""
    sample = planted.samples[feature_set].sample_id
    with Store(Workspace(planted.root)) as store:
        rows = store.read("explanations", sample_id=sample, explainer=explainer, state="labeled")
        scores = store.read("scores", sample_id=sample, explainer=explainer, scorer="detection", tau=TAU_SHARE)
    covered = {
        feature: windows
        for feature, text, pattern in rows.select("feature", "text", "pattern").iter_rows()
        if (windows := _covered(planted, text, pattern)) is not None
    }
    found = judge_extensions(planted, feature_set, covered)
    if scores.is_empty():
        return found
    means = {
        metric: scores.filter((pl.col("metric") == metric) & pl.col("control").is_null())["value"].mean()
        for metric in ("weighted_correlation", "headline")
    }
    return Verdicts(**{**vars(found), **means})


def _covered(planted: Planted, text: str, pattern: str | None) -> BoolArray | None:
    """Windows in which a label holds: where its pattern expects firing, or where a known claim says so; None: unknown."""
    if pattern is not None:
        windows = planted.windows
        odds: BoolArray = log_odds(Pattern.from_json(json.loads(pattern)), windows, np.arange(len(windows))) > 0
        return odds
    known = planted.knowledge.meanings.get(text)
    return None if known is None else known.covered


def judge_extensions(planted: Planted, feature_set: str, covered: Mapping[int, BoolArray]) -> Verdicts:
    """Compare windows in which labels hold with those that fire, and with those of every claim."""
    population = planted.populations[feature_set]
    scorable = np.flatnonzero(population.fires.sum(axis=1) >= MIN_SCORE_WINDOWS)
    labels = label_table(planted.features[feature_set])
    fits, losses, nearest = [], [], []
    for feature in scorable.tolist():
        if feature not in covered:
            continue
        fires = population.fires[feature]
        fit = agreement(fires, covered[feature])
        fits.append(fit)
        losses.append(agreement(fires, planted.knowledge.meanings[labels[feature][0]].covered).mcc - fit.mcc)
        nearest.append(_nearest(planted, labels[feature], covered[feature]))
    return Verdicts(
        n_features=len(scorable),
        n_labels=len(fits),
        mcc=_mean([fit.mcc for fit in fits]),
        f1=_mean([fit.f1 for fit in fits]),
        as_good=_mean([loss <= AS_GOOD for loss in losses]),
        nearest={kind: nearest.count(kind) / len(nearest) for kind in (*CLASSES, "none") if kind in nearest},
    )


def _nearest(planted: Planted, texts: Sequence[str], covered: BoolArray) -> str:
    """Kind of the claim whose windows are most like the label's."""
    best, kind = NEAREST_MCC, "none"
    for candidate in CLASSES:
        text = texts[KINDS.index(candidate)]
        if not text:
            continue
        alike = _alike(covered, planted.knowledge.meanings[text].covered)
        if alike > best:
            best, kind = alike, candidate
    return kind


def _alike(one: BoolArray, other: BoolArray) -> float:
    """MCC; 1 for two that are true everywhere, for which it is not defined."""
    return 1.0 if (one == other).all() else float(np.nan_to_num(agreement(one, other).mcc))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def baselines(planted: Planted, feature_set: str, *, seed: int) -> dict[str, Verdicts]:
    """What labels are worth that need no explainer: the truth itself, a table of tokens, and three that know nothing."""
    meanings, labels = planted.knowledge.meanings, label_table(planted.features[feature_set])
    everywhere = np.ones(len(planted.windows), np.bool_)
    n = len(labels)
    shift = np.random.default_rng(seed).permutation(n)
    other = np.roll(shift, 1)[np.argsort(shift)]
    found = {
        "truth": {f: meanings[labels[f][0]].covered for f in range(n)},
        "token table": _token_tables(planted, feature_set),
        "random label": {f: meanings[labels[other[f]][0]].covered for f in range(n)},
        "generic label": dict.fromkeys(range(n), everywhere),
        "always no": dict.fromkeys(range(n), ~everywhere),
    }
    return {name: judge_extensions(planted, feature_set, covered) for name, covered in found.items()}


def _token_tables(planted: Planted, feature_set: str) -> dict[int, BoolArray]:
    """Windows with a token from each feature's table, which is made from the split `explain`."""
    corpus_id = planted.facts[feature_set].corpus_id
    token = np.concatenate([np.array(d.token_ids, np.int64) for d in planted.text.documents])
    shown_first, shown_end = token_ranges(planted.root, corpus_id, "explain", planted.text)
    change = np.zeros(len(token) + 1, np.int64)
    np.add.at(change, shown_first, 1)
    np.add.at(change, shown_end, -1)
    seen = change[:-1].cumsum() > 0
    first, end = token_ranges(planted.root, corpus_id, "score", planted.text)
    return {
        feature: holding(token_table(token, active.token, seen=seen), token, first=first, end=end)
        for feature, active in enumerate(planted.activations[feature_set])
    }
