"""The scoreboard as people read it: one table for each explainer and scorer, controls below the true labels.

Rows of the view `scoreboard` in, tables of cells out; it knows nothing of SQL and HTML.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from dashboards.wording import CONTROLS, METRICS, Term, control, metric
from labeling.types import QUANTILES

Row = Mapping[str, Any]
Maker = tuple[str | None, str | None, str | None, str | None]
"""Explainer, explainer model, scorer, judge model."""

CORE = ("headline", "balanced_hard", "balanced_random", "auroc_hard", "auroc_random")
"""Metrics of the table that is always shown; the others are folded away."""

FOR_ALL = ("generic", "over_broad", "no_label")
"""Controls that read no label of an explainer: judged once, they are controls of all explainers."""


@dataclass(frozen=True)
class Line:
    """One line of a table: a control (or the true labels) and a cell for each column, None where it was not scored."""

    name: str
    term: Term
    cells: tuple[Row | None, ...]


@dataclass(frozen=True)
class ScoreTable:
    """Scores of one explainer by one scorer at one threshold of firing."""

    maker: Maker
    tau: float
    metrics: tuple[tuple[str, Term], ...]
    """Columns: name and meaning."""
    lines: tuple[Line, ...]
    more: tuple[tuple[str, Term], ...]
    """Columns of the folded table."""
    more_lines: tuple[Line, ...]

    @property
    def title(self) -> str:
        explainer, explainer_model, scorer, judge = self.maker
        nobody = "labels" if self.reads_label else "features"
        written = f"{explainer or nobody} ({explainer_model})" if explainer_model else explainer or nobody
        return f"{written} graded by {scorer} ({judge})" if judge else f"{written} graded by {scorer}"

    @property
    def reads_label(self) -> bool:
        """Whether labels were judged; otherwise the features themselves."""
        return self.maker[0] is not None

    @property
    def graded_windows(self) -> bool:
        """Whether windows were graded: such headlines compare with each other, those of trials with nothing else."""
        return (self.true_headline or {}).get("headline_of") is None

    @property
    def true_headline(self) -> Row | None:
        return self.cell("", "headline")

    @property
    def findings(self) -> tuple[str, ...]:
        """What the headline scores of the true labels mean: against wrong labels, and when they are judged again."""
        row = self.true_headline or {}
        said = []
        if row.get("share_significant") is not None:
            said.append(
                f"{row['share_significant']:.0%} of the labels beat wrong ones (q < 0.05, {row['n_null']:,} scores of wrong "
                f"labels); {row['share_above_null']:.0%} are above their 95th percentile, where 5 % would be chance."
            )
        if row.get("reliability") is not None:
            said.append(f"{row['reliability']:.0%} of the variance between scores is not noise.")
        if row.get("flip_rate") is not None:
            icc = "" if row.get("icc") is None else f"; intraclass correlation of scores {row['icc']:.2f}"
            said.append(f"Asked again, the judge changes {row['flip_rate']:.1%} of its yes and no{icc}.")
        return tuple(said)

    def cell(self, name: str, column: str) -> Row | None:
        """Cell of a control (empty for true labels) and a metric of the table that is always shown."""
        names = [shown for shown, _ in self.metrics]
        found = [line.cells[names.index(column)] for line in self.lines if line.name == name and column in names]
        return found[0] if found else None


def score_tables(rows: Iterable[Row], *, tau: float) -> tuple[ScoreTable, ...]:
    """Tables for one feature set at one threshold: scorers that grade windows first, the highest lower end of the true
    labels' headline score first; then those that ask in trials, by name."""
    kept = [row for row in rows if abs(row["tau"] - tau) < 1e-9]
    makers = dict.fromkeys(maker_of(row) for row in kept if row["control"] is None)
    tables = [_table(maker, [row for row in kept if stands_beside(row, maker)], tau) for maker in makers]
    return tuple(sorted(tables, key=_order))


def maker_of(row: Row) -> Maker:
    """Who made the scores of a row or line: what is the same for all its metrics and controls."""
    return row["explainer"], row["explainer_model"], row["scorer"], row["judge_model"]


def stands_beside(row: Row, maker: Maker) -> bool:
    """Whether a row stands in the table of a maker. Controls that no explainer wrote stand beside every explainer."""
    for_all = row["explainer"] is None and row["control"] in FOR_ALL
    return maker_of(row) == maker or (for_all and maker_of(row)[2:] == maker[2:])


def labels_by(row: Row) -> str:
    """Who wrote the labels of a row, for people."""
    return row["explainer"] or ("any explainer" if row["control"] in FOR_ALL else "no labels: the features themselves")


def rank(cell: Row | None) -> float:
    """What rows are sorted by, the highest first: the lower end of the interval, because a high mean over few features may
    be luck. A cell without a mean comes last."""
    if cell is None or cell.get("mean") is None:
        return float("-inf")
    low = cell.get("low")
    return float(cell["mean"] if low is None else low)


def _order(table: ScoreTable) -> tuple[bool, float, float, str]:
    if not table.graded_windows:
        return True, 0.0, 0.0, table.title
    headline = table.true_headline
    return False, -rank(headline), -((headline or {}).get("mean") or 0.0), table.title


def _table(maker: Maker, rows: list[Row], tau: float) -> ScoreTable:
    cells = {(row["control"] or "", row["metric"]): row for row in rows}
    seen = dict.fromkeys(row["metric"] for row in rows)
    core = [name for name in CORE if name in seen]
    head = cells.get(("", "headline"), {})
    stands_for = head.get("headline_of")
    if stands_for is not None:  # trials: few metrics, all of the scorer's own
        core += [n for n in seen if n not in core and n != stands_for and not n.endswith(QUANTILES)]
    more = [name for name in [*METRICS, *sorted(seen)] if name in seen and name not in (*core, stands_for)]
    more = list(dict.fromkeys(more))
    controls = [name for name in dict.fromkeys([*CONTROLS, *(c for c, _ in cells)]) if any(c == name for c, _ in cells)]

    def lines(columns: list[str]) -> tuple[Line, ...]:
        return tuple(Line(c, control(c), tuple(cells.get((c, m)) for m in columns)) for c in controls)

    return ScoreTable(
        maker=maker,
        tau=tau,
        metrics=tuple((name, _term(name, stands_for, head.get("chance"))) for name in core),
        lines=lines(core),
        more=tuple((name, metric(name)) for name in more),
        more_lines=lines(more),
    )


def _term(name: str, stands_for: str | None, chance: float | None) -> Term:
    """What a column means; the headline of a scorer that asks in trials is another metric by its proper name."""
    if name != "headline" or stands_for is None:
        return metric(name)
    return replace(metric(stands_for), chance=chance)
