"""The large tables: Parquet files, one a finished shard, read and written without a database.

A shard is the file `evidence/<table>/<key>-<shard>.parquet`, replaced as a whole, so writing it twice is a no-op and
worker processes can write it on their own. `key` is what the shards belong to, such as a sample. The declared
columns and comments are also what the views of the same names in the database show. It knows nothing of SQL.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from labeling.errors import FeatlasError
from labeling.workspace import Workspace

Column = tuple[str, pl.DataType, str]
"""Name, type, and comment."""

TEXT, I64, I32, I16, F32 = pl.String(), pl.Int64(), pl.Int32(), pl.Int16(), pl.Float32()


@dataclass(frozen=True)
class EvidenceTable:
    """One large table: what it holds, and the columns its rows are sorted by inside a shard."""

    name: str
    comment: str
    sorted_by: tuple[str, ...]
    columns: tuple[Column, ...]
    added: tuple[str, ...] = ()
    """Columns that files of an earlier version lack, and that a frame to write may leave out; they are NULL there."""
    rows_together: int = 65_536
    """Rows of a row group, which are read together: what looking up one window, or one feature, costs. Smaller ones make
    whole scans dearer."""

    @property
    def schema(self) -> pl.Schema:
        return pl.Schema({name: dtype for name, dtype, _ in self.columns})


SAMPLE: Column = ("sample_id", TEXT, "Sample the row belongs to.")
FEATURE: Column = ("feature", I32, "Feature: 0-based row of the dictionary.")
WINDOW: Column = ("window_id", I64, "Window id, unique within the corpus of the sample.")
STRATUM: Column = (
    "stratum",
    TEXT,
    "Why the window was chosen: top, q1 (weakest) to q5 (strongest) of the firing windows, grey (active but not "
    "above tau), hard_token, hard_neighbor, hard_text or random (silent).",
)
POPULATION: Column = ("population", I64, "Windows of the split that belong to the stratum, counted exactly.")
MAX_ACTIVATION: Column = ("max_activation", F32, "Largest raw activation in the window; 0 is silent.")
SPLIT: Column = ("split", TEXT, "What the document may be used for: explain, select or score.")

WINDOWS = EvidenceTable(
    "windows",
    "Windows: fixed-length slices of the documents of a corpus, the unit that is sampled and judged.",
    ("window_id",),
    (
        ("corpus_id", TEXT, "Corpus and tokenization the window was cut from."),
        ("window_id", I64, "Window id, unique within the corpus."),
        ("document_id", TEXT, "Document the window was cut from: hash of its text."),
        SPLIT,
        ("start", I32, "Position of the first token in the document, 0-based, special tokens not counted."),
        ("char_start", I32, "Position of the first character in the document, 0-based."),
        ("n_tokens", I16, "Tokens in the window."),
        ("text", TEXT, "Text from the start of the first token to the end of the last."),
        ("token_ids", pl.List(I32), "Vocabulary ids of the tokens."),
        ("tokens", pl.List(TEXT), "The tokens as the tokenizer writes them."),
        ("token_starts", pl.List(I32), "Offset in text of the first character of each token."),
        ("token_ends", pl.List(I32), "Offset in text after the last character of each token."),
    ),
    rows_together=128,
)
CONTEXTS = EvidenceTable(
    "contexts",
    "Contexts: windows chosen for a feature, with its activations. A window can stand in more than one stratum.",
    ("feature", "split", "stratum", "window_id"),
    (
        SAMPLE,
        FEATURE,
        SPLIT,
        STRATUM,
        WINDOW,
        ("document_id", TEXT, "Document of the window; no document is in two splits."),
        POPULATION,
        ("sampled", I32, "Contexts drawn from the stratum; population / sampled is the weight of a context."),
        MAX_ACTIVATION,
        ("positions", pl.List(I16), "Tokens of the window with a non-zero activation, 0-based."),
        ("activations", pl.List(F32), "Raw activation at each of the positions."),
    ),
    rows_together=4096,
)
PANEL = EvidenceTable(
    "panel",
    "The shared random panel: windows of the score split drawn once for all features of a sample.",
    ("rank",),
    (
        SAMPLE,
        ("rank", I32, "Place in the panel, 0-based; the first k windows are themselves a random sample."),
        WINDOW,
    ),
)
PANEL_ACTIVITY = EvidenceTable(
    "panel_activity",
    "Panel windows on which a feature is not silent; every other window of the panel is `random` for it.",
    ("feature", "window_id"),
    (SAMPLE, FEATURE, WINDOW, STRATUM, POPULATION, MAX_ACTIVATION),
)
JUDGMENTS = EvidenceTable(
    "judgments",
    "Judgments: one answer of a judge: whether a feature fires in a window, given a label, or a trial of another kind.",
    ("feature", "explainer", "explainer_model", "control", "judge_model", "epoch", "split", "window_id", "trial"),
    (
        SAMPLE,
        FEATURE,
        (
            "explanation_id",
            TEXT,
            "Explanation that was judged; NULL for the controls no_label, generic and over_broad.",
        ),
        ("explainer", TEXT, "Explainer that wrote the label; empty for scorers that judge features, not labels."),
        ("explainer_model", TEXT, "Language model of the explainer; NULL for offline explainers."),
        ("control", TEXT, "NULL for the feature's own label, else which control was judged in its place."),
        ("scorer", TEXT, "Scorer that asked."),
        ("judge_model", TEXT, "Language model that answered; NULL for offline scorers."),
        ("epoch", I32, "Raised to ask the same judge again; 0 is the first time."),
        SPLIT,
        WINDOW,
        (
            "grade",
            F32,
            "Answer as given: 0-1 from language models, a raw number offline, the scorer's own in trials; NULL where it is lost.",
        ),
        (
            "probability",
            F32,
            "The grade as a probability 0-1, calibrated on the select split; NULL where it is lost or none.",
        ),
        ("state", TEXT, "answered or lost."),
        ("reason", TEXT, "Why the judgment is lost; NULL where it is answered."),
        ("request_key", TEXT, "Request that asked, in llm_requests; NULL for offline scorers."),
        (
            "place",
            I16,
            "Place of the window among those of its request, 1-based; NULL for offline scorers and judgments of earlier versions.",
        ),
        (
            "first_request_key",
            TEXT,
            "Request that asked before, where its answer could not be used; NULL where it was asked once.",
        ),
        (
            "trial",
            I32,
            "Number of the trial among those of the label, 0-based; NULL for scorers that grade windows, like all columns below.",
        ),
        ("variant", TEXT, "Kind of trial, in the scorer's words, such as the quantile that its windows come from."),
        ("truth", F32, "Right answer, in the numbers of grade; NULL where nothing is right or wrong."),
        ("options", I16, "Answers to choose from; NULL where the answer is no choice."),
        ("weight", F32, "Windows of the split that the trial stands for."),
        ("shown", pl.List(I64), "Windows that were shown, in their order; window_id is the first of them."),
        ("token_levels", pl.List(F32), "Level 0-10 predicted for each token; empty for scorers that predict none."),
        ("token_activations", pl.List(F32), "Raw activation of each of those tokens."),
        (
            "token_expected_levels",
            pl.List(F32),
            "Expected level 0-10 of each of those tokens by the probabilities of the judge's output; empty where it gave "
            "none: then there are only the levels that it wrote.",
        ),
    ),
    added=(
        "place",
        "first_request_key",
        "trial",
        "variant",
        "truth",
        "options",
        "weight",
        "shown",
        "token_levels",
        "token_activations",
        "token_expected_levels",
    ),
    rows_together=4096,
)
LLM_REQUESTS = EvidenceTable(
    "llm_requests",
    "Requests to language models, copied from the ledger when a snapshot is published.",
    ("request_key",),
    (
        ("request_key", TEXT, "Identity of the request: hash of model, prompt, schema and repeat."),
        ("provider", TEXT, "Provider: the part of the model's name before the slash."),
        ("model", TEXT, "Language model, as provider/model."),
        (
            "purpose",
            TEXT,
            "What was asked for: label, score, name, or select: to try a label that is still being chosen.",
        ),
        ("repeat", I32, "Raised to ask the same question again; 0 is the first time."),
        ("prompt_hash", TEXT, "Hash of the prompt."),
        ("state", TEXT, "answered or failed."),
        ("reason", TEXT, "Why the request failed; NULL where it is answered."),
        ("attempts", I32, "How often the request was sent."),
        ("stop_reason", TEXT, "Why the model stopped, in the provider's word."),
        ("input_tokens", I64, "Tokens of the prompt, cached ones included; NULL where nobody said."),
        (
            "cached_input_tokens",
            I64,
            "Tokens of the prompt that the provider read from its cache; NULL where nobody said.",
        ),
        ("output_tokens", I64, "Tokens of the answer; NULL where nobody said."),
        (
            "cost_usd",
            pl.Float64(),
            "Cost in US dollars of all that was billed; NULL where price or tokens are not known.",
        ),
        ("batch", TEXT, "Batch it was sent in, by Featlas's own id; NULL when it was sent by itself."),
        ("latency_seconds", pl.Float64(), "Seconds from sending to the answer."),
        ("answer", TEXT, "The answer as the model gave it."),
        ("answered_at", pl.Datetime("us"), "When the answer arrived, UTC."),
    ),
    added=("batch",),
)
TABLES: Mapping[str, EvidenceTable] = {
    table.name: table for table in (WINDOWS, CONTEXTS, PANEL, PANEL_ACTIVITY, JUDGMENTS, LLM_REQUESTS)
}


def write_shard(workspace: Workspace, table: str, key: str, shard: int, frame: pl.DataFrame) -> Path:
    """Write one shard as a whole and return its file. Needs no Store, so that worker processes can call it.

    Columns are put in the declared order and type, rows in the declared order. Raise ValueError when the columns are
    not the declared ones, FeatlasError when the disk does not take the file.
    """
    declared = TABLES[table]
    frame = completed(table, frame)
    check_columns(table, frame.columns, declared.schema.names())
    file = shard_file(workspace, table, key, shard)
    # The name keeps other processes and unfinished files apart: only `.parquet` files are ever read.
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    typed = frame.select(pl.col(name).cast(dtype) for name, dtype in declared.schema.items())
    check_numbers(table, typed)
    ordered = typed.sort(declared.sorted_by)
    content = io.BytesIO()  # written by Python, whose errors say what the disk's trouble is
    ordered.write_parquet(content, compression="zstd", row_group_size=declared.rows_together)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as stream:
            stream.write(content.getbuffer())
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
        sync_folder(file.parent)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise disk_error(file, error) from error
    return file


def remove_unfinished(workspace: Workspace) -> None:
    """Delete what processes that were killed left half written. Only for the one who may write to the workspace."""
    for file in workspace.evidence_folder.glob("*/.*.tmp"):
        file.unlink(missing_ok=True)


def shard_file(workspace: Workspace, table: str, key: str, shard: int) -> Path:
    """Path of a shard. Raise ValueError when the key is no safe file name."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.]*", key):
        raise ValueError(f"evidence key {key!r} is not made of letters, digits, dots and underscores")
    return workspace.evidence(table) / f"{key}-{shard:05d}.parquet"


def shard_files(workspace: Workspace, table: str, key: str | None = None) -> list[Path]:
    """Finished shards of a table in the order of their names, of one key or of all."""
    prefix = "" if key is None else f"{key}-"
    folder = workspace.evidence(TABLES[table].name)
    return sorted(f for f in folder.glob("*.parquet") if f.name.startswith(prefix) and not f.name.startswith("."))


def scan(workspace: Workspace, table: str, key: str | None = None) -> pl.LazyFrame:
    """Rows of a table in the order of its shards; an empty frame of the right columns when there is no shard."""
    files = shard_files(workspace, table, key)
    if not files:
        return pl.LazyFrame(schema=TABLES[table].schema)
    return scan_files(table, files)


def scan_files(table: str, files: list[Path]) -> pl.LazyFrame:
    """Rows of some shards of a table, of which there is at least one. Columns added since they were written are NULL."""
    declared = TABLES[table]
    if not declared.added:
        return pl.scan_parquet(files, glob=False)
    return pl.scan_parquet(files, glob=False, schema=declared.schema, missing_columns="insert")


def completed(table: str, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with the columns that were added to its table, NULL where it has none of its own."""
    schema, added = TABLES[table].schema, TABLES[table].added
    missing = [name for name in added if name not in frame.columns]
    return frame.with_columns(pl.lit(None, schema[name]).alias(name) for name in missing)


def check_columns(table: str, seen: list[str], declared: list[str]) -> None:
    """Raise ValueError, a programming error, when a frame has other columns than its table."""
    unknown, missing = sorted(set(seen) - set(declared)), sorted(set(declared) - set(seen))
    if unknown or missing:
        raise ValueError(f"columns of {table}: unknown {unknown}, missing {missing}; declared {declared}")


def check_numbers(table: str, frame: pl.DataFrame) -> None:
    """Raise ValueError when a number is not a number: what is not known is NULL, which means and sorts look past."""
    bad = [s.name for s in frame if s.dtype.is_float() and s.is_nan().any()]
    if bad:
        raise ValueError(f"{table}: NaN in {bad}; store NULL and a reason instead")


def sync_folder(folder: Path) -> None:
    """Make a rename in the folder outlast a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def unreadable(workspace: Workspace | None, table: str, why: str) -> FeatlasError:
    """Say which large table can't be read."""
    folder = workspace.evidence(table) if workspace else table
    return FeatlasError(
        f"The files in {folder} cannot be read as the table {table}: {why}. One of them is damaged or was "
        "written by another version. Restore it from a copy, or start another workspace with --workspace DIR; copy "
        "ledger.sqlite there first, and no paid answer is asked for again."
    )


def disk_error(path: Path, error: OSError) -> FeatlasError:
    """Say which file the disk did not take, and that nothing is lost."""
    return FeatlasError(
        f"{path} cannot be written: {error.strerror or error}. Everything stored before is still there. "
        "Make room on the disk or the folder writable, then run the same command again; it resumes."
    )
