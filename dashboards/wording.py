"""What the pages say about metrics, controls and the rest, in a sentence each. Words, and the scales that values are drawn on.

A metric or control that is not listed here is still shown, under its own name.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Where the values of a metric are drawn, in its own units."""

    start: float = 0.0
    end: float = 1.0

    def place(self, value: float | None) -> float | None:
        """Where a value stands, 0-1."""
        return None if value is None else min(max((value - self.start) / (self.end - self.start), 0.0), 1.0)

    def places(self, row: Mapping[str, float | None]) -> dict[str, float | None]:
        """Where a mean and its interval stand, 0-1."""
        return {name: self.place(row[name]) for name in ("mean", "low", "high")}

    @property
    def ticks(self) -> tuple[float, ...]:
        """About ten round numbers from start to end."""
        step = _step(self.end - self.start)
        first, last = math.ceil(self.start / step - 1e-9), math.floor(self.end / step + 1e-9)
        return tuple(round(number * step, 10) for number in range(first, last + 1))


def scale_of(chance: float | None, values: Iterable[float | None]) -> Scale:
    """From −1 where chance is 0 or a value is negative, else from 0; to 1, or as far as values go beyond."""
    known = [value for value in values if value is not None]
    low, high = min(known, default=0.0), max(known, default=1.0)
    return Scale(min(-1.0 if chance == 0 or low < 0 else 0.0, float(math.floor(low))), max(1.0, float(math.ceil(high))))


def close_scale(chance: float | None, values: Iterable[float | None]) -> Scale:
    """The part of the scale that holds the values and chance, from one round number to another."""
    shown = [value for value in (*values, chance) if value is not None] or [0.0, 1.0]
    step = _step(max(max(shown) - min(shown), 0.1))
    start, end = math.floor(min(shown) / step) * step, math.ceil(max(shown) / step) * step
    return Scale(round(start, 10), round(max(end, start + step), 10))


def _step(length: float) -> float:
    """1, 2 or 5 times a power of ten, about a tenth of the length."""
    power = 10.0 ** math.floor(math.log10(length / 10))
    return power * next(times for times in (1, 2, 5, 10) if times * power * 10.000001 >= length)


@dataclass(frozen=True)
class Term:
    """A name for people and one sentence that defines it."""

    title: str
    sentence: str
    chance: float | None = None
    """What a label that says nothing gets; None where that depends on the feature."""

    def scale(self, *values: float | None) -> Scale:
        """What strips of the metric are drawn on."""
        return scale_of(self.chance, values)


METRICS: Mapping[str, Term] = {
    "headline": Term(
        "Headline score",
        "The lower of the two balanced accuracies below. Being a minimum, it falls slightly below 0.5 for labels that "
        "say nothing: read it against the shuffled labels.",
        0.5,
    ),
    "balanced_hard": Term(
        "Against look-alikes",
        "Balanced accuracy against hard negatives: the mean of how sure the judge is where the feature fires and how "
        "sure it is that the feature stays silent in windows chosen to look alike. Chance is 0.5.",
        0.5,
    ),
    "balanced_random": Term(
        "Against random text",
        "The same against windows drawn at random from everything the feature is silent on. Chance is 0.5.",
        0.5,
    ),
    "auroc_hard": Term(
        "Ranking, look-alikes",
        "Area under the ROC curve: how often the judge puts a firing window above a look-alike one. Chance is 0.5.",
        0.5,
    ),
    "auroc_random": Term(
        "Ranking, random text",
        "How often the judge puts a firing window above a random silent one. Chance is 0.5.",
        0.5,
    ),
    "balanced_accuracy": Term(
        "Yes-or-no accuracy",
        "Share of firing windows called firing and share of silent ones called silent, averaged. Chance is 0.5.",
        0.5,
    ),
    "average_precision_lift": Term(
        "Average precision, lift",
        "Average precision as a multiple of the rate at which the feature really fires. Chance is 1.",
        1.0,
    ),
    "activation_recall": Term(
        "Recall by activation",
        "How sure the judge is where the feature fires, each window weighing as much as the feature is active there.",
    ),
    "iou": Term(
        "Overlap (IoU)",
        "Windows called firing that fire, as a share of all that fire or are called so, each window weighted by how many "
        "it stands for.",
    ),
    "f1": Term("F1", "Harmonic mean of precision and recall, each window weighted by how many it stands for."),
    "average_precision": Term(
        "Average precision",
        "Precision averaged over all thresholds, at the rate at which the feature really fires. Chance is that rate, "
        "often far below 0.1.",
    ),
    "precision": Term("Precision", "Share of windows called firing that fire, at the rate at which the feature fires."),
    "recall": Term("Recall", "Share of firing windows that the judge finds."),
    "weighted_correlation": Term(
        "Correlation",
        "Correlation of the judge's answer with whether the feature fires, each window weighted by how many it stands "
        "for. Chance is 0.",
        0.0,
    ),
    "spearman_firing": Term(
        "Strength order",
        "Rank correlation of the judge's answer with the activation, among firing windows only. Chance is 0.",
        0.0,
    ),
    "brier_skill": Term(
        "Calibration",
        "How much closer the judge's probabilities come to the truth than always saying one half: 1 is perfect, 0 is "
        "no better, below 0 is worse.",
        0.0,
    ),
    "balanced_marks": Term(
        "Right words",
        "Fuzzing: the mean of how sure the judge is that rightly marked words are right and that wrongly marked ones are "
        "wrong, in the same windows. Chance is 0.5.",
        0.5,
    ),
    "auroc_marks": Term(
        "Ranking, right words", "How often the judge puts a rightly marked window above a wrongly marked one.", 0.5
    ),
    "accuracy_marks": Term("Yes or no, right words", "Fuzzing with yes or no instead of grades. Chance is 0.5.", 0.5),
    "correlation": Term(
        "Simulation",
        "Correlation of predicted levels and activations over all tokens of firing and silent windows. Chance is 0.",
        0.0,
    ),
    "correlation_top_and_random": Term(
        "Strongest and random", "The same over the strongest and random silent windows, as Bills et al. sample.", 0.0
    ),
    "correlation_random": Term(
        "Random only", "The same, windows weighing as if they had been drawn at random from the whole text.", 0.0
    ),
    "accuracy_adjusted": Term(
        "Right label, adjusted",
        "Discrimination: share of trials in which the judge picks this label among those of similar features, divided by "
        "the number of features that have this very label. Chance is one in as many as are shown.",
    ),
    "accuracy_labels": Term("Right label", "The same without the division."),
    "unshared": Term(
        "Alone with its label", "1 where no other feature has the same label, 1/2 where one has, and so on."
    ),
    "accuracy_intruder": Term(
        "Intruder found",
        "Share of groups in which the judge finds the window that does not belong. No label is read: it tells how "
        "alike the windows of the feature are. Chance is 0.2.",
        0.2,
    ),
    "specificity": Term(
        "Specificity",
        "How well the label fits where the feature fires, on a rubric of 0 to 3, divided by 3. A label that fits "
        "everything scores well: read it against the generic label.",
    ),
    "accuracy_saebench": Term(
        "SAEBench", "Share of fourteen windows told rightly, as SAEBench counts. Always answering no gets about 0.71."
    ),
    "balanced_saebench": Term("SAEBench, balanced", "The same, firing and silent windows weighing alike.", 0.5),
    "correlation_panel": Term(
        "Panel",
        "Correlation over random windows of where the label is said to apply and where it fires. Chance is 0.",
        0.0,
    ),
    "precision_panel": Term(
        "Panel, precision", "Share of random windows that the label is said to apply to and that fire."
    ),
    "recall_panel": Term("Panel, recall", "Share of random firing windows that the label is said to apply to."),
    "f1_panel": Term("Panel, F1", "Harmonic mean of the two."),
    "balanced_panel": Term("Panel, balanced", "Accuracy over random windows, firing and others weighing alike.", 0.5),
    "overlap_panel": Term(
        "Overlap", "Share of random windows that this label and its most similar other label are both said to apply to."
    ),
    "recall_q1": Term(
        "Recall, weakest",
        "Recall among the weakest fifth of firing windows; the next ones go up to the strongest fifth.",
    ),
    "recall_q2": Term("Recall, weak", ""),
    "recall_q3": Term("Recall, middle", ""),
    "recall_q4": Term("Recall, strong", ""),
    "recall_q5": Term("Recall, strongest", ""),
}

CONTROLS: Mapping[str, Term] = {
    "": Term("True labels", "Every feature judged by its own label."),
    "shuffled": Term("Shuffled labels", "Labels dealt out again among features that fire about as often."),
    "other_feature": Term("Another feature's", "The label of some other feature."),
    "neighbor": Term("Nearest neighbor's", "The label of the feature with the most similar direction."),
    "generic": Term("A generic label", "One label for all that fits nearly any text."),
    "over_broad": Term("An over-broad label", "One label for all that fits any text in the language."),
    "no_label": Term("No label", "The judge guesses from the text alone."),
    "permuted": Term(
        "Grades dealt again",
        "The judge's own grades, dealt out again among the windows of the feature: no signal is left.",
    ),
    "random_weights": Term(
        "Random weights",
        "True labels of features from the same model with random weights. They too follow single tokens, so only what "
        "stands above this was learned.",
    ),
    "random_directions": Term(
        "Random directions",
        "True labels of random directions that fire as often: what a dictionary scores that found nothing.",
    ),
}

STATUSES: Mapping[str, Term] = {
    "ok": Term("ok", "fires clearly and often enough to be judged"),
    "weak": Term(
        "weak", "its largest activation is among the smallest, or it fires in fewer than 20 windows kept for scoring"
    ),
    "dense": Term("dense", "fires on more than 4 % of tokens"),
    "dead": Term("dead", "never fires in this text"),
}

STRATA: Mapping[str, Term] = {
    "top": Term("Strongest", "The windows in which it fires most strongly."),
    "q5": Term("Strong", "The strongest fifth of the windows in which it fires."),
    "q4": Term("Rather strong", "The second strongest fifth of the windows in which it fires."),
    "q3": Term("In the middle", "Windows of middling strength among those in which it fires."),
    "q2": Term("Rather weak", "The second weakest fifth of the windows in which it fires."),
    "q1": Term("Weak", "The weakest fifth of the windows in which it fires."),
    "grey": Term(
        "Active, below the threshold", "It is active, but not above the threshold of firing: neither yes nor no."
    ),
    "hard_token": Term("Silent: one of its tokens", "It stays silent, though a token it often fires on is there."),
    "hard_neighbor": Term("Silent: a neighbor fires", "It stays silent, while a feature of similar direction fires."),
    "hard_text": Term("Silent: similar text", "It stays silent, though the text is like the text in which it fires."),
    "random": Term("Silent: random", "Windows drawn at random from all others in which it stays silent."),
}


def metric(name: str) -> Term:
    return METRICS.get(name, Term(name.replace("_", " "), ""))


def metric_order(name: str) -> tuple[int, str]:
    """Where a metric stands in lists: as above, others after them."""
    known = list(METRICS)
    return (known.index(name) if name in known else len(known), name)


def control(name: str | None) -> Term:
    return CONTROLS.get(name or "", Term((name or "").replace("_", " "), ""))


def stratum(name: str) -> Term:
    return STRATA.get(name, Term(name.replace("_", " "), ""))
