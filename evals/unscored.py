"""Why a metric has no value: which stratum it needs is missing, and how many windows there were.

Reasons are sentences for people, one a feature, None where nothing is missing. Nothing here computes a metric.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evals.items import Items
from evals.strata import ABOVE, BELOW, PARTS, SILENT, Design
from labeling.types import STRICT_TAU_SHARE

Reasons = npt.NDArray[np.object_]

EQUALLY_STRONG = "all firing windows are about equally strong: there are no quantiles"
TOLERANCE = 0.01
"""Share by which the strata may miss the counted number of windows."""


def reasons_for(items: Items, design: Design, parts: tuple[tuple[int, ...], ...], *, share_of_max: float) -> Reasons:
    """First reason per feature: a side without windows, windows not drawn, or a stratum with no answered item.

    `parts` are the sides a metric compares; each side needs windows, each stratum of it that has windows an answer.
    """
    reason = np.full(len(items), None, dtype=object)
    for side in parts:
        _fill(reason, _side_reasons(items, design, side, share_of_max))
        if side == ABOVE:
            _fill(reason, _uncounted_firing(items, design, share_of_max))
        if side == SILENT:
            _fill(reason, _uncounted_corpus(items, design))
    return reason


def same_strength(design: Design) -> Reasons:
    """Why a feature's firing windows have no quantiles: all of them stand in one, at either side of a threshold."""
    reason = np.full(len(design.mass), None, dtype=object)
    reason[((design.mass[:, ABOVE] + design.mass[:, BELOW]) > 0).sum(axis=1) == 1] = EQUALLY_STRONG
    return reason


def _fill(reason: Reasons, further: dict[int, str]) -> None:
    for row, text in further.items():
        if reason[row] is None:
            reason[row] = text


def _side_reasons(items: Items, design: Design, side: tuple[int, ...], share_of_max: float) -> dict[int, str]:
    mass, answered = design.mass[:, side], design.answered[:, side]
    unanswered = (mass > 0) & (answered == 0)
    found: dict[int, str] = {}
    for row in np.flatnonzero((mass.sum(axis=1) == 0) | unanswered.any(axis=1)):
        if mass[row].sum() == 0:
            found[int(row)] = _nothing_drawn(items, design, side, int(row), share_of_max)
            continue
        part = side[int(np.argmax(unanswered[row]))]
        drawn = int(design.drawn[row, part])
        windows = f"{int(design.mass[row, part]):,} windows"
        lost = f"all {drawn} that were drawn were lost" if drawn else "none was drawn"
        found[int(row)] = f"no answered window in {PARTS[part]} ({windows}): {lost}"
    return found


def _nothing_drawn(items: Items, design: Design, side: tuple[int, ...], row: int, share_of_max: float) -> str:
    if side[0] not in ABOVE:
        return f"no window was drawn from {' or '.join(PARTS[p] for p in side if p not in range(5, 10))}"
    name = PARTS[side[0]] if len(side) == 1 else "the firing windows"
    if share_of_max == STRICT_TAU_SHARE:
        count = int(items.firing_windows25[row])
        if len(side) == 1 and design.drawn[row, side[0] + 5] > 0:
            return f"{name} lies below 25 % of the maximum ({count:,} windows are above)"
        return f"no window above 25 % of the maximum was drawn from {name} ({count:,} windows are above)"
    return f"no window was drawn from {name} ({int(items.firing_windows[row]):,} windows fire)"


def _uncounted_firing(items: Items, design: Design, share_of_max: float) -> dict[int, str]:
    """The quantile strata must hold all firing windows, else one of them is missing."""
    counted = items.firing_windows25 if share_of_max == STRICT_TAU_SHARE else items.firing_windows
    held = design.mass[:, ABOVE].sum(axis=1)
    short = held < counted * (1 - TOLERANCE) - 1
    return {
        int(row): f"the drawn quantile strata hold {int(held[row]):,} of the {int(counted[row]):,} firing windows"
        for row in np.flatnonzero(short)
    }


def _uncounted_corpus(items: Items, design: Design) -> dict[int, str]:
    held = design.mass.sum(axis=1)
    off = np.abs(held - items.n_windows) > items.n_windows * TOLERANCE
    return {
        int(row): f"the drawn strata hold {int(held[row]):,} of the {int(items.n_windows[row]):,} windows of the split"
        for row in np.flatnonzero(off)
    }
