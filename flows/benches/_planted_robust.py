"""How far the headline of a true label moves when nothing that matters changes: wording, windows, requests, judge."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evals.items import Items
from evals.planted.concepts import PARAPHRASES
from evals.planted.judges import Judge
from evals.planted.ranking import Scores
from flows.benches._planted_grades import SampledWindows, ask, score
from flows.benches._planted_judged import OURS, JudgedSet
from flows.benches._planted_workspace import Planted
from labeling.types import STRATA, IntArray

TOP = STRATA.index("top")
BATCHES = (1, 5, 20)
"""Windows in a request."""


def wording_change(sets: Sequence[JudgedSet], judge: str) -> float:
    """Mean absolute difference of two wordings of the true label."""
    true = np.concatenate([s.scores[judge, OURS][:, :PARAPHRASES] for s in sets])
    return mean_change(true[:, [0, 0, 1]], true[:, [1, 2, 2]])


def judge_change(sets: Sequence[JudgedSet], one: str, other: str) -> float:
    """Mean absolute difference of two judges of the same true labels on the same windows."""
    pair = [np.concatenate([s.scores[judge, OURS][:, :PARAPHRASES] for s in sets]) for judge in (one, other)]
    return mean_change(*pair)


def window_change(planted: Planted, sets: Sequence[JudgedSet], judge: Judge, *, seed: int) -> float:
    """Mean absolute difference of the headline of the first wording when windows are drawn again from the same strata."""
    before = np.concatenate([s.scores[judge.name, OURS][:, 0] for s in sets])
    after = np.concatenate([_on_other_windows(planted, s, judge, seed) for s in sets])
    return mean_change(before, after)


def batch_changes(planted: Planted, judged: JudgedSet, judge: Judge) -> dict[int, float]:
    """The same between each smaller one of BATCHES and the largest, which is the default."""
    labels = [[texts[0]] for texts in judged.labels]
    found = {}
    for size in BATCHES:
        answers = ask(planted, judged.sampled, labels, {judge.name: judge}, windows_per_request=size)[judge.name]
        found[size] = _headline(judged.sampled, answers.grades[:, 0])
    usual = found.pop(BATCHES[-1])
    return {size: mean_change(headline, usual) for size, headline in found.items()}


def mean_change(one: Scores, other: Scores) -> float:
    """Mean absolute difference where both have a value; NaN where none has."""
    change = np.abs(one - other)
    return float(np.nanmean(change)) if (~np.isnan(change)).any() else float("nan")


def _headline(sampled: SampledWindows, grades: np.ndarray) -> Scores:
    table = score(sampled, grades, intervals=False)
    headline: Scores = table.value[table.row("headline")]
    return headline


def _on_other_windows(planted: Planted, judged: JudgedSet, judge: Judge, seed: int) -> Scores:
    """[F] headlines; a judge without habits says of a window what it says in any company."""
    row = _drawn_again(planted, judged, seed)
    activation = np.take_along_axis(planted.populations[judged.name].activation, np.maximum(row, 0), axis=1)
    items: Items = judged.sampled.items
    moved = Items(**{**vars(items), "activation": np.where(row >= 0, activation, items.activation)})
    grades = np.full(row.shape, np.nan, np.float32)
    for feature, texts in enumerate(judged.labels):
        known = row[feature] >= 0
        grades[feature, known] = judge.grades(texts[0], row[feature, known]) / 100
    return _headline(SampledWindows(judged.sampled.contexts, moved, row), grades)


def _drawn_again(planted: Planted, judged: JudgedSet, seed: int) -> IntArray:
    """[F, n] rows as many as before from each stratum; -1 for the strongest windows, which no headline rests on."""
    population, stratum = planted.populations[judged.name], judged.sampled.items.stratum
    row = np.full(stratum.shape, -1, np.int64)
    for feature, of in enumerate(stratum):
        generator = np.random.default_rng([seed, 7, feature])
        for code in set(of.tolist()) - {-1, TOP}:
            places = np.flatnonzero(of == code)
            drawn = generator.permutation(population.rows(feature, (code,)))[: len(places)]
            row[feature, places[: len(drawn)]] = drawn
    return row
