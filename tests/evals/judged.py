"""Builders of judged items for the statistics tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from evals.items import Items, pack
from labeling.types import STRATA

POPULATIONS = {
    **dict.fromkeys(("q1", "q2", "q3", "q4", "q5"), 100),
    "grey": 300,
    "hard_token": 2000,
    "hard_neighbor": 1500,
    "hard_text": 200,
    "random": 95_500,
}
COUNTS = {
    **dict.fromkeys(("q1", "q2", "q3", "q4", "q5"), 10),
    "grey": 10,
    "hard_token": 9,
    "hard_neighbor": 8,
    "hard_text": 8,
    "random": 25,
}
"""The default design: 50 firing, 25 hard and 25 random windows."""
ACTIVATION = {"q1": 1.0, "q2": 2.0, "q3": 3.0, "q4": 4.0, "q5": 5.0, "top": 6.0, "grey": 0.2}

Item = tuple[str, float, float]
"""Stratum, grade, activation."""


def feature(
    items: Sequence[Item],
    populations: Mapping[str, int],
    *,
    documents: Sequence[int] | None = None,
    panel: Sequence[bool] | None = None,
    firing_windows25: int = 0,
) -> Items:
    """One feature from a list of items, each in a document of its own unless told."""
    n = len(items)
    return pack(
        np.zeros(n, np.int64),
        probability=np.array([grade for _, grade, _ in items]),
        activation=np.array([activation for _, _, activation in items]),
        stratum=np.array([STRATA.index(s) for s, _, _ in items]),
        population=np.array([populations[s] for s, _, _ in items]),
        document=np.arange(n) if documents is None else np.array(documents),
        panel=np.zeros(n, bool) if panel is None else np.array(panel),
        tau=np.array([0.5]),
        tau25=np.array([2.5]),
        firing_windows=np.array([sum(v for k, v in populations.items() if k[0] == "q")]),
        firing_windows25=np.array([firing_windows25]),
        n_windows=np.array([sum(v for k, v in populations.items() if k != "top")]),
    )


def sampled(
    grades: Mapping[str, npt.NDArray[np.float64]],
    *,
    n_features: int,
    generator: np.random.Generator,
    panel: int = 0,
) -> Items:
    """Features with the default design, drawn from finite populations: `grades[stratum]` holds every window's grade."""
    columns = [(s, n, False) for s, n in COUNTS.items()] + ([("random", panel, True)] if panel else [])
    row = np.arange(n_features)
    # With replacement: the value of a finite sample of windows, without the benefit of a small population.
    parts = []
    for stratum, n, is_panel in columns:
        picks = generator.integers(0, len(grades[stratum]), (n_features, n))
        parts.append((stratum, grades[stratum][picks], is_panel))
    strata = np.concatenate([np.full(g.shape, STRATA.index(s)) for s, g, _ in parts], axis=1)
    activation = np.array([ACTIVATION.get(s, 0.0) for s in STRATA])[strata]
    return Items(
        probability=np.concatenate([g for _, g, _ in parts], axis=1),
        activation=activation + np.where(activation > 0.5, generator.random(activation.shape) / 2, 0),
        stratum=strata.astype(np.int8),
        population=np.array([POPULATIONS.get(s, 0) for s in STRATA])[strata],
        document=generator.integers(0, 1_000_000, strata.shape),
        panel=np.concatenate([np.full(g.shape, is_panel) for _, g, is_panel in parts], axis=1),
        tau=np.full(n_features, 0.5),
        tau25=np.full(n_features, 2.9),
        firing_windows=0 * row + 500,
        firing_windows25=0 * row + 300,
        n_windows=0 * row + sum(POPULATIONS.values()),
    )


def yes_no(rates: Mapping[str, float]) -> dict[str, npt.NDArray[np.float64]]:
    """Grades 0 and 1 of every window (at most 2,000 a stratum), with exactly the given share of 1 in each stratum."""
    sizes = {s: min(n, 2000) for s, n in POPULATIONS.items()}
    return {s: (np.arange(n) < round(rates.get(s, 0.0) * n)).astype(float) for s, n in sizes.items()}


def rates(firing: float, hard: float, random: float, grey: float = 0.0) -> dict[str, float]:
    return {
        **dict.fromkeys(("q1", "q2", "q3", "q4", "q5"), firing),
        **dict.fromkeys(("hard_token", "hard_neighbor", "hard_text"), hard),
        "random": random,
        "grey": grey,
    }
