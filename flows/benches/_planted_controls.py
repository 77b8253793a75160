"""Controls on planted features: shuffled labels against a pooled null, a contrary judge, one that fails, one without label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evals.controls import assign_controls, benjamini_hochberg, density_terciles, pooled_p_values
from evals.groups import score_groups
from evals.metrics import METRICS, MetricTable
from evals.planted.features import MAIN_SHAPES
from evals.planted.judges import Judge, fail
from flows.benches._planted_grades import Asked, ask, score
from flows.benches._planted_judged import OURS, JudgedSet
from flows.benches._planted_workspace import Planted

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Significance:
    """Shares of labels with q below 0.05."""

    shuffled: float
    true: float
    n_null: int
    """Scores of shuffled labels in the smallest third."""


@dataclass(frozen=True)
class Blind:
    """A judge that gets no label: what it scores over all features."""

    mean: float
    low: float
    high: float
    share_containing: float
    """Share of single features whose interval holds 0.5."""


def significance(
    planted: Planted, sets: Sequence[JudgedSet], judge: Judge, *, null_draws: int, seed: int
) -> Significance:
    """Compare true and shuffled labels of the main shapes with shuffled labels of all of them.

    `null_draws` are the shuffled labels in each third of the features by density, at least.
    """
    main = [s for s in sets if s.name in MAIN_SHAPES]
    rate = np.concatenate([planted.facts[s.name].features.sort("feature")["firing_rate"].to_numpy() for s in main])
    tercile = density_terciles(rate)
    repeats = -(-null_draws // max(int(np.bincount(tercile).min()), 1)) + 1
    shuffled = np.concatenate([_shuffled_scores(planted, s, judge, repeats, seed) for s in main])
    null, fresh = shuffled[:, 1:], shuffled[:, 0]
    true = np.concatenate([s.scores[judge.name, OURS][:, 0] for s in main])
    null_tercile = np.repeat(tercile, null.shape[1])
    q = [benjamini_hochberg(pooled_p_values(scores, tercile, null.ravel(), null_tercile)) for scores in (fresh, true)]
    known = ~np.isnan(null.ravel())
    shares = [float((some[~np.isnan(some)] < SIGNIFICANT).mean()) for some in q]
    return Significance(shuffled=shares[0], true=shares[1], n_null=int(np.bincount(null_tercile[known]).min()))


def _shuffled_scores(planted: Planted, judged: JudgedSet, judge: Judge, repeats: int, seed: int) -> np.ndarray:
    """[F, repeats] headlines of other features' labels; a feature's own is never among them."""
    n = len(judged.features)
    rate = planted.facts[judged.name].features.sort("feature")["firing_rate"].to_numpy()
    source = np.zeros((n, repeats), np.int64)
    for repeat in range(repeats):
        assigned = assign_controls(
            np.arange(n),
            firing_rate=rate,
            neighbors=np.full((n, 1), -1),
            labeled=np.ones(n, np.bool_),
            limit=n,
            generator=np.random.default_rng([seed, repeat]),
        )["shuffled"]
        assert assigned.source is not None
        source[assigned.feature, repeat] = assigned.source
    labels = [[judged.labels[other][0] for other in row] for row in source]
    answers = ask(planted, judged.sampled, labels, {judge.name: judge})[judge.name]
    return np.stack(
        [
            table.value[table.row("headline")]
            for table in (score(judged.sampled, answers.grades[:, i], intervals=False) for i in range(repeats))
        ],
        axis=1,
    )


def true_label_table(planted: Planted, judged: JudgedSet, judge: Judge) -> MetricTable:
    """Metrics of the true labels by a judge that is asked about nothing else."""
    labels = [[texts[0]] for texts in judged.labels]
    answers = ask(planted, judged.sampled, labels, {judge.name: judge})[judge.name]
    return score(judged.sampled, answers.grades[:, 0], intervals=False)


def failing_judge(planted: Planted, judged: JudgedSet) -> tuple[int, int, Mapping[str, int]]:
    """Scores that a judge gets who never answers: how many have a value or lack a reason, of how many; reasons of the
    judgments."""
    labels = [[texts[0]] for texts in judged.labels]
    answers: Asked = ask(planted, judged.sampled, labels, {"all-errors": fail})["all-errors"]
    table = score(judged.sampled, answers.grades[:, 0], intervals=True)
    silent = np.isnan(table.value) & np.array(table.reason != None, np.bool_)  # noqa: E711  elementwise
    return int((~silent).sum()), silent.size, answers.reasons


def without_label(planted: Planted, judged: JudgedSet, judge: Judge) -> dict[str, Blind]:
    """What the judge scores when it must guess, for both balanced accuracies."""
    answers = ask(planted, judged.sampled, [[None]] * len(judged.features), {judge.name: judge})[judge.name]
    table = score(judged.sampled, answers.grades[:, 0], intervals=True)
    group = score_groups(table)
    found = {}
    for metric in ("balanced_hard", "balanced_random"):
        row = METRICS.index(metric)
        low, high = table.low[row], table.high[row]
        known = ~np.isnan(low)
        share = float(((low <= 0.5) & (high >= 0.5))[known].mean()) if known.any() else float("nan")
        found[metric] = Blind(float(group.mean[row]), float(group.low[row]), float(group.high[row]), share)
    return found
