"""The bench `explainers`: how good are the labels that explainers write? On planted features, whose truth is known.

Labels are written by the stage `label` on graded features. Patterns are applied to every window of the `score` split;
labels of language models are looked up where they are known claims, and judged by the model otherwise. Without --model
a scripted reader stands in that knows all claims and sees what the prompt shows. Definitions are in docs/planted.md.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from flows.benches import BenchOptions, Row, plain
from flows.benches.scorers import SIZES
from labeling.errors import unknown_name

if TYPE_CHECKING:
    from flows.benches._planted_labels import Verdicts
    from flows.benches._planted_workspace import Planted
    from labeling.llm.scripted import Script

SCRIPT = "planted-reader"
FEATURE_SET = "graded"
OFFLINE = ("token_pattern", "ngram")
ASKING = ("top_and_random", "contrastive")


@dataclass(frozen=True)
class ExplainersBench:
    workspace: Path | None = None
    corpus: str | None = None
    size: str = "default"
    model: str | None = None
    """`provider/model` that writes and judges labels; None: the scripted reader."""
    seed: int = 0

    def measure(self) -> list[Row]:
        if self.workspace is not None:
            return self._measure(self.workspace)
        with tempfile.TemporaryDirectory(prefix="featlas-bench-") as folder:
            return self._measure(Path(folder))

    def _measure(self, folder: Path) -> list[Row]:
        from flows.benches._planted_labels import baselines, verdicts
        from flows.benches._planted_store import save_rows
        from flows.benches._planted_workspace import SIZES as PLANTED
        from flows.benches._planted_workspace import plant

        planted = plant(folder, PLANTED[self.size], corpus=self.corpus, seed=self.seed)
        with _script(planted, needed=self.model is None):
            names = write_labels(planted, self.model or f"scripted/{SCRIPT}", judged=self.model is not None)
        rows = [plain("planted features", len(planted.features[FEATURE_SET]), "")]
        for name, found in baselines(planted, FEATURE_SET, seed=self.seed).items():
            rows += _rows(f"baseline {name}", found)
        for name in names:
            rows += _rows(name, verdicts(planted, FEATURE_SET, name))
        save_rows(planted, "explainers", rows)
        return rows


def create(*, options: BenchOptions) -> ExplainersBench:
    """Make the bench. Raise UsageError for options that it does not use, and for a size that is not known."""
    options.only("explainers", "workspace", "corpus", "size", "model", "seed")
    size = options.size or "default"
    if size not in SIZES:
        raise unknown_name("size", size, SIZES)
    return ExplainersBench(options.workspace, options.corpus, size, options.model, options.seed or 0)


def write_labels(planted: Planted, model: str, *, judged: bool) -> list[str]:
    """Let the explainers that the bench is about label the features; with `judged`, let the model grade them by `detection` too."""
    from flows.progress import silent_progress, terminal_progress
    from flows.session import open_session
    from flows.shards import run_serially
    from flows.stages.label import label_all
    from flows.stages.score import score_all
    from labeling import explainers
    from labeling.registry import names

    chosen = [name for name in (*OFFLINE, *ASKING) if name in names(explainers)]
    config = replace(
        planted.config,
        label=replace(planted.config.label, explainer=tuple(chosen), model=model),
        score=replace(planted.config.score, scorers=("detection",), model=model, controls=False),
    )
    progress = terminal_progress() if judged else silent_progress()
    with open_session(planted.root, config, command="bench", progress=progress, runner=run_serially) as session:
        label_all(session, [planted.samples[FEATURE_SET]])
        if judged:
            score_all(session, [planted.samples[FEATURE_SET]])
    return chosen


@contextmanager
def _script(planted: Planted, *, needed: bool) -> Iterator[None]:
    """Make the reader known to the provider `scripted` for a while."""
    if not needed:
        yield
        return
    from flows.benches._planted_labels import make_reader
    from labeling.llm.scripted import SCRIPTS

    reader: Script = make_reader(planted)
    SCRIPTS[SCRIPT] = reader
    try:
        yield
    finally:
        del SCRIPTS[SCRIPT]


def _rows(name: str, found: Verdicts) -> list[Row]:
    rows = [
        plain(f"{name}: labels", found.n_labels, f"of {found.n_features}"),
        plain(f"{name}: oracle MCC, mean", found.mcc, ""),
        plain(f"{name}: oracle F1, mean", found.f1, ""),
        plain(f"{name}: as good as the truth", found.as_good, "of labels"),
        *(plain(f"{name}: nearest to {kind}", share, "of labels") for kind, share in found.nearest.items()),
    ]
    if found.headline is not None:
        rows += [
            plain(f"{name}: judged by the model, weighted correlation", found.weighted_correlation, ""),
            plain(f"{name}: judged by the model, headline", found.headline, ""),
        ]
    return [row for row in rows if row.value is not None]
