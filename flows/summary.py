"""What a run says when it is done: times, counts, the main numbers with their controls, and where to look next."""

from __future__ import annotations

import resource
import shlex
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from flows.cost_summary import UnitCost, unit_costs
from flows.pipeline import Outcome
from flows.stages.corpus_problems import in_words
from flows.usage import Usage
from labeling.snapshot import query
from labeling.types import CONTROLS, JSON, TAU_SHARE
from labeling.workspace import Workspace

NO_CALIBRATION = "no calibration"
MAIN_METRICS = ("headline", "balanced_hard", "balanced_random", "auroc_hard", "auroc_random")

STATUSES = """
SELECT feature_set, status, count(*) AS n FROM features JOIN samples USING (sample_id)
WHERE sample_id IN (SELECT arg_max(sample_id, created_at) FROM samples GROUP BY feature_set)
GROUP BY ALL ORDER BY ALL
"""
CORPORA = """
SELECT c.name, c.n_documents AS documents, c.n_tokens AS tokens, p.problem, p.n, p.example
FROM (SELECT DISTINCT arg_max(corpus_id, created_at) AS corpus_id FROM samples JOIN feature_sets USING (feature_set)
    WHERE control_for IS NULL GROUP BY feature_set)
JOIN corpora AS c USING (corpus_id) LEFT JOIN corpus_problems AS p USING (corpus_id)
ORDER BY c.name, corpus_id, p.n DESC, p.problem
"""
SCORES = f"""
SELECT feature_set, explainer, explainer_model, scorer, judge_model, metric, coalesce(control, 'true label') AS label,
    n_features, mean, low, high, share_significant, n_null, flip_rate, icc, chance, headline_of
FROM scoreboard WHERE tau = {TAU_SHARE} AND metric IN ('headline', 'balanced_hard', 'balanced_random', 'auroc_hard', 'auroc_random')
"""
LABELED = """
SELECT feature_set, explainer, explainer_model, count(DISTINCT feature) FILTER (state = 'labeled') AS n,
    count(DISTINCT feature) FILTER (state <> 'labeled') AS n_failed
FROM explanations JOIN samples USING (sample_id)
WHERE sample_id IN (SELECT arg_max(sample_id, created_at) FROM samples GROUP BY feature_set)
GROUP BY ALL ORDER BY ALL
"""
GAPS = """
SELECT feature_set, explainer, explainer_model, scorer, judge_model, count(DISTINCT feature) AS n_features,
    avg(select_score) AS select_score, avg(score) AS score, avg(gap) AS gap
FROM select_gaps JOIN samples USING (sample_id)
WHERE comparable AND gap IS NOT NULL AND epoch = 0 AND repeat = 0
    AND sample_id IN (SELECT arg_max(sample_id, created_at) FROM samples GROUP BY feature_set)
GROUP BY ALL ORDER BY ALL
"""


@dataclass(frozen=True)
class Summary:
    """The result of a run, for people and for programs."""

    workspace: Path
    outcome: Outcome
    statuses: pl.DataFrame
    scores: pl.DataFrame
    peak_memory_mib: int
    """Largest resident memory of this process."""
    worker_memory_mib: int
    """The same of the largest worker process; 0 without workers."""
    corpora: pl.DataFrame
    """What was read, one row for each kind of problem; one without a problem where there is none."""
    costs: tuple[UnitCost, ...] = ()
    """What a label and a score have cost, over all runs."""
    gaps: pl.DataFrame = field(default_factory=pl.DataFrame)
    """Of labels that were chosen among several: the mean score they were chosen by, and the reported one."""

    labels: pl.DataFrame = field(default_factory=pl.DataFrame)
    """Features with a label and without, of each explainer of the newest samples."""

    def as_json(self) -> dict[str, JSON]:
        outcome = self.outcome
        return {
            "run_id": outcome.run_id,
            "workspace": str(self.workspace),
            "report": str(outcome.report) if outcome.report else None,
            "seconds": {stage: round(seconds, 2) for stage, seconds in outcome.seconds.items()},
            "peak_memory_mib": self.peak_memory_mib,
            "worker_memory_mib": self.worker_memory_mib,
            "failures": outcome.failures,
            "pending": outcome.n_pending,
            "llm": asdict(outcome.usage) | {"reused": outcome.n_reused, "sent_again": outcome.n_sent_again},
            "costs": [asdict(cost) for cost in self.costs],
            "corpora": self.corpora.to_dicts(),
            "features": self.statuses.to_dicts(),
            "labels": self.labels.to_dicts(),
            "scores": self.scores.to_dicts(),
            "select_gaps": self.gaps.to_dicts(),
        }

    def as_text(self) -> str:
        return "\n".join(
            [
                *self._corpora(),
                *self._features(),
                "",
                *self._labels(),
                *self._scores(),
                *self._gaps(),
                *self._requests(),
                *self._pending(),
                *self._failures(),
                *self._end(),
            ]
        )

    def _corpora(self) -> list[str]:
        """One line a corpus. Nothing where only control feature sets were sampled."""
        lines = []
        for (name, documents, tokens), part in self.corpora.group_by(
            ["name", "documents", "tokens"], maintain_order=True
        ):
            problems = dict(part.drop_nulls("problem")["problem", "n"].iter_rows())
            lines.append(in_words(str(name), documents, tokens, problems))
        return lines

    def _features(self) -> list[str]:
        lines = []
        for (name,), part in self.statuses.group_by("feature_set", maintain_order=True):
            counts = ", ".join(f"{n:,} {status}" for status, n in part.select("status", "n").iter_rows())
            lines.append(f"{name}: {counts}")
        return lines

    def _labels(self) -> list[str]:
        """One line an explainer, where labels are all that was made."""
        if {"label", "score"} & self.outcome.seconds.keys() != {"label"}:
            return []
        lines = []
        for row in self.labels.iter_rows(named=True):
            who = f"{row['explainer']} ({row['explainer_model']})" if row["explainer_model"] else row["explainer"]
            failed = f", {row['n_failed']:,} got none" if row["n_failed"] else ""
            lines.append(f"{row['feature_set']}, {who}: {row['n']:,} features have a label{failed}")
        return lines

    def _scores(self) -> list[str]:
        """One line a label, true or control, with the columns people compare; nothing where nothing was scored."""
        if self.scores.is_empty() or {"label", "score"} & self.outcome.seconds.keys() == {"label"}:
            return []
        names = ["feature_set", "explainer", "explainer_model", "scorer", "judge_model", "label"]
        most = self.scores.group_by(names).agg(
            pl.col("n_features").max(), pl.col("chance").filter(pl.col("metric") == "headline").first()
        )
        wide = self.scores.pivot(on="metric", index=names, values="mean").join(most, on=names, nulls_equal=True)
        present = [metric for metric in MAIN_METRICS if metric in wide.columns]
        order = ["true label", *CONTROLS]
        wide = wide.sort(*names[:-1], pl.col("label").replace_strict(order, range(len(order))))
        rows = [(_row_name(row), row) for row in wide.iter_rows(named=True)]
        width = max(46, *(len(name) + 2 for name, _ in rows))
        columns = ["chance", *present]
        lines = [f"{'mean over features':<{width}}{'n':>6}" + "".join(f"{column:>17}" for column in columns)]
        for name, row in rows:
            cells = "".join(f"{row[c]:>17.3f}" if row[c] is not None else f"{'-':>17}" for c in columns)
            lines.append(f"{name:<{width}}{row['n_features']:>6}{cells}")
        return [*lines, *self._how_to_read(), *self._meaning(), ""]

    def _how_to_read(self) -> list[str]:
        """What stands behind the headlines of scorers that ask in trials, and what to hold them against."""
        told = self.scores.drop_nulls("headline_of").select("scorer", "headline_of").unique().sort("scorer")
        lines = [
            "chance is the headline that a guess gets; read headline against the shuffled labels of the same scorer."
        ]
        if len(told):
            pairs = ", ".join(f"{metric} ({scorer})" for scorer, metric in told.iter_rows())
            lines.append(f"headline stands for {pairs}; it compares only within one scorer.")
        return lines

    def _meaning(self) -> list[str]:
        """How many labels beat wrong ones, and how steady the judge is, one line a group."""
        own = self.scores.filter((pl.col("label") == "true label") & (pl.col("metric") == "headline"))
        lines = []
        for row in own.sort("feature_set", "low", descending=[False, True], nulls_last=True).iter_rows(named=True):
            name = _row_name(row).removesuffix(": true label")
            if row["share_significant"] is not None:
                beaten = f"{row['share_significant']:.0%} of labels beat wrong ones"
                lines.append(f"{name}: {beaten} (q < 0.05, {row['n_null']:,} scores of wrong labels)")
            if row["flip_rate"] is not None:
                icc = "" if row["icc"] is None else f", ICC of scores {row['icc']:.2f}"
                lines.append(f"{name}: asked again, the judge flips {row['flip_rate']:.1%} of its answers{icc}")
        return lines

    def _gaps(self) -> list[str]:
        """One line a chooser: how much of the score it chose by is the luck of the best of several."""
        return [
            f"{row['feature_set']}, {row['explainer']}: chosen by a headline of {row['select_score']:.3f} on select, "
            f"{row['score']:.3f} on score: gap {row['gap']:+.3f} over {row['n_features']:,} features (the best of several "
            "looks better than it is)"
            for row in self.gaps.iter_rows(named=True)
        ]

    def _requests(self) -> list[str]:
        usage = self.outcome.usage
        if not usage.requests:
            return []
        cost = "cost not known" if usage.cost_usd is None else f"${usage.cost_usd:.4f}"
        text = (
            f"{usage.requests:,} requests to language models ({self.outcome.n_reused:,} answered earlier and not sent), "
            f"{_tokens(usage)}, {cost}"
        )
        lines = [text]
        if usage.input_tokens and usage.cached_input_tokens is not None:
            lines.append(
                f"{usage.cached_input_tokens / usage.input_tokens:.0%} of the tokens in came from prompt caches"
            )
        if usage.second_questions:
            lines.append(f"{usage.second_questions:,} asked again, because the first answer could not be used")
        if usage.answers_with_prose:
            lines.append(f"{usage.answers_with_prose:,} answers held more than the JSON that was asked for")
        if self.outcome.n_sent_again:
            again = self.outcome.n_sent_again
            lines.append(f"{again} were under way when an earlier run was killed and were sent again")
        return [*lines, *self._costs()]

    def _costs(self) -> list[str]:
        """One line for each thing that this run's models make; what others have cost, earlier, is in the JSON."""
        shown = [cost for cost in self.costs if cost.model in self.outcome.models]
        others = sorted({cost.model for cost in self.costs} - {cost.model for cost in shown})
        lines = [cost.as_text() for cost in shown]
        return [*lines, f"What {', '.join(others)} cost in earlier runs: --json"] if others else lines

    def _pending(self) -> list[str]:
        if not self.outcome.n_pending:
            return []
        return [
            f"Under way: {self.outcome.n_pending:,} answers are in batches (featlas batches). The same command collects "
            "them and goes on."
        ]

    def _failures(self) -> list[str]:
        if not self.outcome.failures:
            return []
        lost = ", ".join(f"{reason} ({count:,})" for reason, count in sorted(self.outcome.failures.items()))
        lines = [f"Not complete: {lost}. The same command tries these again."]
        if self.outcome.usage.requests:
            lines[0] = (
                f"Not complete: {lost}. The same command asks again, except where two answers could not be used: that "
                f"takes --retry-failed. What came back: featlas ledger failures{self._place()}"
            )
        if any(NO_CALIBRATION in reason for reason in self.outcome.failures):
            lines.append(
                f"{NO_CALIBRATION} means too little text to judge on: raise corpus.max_tokens, or add documents."
            )
        return lines

    def _end(self) -> list[str]:
        times = ", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in self.outcome.seconds.items())
        workers = f", in a worker process {self.worker_memory_mib:,} MiB" if self.worker_memory_mib else ""
        lines = [f"{times}; peak memory {self.peak_memory_mib:,} MiB{workers}"]
        if self.outcome.report:
            lines.append(f"Report: {self.outcome.report}")
        lines.append(
            f"Ask further: featlas query{self._place()} "
            '"select feature, label, score from labels order by score_low desc limit 10"'
        )
        return lines

    def _place(self) -> str:
        """The option that names the workspace, where one is needed."""
        default = Path("workspace").absolute()
        return "" if self.workspace == default else f" --workspace {shlex.quote(str(self.workspace))}"


def summarize(workspace: Path, outcome: Outcome) -> Summary:
    """Read the main numbers back from the published snapshot."""
    place = Workspace(workspace)
    own, workers = _peak_mib(resource.RUSAGE_SELF), _peak_mib(resource.RUSAGE_CHILDREN)
    costs = tuple(unit_costs(place)) if outcome.usage.requests else ()
    return Summary(
        place.root,
        outcome,
        query(place, STATUSES),
        query(place, SCORES),
        own,
        workers,
        query(place, CORPORA),
        costs,
        query(place, GAPS),
        query(place, LABELED),
    )


def _tokens(usage: Usage) -> str:
    if usage.input_tokens is None or usage.output_tokens is None:
        return "tokens not known (the server did not say)"
    return f"{usage.input_tokens:,} tokens in, {usage.output_tokens:,} out"


def _row_name(row: Mapping[str, Any]) -> str:
    """Who explained and who graded, by which language models, and whose label it was."""
    who = ((row["explainer"], row["explainer_model"]), (row["scorer"], row["judge_model"]))
    explainer, scorer = (f"{name} ({model})" if model else name for name, model in who)
    whose = row["label"] if explainer or row["label"] != "true label" else "the feature itself"
    return f"{' / '.join(filter(None, (explainer, scorer)))}: {whose}"


def _peak_mib(who: int) -> int:
    """Largest resident memory so far: Linux counts in KiB, macOS in bytes."""
    return resource.getrusage(who).ru_maxrss // (1024 if sys.platform != "darwin" else 1024 * 1024)
