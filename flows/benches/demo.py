"""The bench `demo`: run the demo in a child process and a workspace of its own; its time, memory, and quality.

Quality is read from the workspace by SQL, all of it on features with status `ok`, the `score` split, the scorer
`pattern` and tau = 1 % of a feature's maximum. With a workspace given, only its quality is measured.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flows.benches import BenchOptions, Row, at_least, at_most, between, plain
from flows.benches._processes import Finished, featlas_program, run_child
from labeling.errors import FeatlasError
from labeling.types import TAU_SHARE

WALL_SECONDS, PEAK_MIB = 120.0, 2048.0
"""On two idle cores; on busy ones look at the CPU seconds."""

# Main feature sets with the newest sample of each. One workspace may hold several; the demo has one.
NEWEST = """
newest AS (
    SELECT s.feature_set, arg_max(s.sample_id, s.created_at) AS sample_id
    FROM samples s JOIN feature_sets f USING (feature_set) WHERE f.control_for IS NULL GROUP BY s.feature_set
)"""
MEANS = f"""
SELECT metric, coalesce(control, 'true') AS label, avg(mean) AS mean FROM scoreboard
WHERE explainer = 'token_pattern' AND scorer = 'pattern' AND tau = {TAU_SHARE} AND (control IS NULL OR control = 'shuffled')
GROUP BY ALL
"""
ABOVE_SHUFFLED = f"""
WITH {NEWEST}
SELECT avg((t.value > s.value)::INT) AS share
FROM newest JOIN scores t USING (sample_id) JOIN scores s USING (sample_id, feature, metric, tau, explainer, scorer, epoch)
WHERE t.explainer = 'token_pattern' AND t.scorer = 'pattern' AND t.metric = 'auroc_random' AND t.tau = {TAU_SHARE}
    AND t.control IS NULL AND s.control = 'shuffled'
"""
HARD_SOURCES = f"""
WITH {NEWEST},
hard AS (
    SELECT sample_id, feature, count(*) AS n,
        count(*) FILTER (stratum = 'hard_token') / n AS same_token,
        count(*) FILTER (stratum = 'hard_neighbor') / n AS neighbor,
        count(*) FILTER (stratum = 'hard_text') / n AS similar_text
    FROM contexts WHERE split = 'score' AND stratum LIKE 'hard%' GROUP BY ALL
)
SELECT
    avg((coalesce(same_token, 0) >= 0.2)::INT) AS same_token,
    avg((coalesce(neighbor, 0) >= 0.2)::INT) AS neighbor,
    avg((coalesce(similar_text, 0) >= 0.2)::INT) AS similar_text,
    avg((coalesce(least(same_token, neighbor, similar_text), 0) >= 0.2)::INT) AS all_three
FROM newest JOIN features USING (sample_id) LEFT JOIN hard USING (sample_id, feature) WHERE status = 'ok'
"""
OK_SHARE = f"""
WITH {NEWEST}
SELECT avg((status = 'ok')::INT) AS share FROM newest JOIN features USING (sample_id) WHERE status <> 'dead'
"""


@dataclass(frozen=True)
class DemoBench:
    """`workspace` None runs the demo first."""

    workspace: Path | None

    def measure(self) -> list[Row]:
        if self.workspace is not None:
            return quality(self.workspace)
        with tempfile.TemporaryDirectory(prefix="featlas-bench-") as folder:
            done = _run_demo(Path(folder))
            return [*cost(done), *quality(Path(folder))]


def create(*, options: BenchOptions) -> DemoBench:
    """Make the bench, of an existing workspace or of a new run. Raise UsageError for options that it does not use."""
    options.only("demo", "workspace")
    return DemoBench(options.workspace)


def _run_demo(workspace: Path) -> Finished:
    """Run the demo as it is promised: what the environment says of configs and servers does not count."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("FEATLAS_") and name != "PREFECT_API_URL"
    }
    done = run_child(
        [featlas_program(), "demo", "--workspace", str(workspace), "--no-prefect", "--json"], environment=environment
    )
    if done.exit_code:
        raise FeatlasError(
            f"The demo ended with exit code {done.exit_code} after {done.wall_seconds:.0f} s, so there is nothing to measure. "
            "What it wrote above says why; `featlas demo` runs it alone."
        )
    return done


def cost(done: Finished) -> list[Row]:
    """Time and memory of a finished demo, which printed its summary as JSON."""
    stages: Mapping[str, float] = json.loads(done.stdout)["seconds"]
    return [
        at_most("demo, wall clock", done.wall_seconds, WALL_SECONDS, "s"),
        plain("demo, CPU", done.cpu_seconds, "s"),
        *(plain(f"stage {stage}, wall clock", seconds, "s") for stage, seconds in stages.items()),
        at_most("demo, peak memory", done.peak_mib, PEAK_MIB, "MiB"),
    ]


def quality(workspace: Path) -> list[Row]:
    """How good the labels of a workspace are, beside their controls. A number that is not there misses its target."""
    from labeling.snapshot import query
    from labeling.workspace import Workspace

    place = Workspace(workspace)
    means = {(metric, label): mean for metric, label, mean in query(place, MEANS).iter_rows()}
    shuffled = {metric: means.get((metric, "shuffled")) for metric, _ in means}
    hard = query(place, HARD_SOURCES).row(0, named=True)
    return [
        at_least("auroc_random", means.get(("auroc_random", "true")), 0.74, "mean"),
        at_least("auroc_hard", means.get(("auroc_hard", "true")), 0.62, "mean"),
        *(
            between(f"{metric}, shuffled labels", shuffled.get(metric), 0.45, 0.55, "mean")
            for metric in ("auroc_random", "auroc_hard", "balanced_random")
        ),
        at_least("auroc_random above shuffled", _percent(query(place, ABOVE_SHUFFLED).item(0, 0)), 95, "% of features"),
        plain("headline", means.get(("headline", "true")), "mean"),
        at_least(
            "headline minus shuffled",
            _difference(means.get(("headline", "true")), shuffled.get("headline")),
            0.05,
            "mean",
        ),
        *(
            at_least(f"hard negatives: >= 20 % {name.replace('_', ' ')}", _percent(hard[name]), 80, "% of features")
            for name in ("same_token", "neighbor", "similar_text")
        ),
        plain("hard negatives: >= 20 % of each", _percent(hard["all_three"]), "% of features"),
        at_least("ok features", _percent(query(place, OK_SHARE).item(0, 0)), 75, "% of alive"),
    ]


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _difference(left: float | None, right: float | None) -> float | None:
    return None if left is None or right is None else left - right
