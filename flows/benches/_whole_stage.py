"""The stage sample as a user runs it, in a process of its own with one thread, taken apart into what costs what.

The embedded model reads the embedded corpus; the dictionary is a TopK of any width with random weights, which costs what
a trained one of that width does. Of the contexts those of the first ranges of features are chosen.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.benches._processes import run_child
from flows.spent import Spent
from flows.worker_processes import ONE_THREAD
from labeling.errors import FeatlasError

if TYPE_CHECKING:
    from flows.shards import Job, Result
    from labeling.config import Config

CHILD = "import sys; from flows.benches._whole_stage import measure_here; measure_here(*sys.argv[1:])"


@dataclass(frozen=True)
class Stage:
    """What is sampled."""

    n_features: int
    k: int
    tokens: int
    context_features: int
    device: str = "cpu"


@dataclass(frozen=True)
class StageCost:
    """Seconds of the parts of one run: CPU seconds, on a GPU wall-clock seconds. Imports and loading are not among them."""

    tokens: int
    reading: float
    """Forward and encode."""
    sampling: float
    """What else is done with a shard of documents: sorting events, sampler states, codes, their files."""
    contexts: float
    """Of the features asked for."""
    tables: float
    """The rest of the stage: merging states, thresholds, tables of all features."""
    corpus: float
    """Reading text, tokens, windows; it comes before the stage's own work and is done once for all feature sets."""
    peak_mib: float

    @property
    def ratio(self) -> float:
        """The stage over forward and encode."""
        return (self.reading + self.sampling + self.contexts + self.tables) / self.reading

    def share(self, part: str) -> float:
        """A part in percent of forward and encode."""
        return 100 * float(getattr(self, part)) / self.reading


def measure(stage: Stage) -> StageCost:
    """Run the stage in a new process. Raise FeatlasError when it fails."""
    with tempfile.TemporaryDirectory(prefix="featlas-bench-") as folder:
        environment = {**os.environ, **dict.fromkeys(ONE_THREAD, "1")}
        ran = run_child([sys.executable, "-c", CHILD, folder, json.dumps(asdict(stage))], environment=environment)
    if ran.exit_code:
        raise FeatlasError(f"Sampling {stage.n_features:,} features failed; what it said stands above.")
    return StageCost(**json.loads(ran.stdout.splitlines()[-1]))


def measure_here(folder: str, stage: str) -> None:
    """What the measured process does: run the stage, and print its cost as JSON."""
    from flows.progress import silent_progress
    from flows.session import open_session
    from flows.sources import group_feature_sets, open_source
    from flows.stages.prepare_corpus import prepare_corpus
    from flows.stages.sample import sample_all

    what = Stage(**json.loads(stage))
    config = _config(Path(folder), what)
    runner = _Runner(what.context_features)
    clock = _clock(what.device)
    place = Path(folder) / "workspace"
    with open_session(place, config, command="bench", progress=silent_progress(), runner=runner) as session:
        [group] = group_feature_sets(config, threads=1)
        source = open_source(group, session.workspace)
        started = clock()
        corpus = prepare_corpus(session, source, max_tokens=group.max_tokens)
        prepared = clock()
        sample_all(session)
        whole = clock() - prepared
    seconds = "cpu_seconds" if what.device == "cpu" else "seconds"
    reading = sum(getattr(cost.reading, seconds) for cost in runner.costs)
    sampling = sum(getattr(cost.whole, seconds) for cost in runner.costs) - reading
    contexts = getattr(runner.contexts, seconds)
    cost = StageCost(
        tokens=corpus.n_tokens,
        reading=reading,
        sampling=sampling,
        contexts=contexts,
        tables=whole - reading - sampling - contexts,
        corpus=prepared - started,
        peak_mib=peak_mib(),
    )
    sys.stdout.write(f"\n{json.dumps(asdict(cost))}")  # DuckDB may have drawn a bar of progress before


def _clock(device: str) -> Callable[[], float]:
    return time.process_time if device == "cpu" else time.perf_counter


@dataclass
class _Runner:
    """A ShardRunner that runs jobs in turn, only the first ranges of contexts, and keeps what they cost."""

    context_features: int
    costs: list[Any] = field(default_factory=list)
    contexts: Spent = field(default_factory=Spent)

    def __call__(
        self,
        work: Callable[[Job], Result],
        jobs: Sequence[Job],
        *,
        name: str,
        parallel: bool = False,  # noqa: ARG002
        overlap: int = 1,  # noqa: ARG002
    ) -> Iterator[tuple[Job, Result]]:
        for job in jobs:
            if name == "contexts" and job.first >= self.context_features:  # type: ignore[attr-defined]  # a ContextShard
                return
            with self.contexts.counted() if name == "contexts" else nullcontext():
                result = work(job)
            if name == "sample":
                self.costs.append(result)
            yield job, result


def _config(folder: Path, stage: Stage) -> Config:
    from labeling.config import CorpusConfig
    from labeling.config_files import demo_config

    _write_dictionary(folder / "dictionary", n_features=stage.n_features, k=stage.k)
    demo = demo_config(environment={}, overrides={"sample.threads": 1})
    dictionary = str(folder / "dictionary")
    features = replace(demo.features[0], name="wide", dictionary=dictionary, device=stage.device)
    return replace(demo, features=(features,), corpus=CorpusConfig(max_tokens=stage.tokens))


def _write_dictionary(folder: Path, *, n_features: int, k: int, d_model: int = 384) -> None:
    import torch

    from labeling.dictionaries.featlas import TopKDictionary, save

    drawn = torch.randn(n_features, d_model, generator=torch.Generator().manual_seed(0))
    rows = torch.nn.functional.normalize(drawn, dim=1)
    dictionary = TopKDictionary(rows, torch.zeros(n_features), rows.clone(), torch.zeros(d_model), k=k)
    save(dictionary, folder, card={})


def peak_mib() -> float:
    """Largest resident memory of this process. Linux counts it in KiB, macOS in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024 * 1024)
