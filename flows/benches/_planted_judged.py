"""All labels of all planted features, judged and scored: by the headline of `detection`, and by other systems' protocols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evals.metrics import MetricTable
from evals.planted.concepts import PARAPHRASES, Claim
from evals.planted.extents import BoolArray
from evals.planted.features import WITHOUT_TARGET, PlantedFeature
from evals.planted.judges import Judge
from evals.planted.oracle import ORACLE_METRICS, agreement, oracle_values
from evals.planted.protocols import PROTOCOLS, Protocol
from evals.planted.ranking import KINDS, OTHERS, SAME_MCC, Scores
from flows.benches._planted_grades import SKIP, Asked, SampledWindows, ask, sampled_windows, score
from flows.benches._planted_workspace import Planted
from labeling.feature_table import MIN_SCORE_WINDOWS

OURS, MIN_AUROC = "detection", "min AUROC"
METHODS = (OURS, MIN_AUROC, *(protocol.name for protocol in PROTOCOLS))
NOISE_FREE = "exact"


@dataclass(frozen=True, eq=False)
class Worth:
    """What each label of each feature is really worth: all [F, S], NaN where there is no such label or no predicate."""

    f1: Scores
    mcc: Scores
    average_precision: Scores
    balanced_hard: Scores
    balanced_random: Scores
    compared: BoolArray  # [F, S] whether it is another label than the true one, on a feature that can be scored


@dataclass(frozen=True, eq=False)
class JudgedSet:
    """One feature set with everything that judges said about it."""

    name: str
    features: tuple[PlantedFeature, ...]
    labels: tuple[tuple[str, ...], ...]  # [F][S]
    sampled: SampledWindows
    asked: Mapping[str, Asked]
    worth: Worth
    scores: Mapping[tuple[str, str], Scores]
    """[F, S] by judge and method."""
    intervals: Mapping[str, tuple[Scores, Scores, Scores]]
    """Of the noise-free judge: lower end, upper end and oracle value of each of ORACLE_METRICS, all [F, S]."""


def judge_set(planted: Planted, name: str, judges: Mapping[str, Judge], *, seed: int) -> JudgedSet:
    """Ask judges about every label of a feature set, and score the answers in every way."""
    features = planted.features[name]
    labels, sampled = label_table(features), sampled_windows(planted, name)
    asked = ask(planted, sampled, labels, judges)
    scores: dict[tuple[str, str], Scores] = {}
    for judge, answers in asked.items():
        tables = _tables(sampled, answers, intervals=False)
        scores[judge, OURS] = _values(tables, "headline")
        scores[judge, MIN_AUROC] = np.minimum(_values(tables, "auroc_hard"), _values(tables, "auroc_random"))
        for protocol in PROTOCOLS:
            scores[judge, protocol.name] = peer_scores(
                planted, name, labels, judges[judge], protocol, windows=protocol.windows, seed=seed
            )
    intervals = {}
    if NOISE_FREE in judges:
        intervals = _intervals(
            planted, name, labels, judges[NOISE_FREE], _tables(sampled, asked[NOISE_FREE], intervals=True)
        )
    return JudgedSet(name, features, labels, sampled, asked, _worth(planted, name, labels), scores, intervals)


def label_table(features: Sequence[PlantedFeature]) -> tuple[tuple[str, ...], ...]:
    """[F][S] text of each label, columns as KINDS; SKIP where a feature has none."""
    return tuple(
        (*_wordings(feature.labels["true"]), *(_text(feature.labels.get(kind, ())) for kind in OTHERS))
        for feature in features
    )


def _wordings(claims: Sequence[Claim]) -> list[str]:
    return [claims[i].text if i < len(claims) else SKIP for i in range(PARAPHRASES)]


def _text(claims: Sequence[Claim]) -> str:
    return claims[0].text if claims else SKIP


def _tables(sampled: SampledWindows, answers: Asked, *, intervals: bool) -> list[MetricTable]:
    return [score(sampled, answers.grades[:, column], intervals=intervals) for column in range(answers.grades.shape[1])]


def _values(tables: Sequence[MetricTable], metric: str) -> Scores:
    return np.stack([table.value[table.row(metric)] for table in tables], axis=1)


def peer_scores(
    planted: Planted,
    name: str,
    labels: Sequence[Sequence[str]],
    judge: Judge,
    protocol: Protocol,
    *,
    windows: int,
    seed: int,
) -> Scores:
    """[F, S] scores by another system's protocol. The labels of a feature share its windows."""
    population = planted.populations[name]
    found = np.full((len(labels), len(KINDS)), np.nan)
    for feature, texts in enumerate(labels):
        activation, tau = population.activation[feature], float(population.tau[feature])
        if not (activation > tau).any():
            continue
        drawn = protocol.draw(activation, tau, windows, np.random.default_rng([seed, feature, windows]))
        for column, text in enumerate(texts):
            if text != SKIP:
                found[feature, column] = protocol.score(drawn, judge.grades(text, drawn.row) / 100)
    return found


def _intervals(
    planted: Planted, name: str, labels: Sequence[Sequence[str]], judge: Judge, tables: Sequence[MetricTable]
) -> dict[str, tuple[Scores, Scores, Scores]]:
    oracle = {metric: np.full((len(labels), len(KINDS)), np.nan) for metric in ORACLE_METRICS}
    rows = np.arange(len(planted.windows))
    for feature, texts in enumerate(labels):
        for column, text in enumerate(texts):
            if text != SKIP:
                grades = judge.grades(text, rows).astype(np.float64) / 100
                for metric, value in oracle_values(planted.populations[name], feature, grades).items():
                    oracle[metric][feature, column] = value
    ends = {
        metric: [np.stack([getattr(t, end)[t.row(metric)] for t in tables], axis=1) for end in ("low", "high")]
        for metric in ORACLE_METRICS
    }
    return {metric: (low, high, oracle[metric]) for metric, (low, high) in ends.items()}


def _worth(planted: Planted, name: str, labels: Sequence[Sequence[str]]) -> Worth:
    population, meanings = planted.populations[name], planted.knowledge.meanings
    shape = (len(labels), len(KINDS))
    values = {
        field: np.full(shape, np.nan)
        for field in ("f1", "mcc", "average_precision", "balanced_hard", "balanced_random")
    }
    compared = np.zeros(shape, np.bool_)
    for feature, texts in enumerate(labels):
        fires = population.fires[feature]
        truth = meanings[texts[0]].covered
        enough = fires.sum() >= MIN_SCORE_WINDOWS and planted.features[name][feature].shape not in WITHOUT_TARGET
        for column, text in enumerate(texts):
            if text == SKIP:
                continue
            covered = meanings[text].covered
            different = KINDS[column] in ("hedged", "truncated") or agreement(truth, covered).mcc < SAME_MCC
            compared[feature, column] = enough and (column < PARAPHRASES or different)
            if KINDS[column] in ("hedged", "truncated"):
                continue  # no predicate says what they claim
            fit, balance = agreement(fires, covered), oracle_values(population, feature, covered.astype(np.float64))
            for field in ("f1", "mcc", "average_precision"):
                values[field][feature, column] = getattr(fit, field)
            for field in ("balanced_hard", "balanced_random"):
                values[field][feature, column] = balance[field]
    return Worth(**values, compared=compared)


@dataclass(frozen=True, eq=False)
class Pooled:
    """Scores of one judge by one method over all feature sets."""

    scores: Scores  # [F, S]
    compared: BoolArray  # [F, S]
    mcc: Scores  # [F, S]
    shape: np.ndarray  # [F] of each feature

    @property
    def n_unscored(self) -> int:
        """Compared labels without a score."""
        return int((np.isnan(self.scores) & self.compared).sum())

    def of_shape(self, shape: str) -> Pooled:
        """The features of one shape."""
        own = self.shape == shape
        return Pooled(self.scores[own], self.compared[own], self.mcc[own], self.shape[own])


def pool(sets: Sequence[JudgedSet], judge: str, method: str) -> Pooled:
    """Put all feature sets below each other."""
    return pool_scores(sets, [s.scores[judge, method] for s in sets])


def pool_scores(sets: Sequence[JudgedSet], scores: Sequence[Scores]) -> Pooled:
    """The same for other scores of the same labels, one array a feature set."""
    return Pooled(
        scores=np.concatenate(scores),
        compared=np.concatenate([s.worth.compared for s in sets]),
        mcc=np.concatenate([s.worth.mcc for s in sets]),
        shape=np.array([feature.shape for s in sets for feature in s.features]),
    )
