"""Reports as files: any kind in any format, and the tables of the run report as CSV beside it.

It reads the published snapshot and the evidence through named queries, and writes only into the folder it is given.
What a report shows of corpora, models and labels is text: every format makes it visible and harmless.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from dashboards import formats, queries, reports
from dashboards.tables import as_csv
from labeling.errors import FeatlasError
from labeling.workspace import Workspace

COMMAND = "featlas report"
RUN, HTML = "run", "html"


@dataclass(frozen=True)
class Wanted:
    """A report that is asked for, its format and the command that makes it again."""

    kind: str = RUN
    form: str = HTML
    settings: Mapping[str, Any] | None = None
    """What is asked of the kind; see `reports`."""
    command: str = COMMAND


def write_report(workspace: Workspace, target: Path, wanted: Wanted | None = None, *, name: str | None = None) -> Path:
    """Write a report, that of the whole run where nothing else is wanted, into the folder `target`; return its path.

    `name` is that of its file, without an ending. The tables of the run report go beside it as CSV. Files that are there
    are replaced, each as a whole. Raise FeatlasError when no snapshot was published or a stage has not run, UsageError
    for what is not there.
    """
    wanted = wanted or Wanted()
    files: dict[str, bytes] = {}
    with queries.open_reader(workspace) as reader:
        if wanted.kind == RUN:
            files |= {f"{table}.csv": as_csv(frame).encode() for table, frame in tables(reader)}
        rendered = render(reader, wanted, name=name)
    _write(target, {**files, **rendered})
    return target / next(iter(rendered))


def render(reader: queries.Reader, wanted: Wanted, *, name: str | None = None) -> Mapping[str, bytes]:
    """The report's file, first, and the files that belong beside it, by name."""
    report = reports.create(wanted.kind, **(wanted.settings or {}))
    drawn = formats.create(wanted.form)
    document = report.write(reader, command=wanted.command)
    return drawn.render(document if name is None else replace(document, name=name))


def _write(target: Path, files: Mapping[str, bytes]) -> None:
    try:
        for name, content in files.items():
            file = target / name
            file.parent.mkdir(parents=True, exist_ok=True)
            temporary = file.parent / f".{file.name}.{os.getpid()}.tmp"
            temporary.write_bytes(content)
            temporary.replace(file)
    except OSError as error:
        raise FeatlasError(
            f"The report cannot be written to {target}: {error.strerror or error}. Make room or choose another folder; "
            "the workspace is as it was."
        ) from error


def tables(reader: queries.Reader) -> Iterator[tuple[str, pl.DataFrame]]:
    """The page's tables, of all feature sets, by the name of their file."""
    nothing = {"sample_id": "", "feature_set": "", "control_for": None}  # gives every table its columns
    sampled = queries.samples(reader).to_dicts() or [nothing]
    real = [sample for sample in sampled if sample["control_for"] is None]
    yield "labels", pl.concat([queries.all_labels(reader, sample["sample_id"]) for sample in sampled])
    yield "scoreboard", pl.concat([queries.scoreboard(reader, sample["feature_set"]) for sample in real])
    yield "clusters", _together([_of(sample, queries.clusters(reader, sample["sample_id"])) for sample in real])
    yield "status", _together([_of(sample, queries.status_counts(reader, sample["sample_id"])) for sample in sampled])
    losses = [_of(sample, queries.losses(reader, sample["sample_id"])) for sample in sampled]
    yield (
        "losses",
        _together([*losses, queries.failed_requests(reader).select(pl.lit(None).alias("feature_set"), pl.all())]),
    )
    yield "requests", queries.request_cost(reader)
    yield "times", queries.stage_times(reader)


def _of(sample: Mapping[str, Any], frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(pl.lit(sample["feature_set"]).alias("feature_set"), pl.all())


def _together(frames: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(frames, how="vertical_relaxed")  # a column without any value has no type yet
