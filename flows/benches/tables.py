"""The bench `tables`: memory of sampling an activation table, and whether it grows with the number of tokens.

Tables of random words and activations, in no order, are sampled by a process of their own each, one after the other. What
is compared is the largest resident memory that the kernel saw of each.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.benches import BenchOptions, Row, at_most, plain
from flows.benches._processes import run_child
from labeling.errors import FeatlasError

if TYPE_CHECKING:
    from flows.shards import Job, Result

TARGET_RATIO = 1.03
FEATURES, ACTIVE = 2_048, 16
"""Features of the tables, and how many of them are active on each token."""
DOCUMENT_WORDS, VOCABULARY = 256, 5_000
DOCUMENTS_AT_ONCE = 80
CHILD = "import sys; from flows.benches.tables import sample_table; sample_table(sys.argv[1])"


@dataclass(frozen=True)
class Peaks:
    """Largest memory of one run, MiB."""

    sampler: float
    """Until all activations are read: checks, sorting, windows, sampler states."""
    whole: float
    """With the contexts, that is the whole stage."""
    cpu_seconds: float


@dataclass(frozen=True)
class TablesBench:
    """Two tables, the second with more tokens."""

    tokens: tuple[int, int] = (200_000, 1_000_000)

    def measure(self) -> list[Row]:
        few, many = (_measure(tokens) for tokens in self.tokens)
        names = [f"{tokens:,} tokens" for tokens in self.tokens]
        return [
            plain(f"peak memory of reading and sampling, {names[0]}", few.sampler, "MiB"),
            plain(f"peak memory of reading and sampling, {names[1]}", many.sampler, "MiB"),
            at_most("the second over the first", many.sampler / few.sampler, TARGET_RATIO, "x"),
            plain(f"peak memory with contexts, {names[0]}", few.whole, "MiB"),
            plain(f"peak memory with contexts, {names[1]}", many.whole, "MiB"),
            at_most("the second over the first", many.whole / few.whole, TARGET_RATIO, "x"),
            plain(f"CPU of the whole stage, {names[1]}", many.cpu_seconds, "s"),
        ]


def create(*, options: BenchOptions) -> TablesBench:
    """Make the bench. Raise UsageError for options that it does not use."""
    options.only("tables")
    return TablesBench()


def _measure(tokens: int) -> Peaks:
    with tempfile.TemporaryDirectory(prefix="featlas-bench-") as folder:
        write_random_table(Path(folder) / "table", tokens=tokens)
        ran = run_child([sys.executable, "-c", CHILD, folder])
    if ran.exit_code:
        raise FeatlasError(f"Sampling the table of {tokens:,} tokens failed; what it said stands above.")
    said = json.loads(ran.stdout)
    return Peaks(said["sampler"], said["whole"], ran.cpu_seconds)


def write_random_table(folder: Path, *, tokens: int, seed: int = 0) -> None:
    """Documents of random words, and random activations in no order."""
    import numpy as np
    import polars as pl

    from labeling.activation_table import ACTIVATIONS, DOCUMENTS, TOKENS, TableWriter

    draw = np.random.default_rng(seed)
    vocabulary = np.array([f"word{number}" for number in range(VOCABULARY)])
    n_documents = -(-tokens // DOCUMENT_WORDS)
    # the same mixture in every piece, so that one with many pieces is no other kind of table
    with TableWriter(folder) as writer:
        for first in range(0, n_documents, DOCUMENTS_AT_ONCE):
            numbers = np.arange(first, min(first + DOCUMENTS_AT_ONCE, n_documents))
            chosen = vocabulary[draw.integers(0, VOCABULARY, (len(numbers), DOCUMENT_WORDS))]
            starts = np.cumsum(np.char.str_len(chosen) + 1, axis=1)
            starts = np.concatenate([np.zeros((len(numbers), 1), np.int64), starts[:, :-1]], axis=1)
            texts = [" ".join(row) for row in chosen.tolist()]
            document = np.repeat(numbers, DOCUMENT_WORDS)
            position = np.tile(np.arange(DOCUMENT_WORDS), len(numbers))
            writer.write(DOCUMENTS, pl.DataFrame({"document_id": numbers, "text": texts}))
            columns = {
                "document_id": document,
                "position": position,
                "token": chosen.ravel().tolist(),
                "start": starts.ravel(),
            }
            writer.write(TOKENS, pl.DataFrame(columns))
            feature = (
                draw.integers(0, FEATURES, (len(document), 1)) + np.arange(ACTIVE) * (FEATURES // ACTIVE)
            ) % FEATURES
            order = draw.permutation(feature.size)
            activations = {
                "feature": feature.ravel()[order],
                "document_id": np.repeat(document, ACTIVE)[order],
                "position": np.repeat(position, ACTIVE)[order],
                "activation": draw.exponential(size=feature.size).astype(np.float32),
            }
            writer.write(ACTIVATIONS, pl.DataFrame(activations))


def sample_table(folder: str) -> None:
    """What the measured process does: run the stage sample in this process alone, and print its peaks as JSON."""
    from flows.progress import silent_progress
    from flows.session import open_session
    from flows.shards import run_serially
    from flows.stages.sample import sample_all
    from labeling.config import Config, CorpusConfig, FeatureSetConfig
    from labeling.config_files import demo_config

    before_contexts: list[float] = []

    def runner(
        work: Callable[[Job], Result], jobs: Sequence[Job], *, name: str, parallel: bool = False, overlap: int = 1
    ) -> Iterator[tuple[Job, Result]]:
        if name == "contexts":
            before_contexts.append(_peak_mib())
        return run_serially(work, jobs, name=name, parallel=parallel, overlap=overlap)

    plain_config = demo_config(environment={}, overrides={"sample.threads": 1, "sample.shard_tokens": 50_000})
    sections = {name: getattr(plain_config, name) for name in ("sample", "label", "score", "llm", "cluster")}
    table = FeatureSetConfig(name="table", source="table", path=str(Path(folder) / "table"))
    config = Config(features=(table,), corpus=CorpusConfig(max_tokens=10**9), **sections)
    place = Path(folder) / "workspace"
    with open_session(place, config, command="bench", progress=silent_progress(), runner=runner) as session:
        sample_all(session)
    sys.stdout.write(json.dumps({"sampler": before_contexts[0], "whole": _peak_mib()}))


def _peak_mib() -> float:
    """Largest resident memory of this process. Linux counts it in KiB, macOS in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024 * 1024)
