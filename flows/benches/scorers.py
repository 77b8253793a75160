"""The bench `scorers`: can a scorer tell a true label from a nearly true one? On planted features, whose truth is known.

Features of 14 families of concepts are planted in real text and sampled by the ordinary pipeline; scripted judges with
known faults answer the prompts of `detection`. Beside ours stand other systems' ways to choose windows and to score them,
with the same judges. Definitions are in docs/planted.md. It sends nothing.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.benches import BenchOptions, Row, at_least, at_most, plain
from labeling.errors import unknown_name

if TYPE_CHECKING:
    from evals.planted.judges import Judge
    from flows.benches._planted_judged import JudgedSet, Pooled
    from flows.benches._planted_workspace import Planted

STRONG, WEAK, RELATED, EXACT = "noisy .95/.05", "noisy .80/.06", "related-aware", "exact"
RANK = {STRONG: (0.95, 0.99), RELATED: (0.95, 0.99), WEAK: (0.90, 0.99)}
"""Rank accuracy promised for near-misses and for far misses, by judge."""
COVERAGE = 0.93
SIZES = ("small", "default", "large")


@dataclass(frozen=True)
class ScorersBench:
    workspace: Path | None = None
    """Where to keep what is planted and measured; None: a temporary folder."""
    corpus: str | None = None
    size: str = "default"
    seed: int = 0

    def measure(self) -> list[Row]:
        if self.workspace is not None:
            return self._measure(self.workspace)
        with tempfile.TemporaryDirectory(prefix="featlas-bench-") as folder:
            return self._measure(Path(folder))

    def _measure(self, folder: Path) -> list[Row]:
        from evals.planted.judges import make_judges
        from flows.benches._planted_judged import judge_set
        from flows.benches._planted_store import save_judged, save_rows
        from flows.benches._planted_workspace import SIZES, plant

        started = time.process_time()
        planted = plant(folder, SIZES[self.size], corpus=self.corpus, seed=self.seed)
        judges = make_judges(planted.knowledge, seed=self.seed)
        asked = {name: judges[name] for name in (EXACT, STRONG, WEAK, RELATED)}
        sets = [judge_set(planted, name, asked, seed=self.seed) for name in planted.features]
        rows = [
            *_size_rows(planted, sets),
            *(row for judge in RANK for row in _rank_rows(sets, judge)),
            *_coverage_rows(sets),
            *_control_rows(planted, sets, judges, SIZES[self.size].null_draws, self.seed),
            *_guess_rows(planted, sets, self.seed),
            *_habit_rows(planted, judges),
            *_robustness_rows(planted, sets, judges, self.seed),
            *_cost_rows(planted, sets, judges, self.seed),
        ]
        rows.append(plain("CPU of the whole bench", time.process_time() - started, "s"))
        save_judged(planted, sets)
        save_rows(planted, "scorers", rows)
        return rows


def create(*, options: BenchOptions) -> ScorersBench:
    """Make the bench. Raise UsageError for options that it does not use, and for a size that is not known."""
    options.only("scorers", "workspace", "corpus", "size", "seed")
    size = options.size or "default"
    if size not in SIZES:
        raise unknown_name("size", size, SIZES)
    return ScorersBench(options.workspace, options.corpus, size, options.seed or 0)


def _size_rows(planted: Planted, sets: Sequence[JudgedSet]) -> list[Row]:
    features = [feature for judged in sets for feature in judged.features]
    return [
        plain("planted features", len(features), ""),
        plain("concepts", len({(f.concept.family, f.concept.name) for f in features}), ""),
        plain("families of concepts", len({f.concept.family for f in features}), ""),
        plain("text", planted.text.n_tokens, "tokens"),
        plain("windows of the score split", len(planted.windows), "windows"),
        plain("labels judged", sum(text != "" for s in sets for texts in s.labels for text in texts), ""),
        plain("labels compared", sum(int(judged.worth.compared.sum()) for judged in sets), ""),
    ]


def _rank_rows(sets: Sequence[JudgedSet], judge: str) -> list[Row]:
    """What one judge's answers make of true labels beside others, by every method."""
    from evals.planted.ranking import spread_over_wordings
    from flows.benches._planted_judged import METHODS, OURS, pool

    ours = pool(sets, judge, OURS)
    others = [method for method in METHODS if method != OURS]
    return [
        *_own_rank_rows(ours, judge),
        *_shape_rows(ours, judge),
        *(row for method in others for row in _other_rank_rows(pool(sets, judge, method), judge, method)),
        *(row for method in METHODS for row in _oracle_rows(pool(sets, judge, method), f"{judge}, {method}")),
        plain(f"{judge}: deviation between wordings", spread_over_wordings(ours.scores), ""),
        plain(f"{judge}: compared labels without a score", ours.n_unscored, ""),
    ]


def _own_rank_rows(ours: Pooled, judge: str) -> list[Row]:
    """Ours against each kind of label, near-misses and far ones with their targets."""
    from evals.planted import ranking

    (near, far), rows = RANK[judge], []
    for kind in ranking.OTHERS:
        value, name = ranking.rank_accuracy(ours.scores, ours.compared, kind), f"{judge}: true above {_said(kind)}"
        limit = near if kind in ranking.NEAR_MISSES else far if kind in ranking.FAR_MISSES else None
        rows.append(plain(name, value, "") if limit is None else at_least(name, value, limit, ""))
    return rows


def _shape_rows(ours: Pooled, judge: str) -> list[Row]:
    from evals.planted.ranking import lowest_rank_accuracy

    own = {shape: ours.of_shape(shape) for shape in dict.fromkeys(ours.shape.tolist())}
    return [
        plain(f"{judge}, {shape}: true above near-misses, the lowest", lowest_rank_accuracy(o.scores, o.compared), "")
        for shape, o in own.items()
        if o.compared.any()
    ]


def _other_rank_rows(found: Pooled, judge: str, method: str) -> list[Row]:
    from evals.planted import ranking

    kinds = (*ranking.NEAR_MISSES, *ranking.FAR_MISSES)
    accuracy = {kind: ranking.rank_accuracy(found.scores, found.compared, kind) for kind in kinds}
    return [plain(f"{judge}, {method}: true above {_said(kind)}", value, "") for kind, value in accuracy.items()]


def _oracle_rows(found: Pooled, name: str) -> list[Row]:
    from evals.planted.ranking import oracle_correlation, oracle_line, pooled_auroc

    slope, intercept = oracle_line(found.scores, found.mcc)
    within = oracle_correlation(found.scores, found.mcc)
    return [
        plain(f"{name}: AUROC of true against near-misses", pooled_auroc(found.scores, found.compared), ""),
        plain(f"{name}: Spearman with oracle MCC within a concept", within, ""),
        plain(f"{name}: slope on oracle MCC", slope, ""),
        plain(f"{name}: intercept on oracle MCC", intercept, ""),
    ]


def _said(kind: str) -> str:
    names = {"broad": "too broad", "narrow": "too narrow", "trap": "surface trap", "context_dropped": "context dropped"}
    return names.get(kind, kind)


def _coverage_rows(sets: Sequence[JudgedSet]) -> list[Row]:
    """Coverage of the oracle value by bin, for a judge without noise, and intervals without width."""
    import numpy as np

    from evals.planted.coverage import coverage_by_bin
    from evals.planted.oracle import ORACLE_METRICS

    rows, zero = [], 0
    for metric in ORACLE_METRICS:
        low, high, oracle = (np.concatenate([s.intervals[metric][i].ravel() for s in sets]) for i in range(3))
        for found in coverage_by_bin(low, high, oracle):
            name = f"exact judge, {metric} {found.low:g} to {found.high:g}: intervals that hold the oracle value"
            rows.append(at_least(name, found.covered, COVERAGE, f"of {found.n:,}"))
            zero += found.zero_width
    return [*rows, at_most("exact judge: intervals of zero width", zero, 0, "")]


def _control_rows(
    planted: Planted, sets: Sequence[JudgedSet], judges: dict[str, Judge], null_draws: int, seed: int
) -> list[Row]:
    import numpy as np

    from flows.benches import _planted_controls as controls

    graded = next(s for s in sets if s.name == "graded")
    found = controls.significance(planted, sets, judges[STRONG], null_draws=null_draws, seed=seed)
    contrary = controls.true_label_table(planted, graded, judges["contrarian"])
    headline = contrary.value[contrary.row("headline")]
    wrong, n_scores, reasons = controls.failing_judge(planted, graded)
    rows = [
        at_most(f"{STRONG}: shuffled labels with q < 0.05", found.shuffled, 0.05, "of labels"),
        at_least(f"{STRONG}: true labels with q < 0.05", found.true, 0.90, "of labels"),
        plain("shuffled labels behind each third of the null", found.n_null, "scores"),
        plain("contrarian judge: mean headline", float(np.nanmean(headline)), ""),
        at_most("contrarian judge: largest headline", float(np.nanmax(headline)), 0.2, ""),
        at_most("all-errors judge: scores with a value or without a reason", wrong, 0, f"of {n_scores:,}"),
        plain("all-errors judge: lost judgments with a reason", sum(reasons.values()), "judgments"),
    ]
    for metric, blind in controls.without_label(planted, graded, judges[STRONG]).items():
        outside = max(blind.low - 0.5, 0.5 - blind.high, 0.0) if blind.low == blind.low else float("nan")
        rows += [
            plain(f"no-label judge: mean {metric}", blind.mean, ""),
            at_most(f"no-label judge: distance of 0.5 to the interval of {metric}", outside, 0, ""),
            plain(
                f"no-label judge: features whose interval of {metric} holds 0.5", blind.share_containing, "of features"
            ),
        ]
    return rows


def _guess_rows(planted: Planted, sets: Sequence[JudgedSet], seed: int) -> list[Row]:
    """A judge that sees no label, on the scorers that ask in trials."""
    from flows.benches._planted_blind import guesses

    rows = []
    for found in guesses(planted, next(s for s in sets if s.name == "graded"), seed=seed):
        name = f"no-label judge, {found.scorer}"
        rows += [
            plain(f"{name}: mean {found.metric}", found.mean, f"of {found.n_features} features"),
            plain(f"{name}: chance", found.chance, ""),
            at_most(f"{name}: distance of chance to the interval", found.outside, 0, ""),
        ]
    return rows


def _robustness_rows(planted: Planted, sets: Sequence[JudgedSet], judges: dict[str, Judge], seed: int) -> list[Row]:
    """Mean absolute change of the headline of true labels when what should not matter is another."""
    from flows.benches import _planted_robust as robust

    graded, said = next(s for s in sets if s.name == "graded"), "mean change of the headline of true labels"
    rows = [plain(f"{judge}: {said} with another wording", robust.wording_change(sets, judge), "") for judge in RANK]
    rows += [
        plain(
            f"{judge}: {said} with windows drawn again",
            robust.window_change(planted, sets, judges[judge], seed=seed),
            "",
        )
        for judge in RANK
    ]
    for other in (RELATED, WEAK):
        rows.append(plain(f"{STRONG}: {said} with the judge {other}", robust.judge_change(sets, STRONG, other), ""))
    for judge in (STRONG, "position-biased", "base-rate-copying"):
        for size, change in robust.batch_changes(planted, graded, judges[judge]).items():
            rows.append(plain(f"{judge}: {said} with {size} windows a request instead of 20", change, ""))
    return rows


def _habit_rows(planted: Planted, judges: dict[str, Judge]) -> list[Row]:
    """Judges that look at the order, or say yes to half of what they see, on the graded features."""
    from evals.planted import ranking
    from flows.benches._planted_judged import OURS, judge_set

    rows = []
    for name in ("position-biased", "base-rate-copying"):
        judged = judge_set(planted, "graded", {name: judges[name]}, seed=0)
        scores, compared = judged.scores[name, OURS], judged.worth.compared
        rows += [
            plain(f"{name}: true above {_said(kind)}", ranking.rank_accuracy(scores, compared, kind), "")
            for kind in (*ranking.NEAR_MISSES, *ranking.FAR_MISSES)
        ]
    return rows


def _cost_rows(planted: Planted, sets: Sequence[JudgedSet], judges: dict[str, Judge], seed: int) -> list[Row]:
    from flows.benches import _planted_costs as costs
    from flows.benches._planted_judged import OURS

    rows = []
    for judge in (STRONG, RELATED):
        found = {OURS: costs.own_costs(sets, judge, seed=seed)}
        found |= costs.peer_costs(planted, sets, judges[judge], seed=seed)
        for method, some in found.items():
            best, most = costs.cheapest(some), some[-1]
            name = f"{judge}, {method}: windows to tell near-misses apart in 95 %"
            rows += [
                plain(name, None if best is None else best.windows, "windows"),
                plain(
                    f"{judge}, {method}: prompt tokens for that", None if best is None else best.prompt_tokens, "tokens"
                ),
                plain(
                    f"{judge}, {method}: lowest rank accuracy with {most.windows:.0f} windows", most.rank_accuracy, ""
                ),
            ]
    return rows
