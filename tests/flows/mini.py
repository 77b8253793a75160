"""A mini demo that runs end to end in seconds: the embedded model, 20,000 tokens, 64 features of its dictionary.

The dictionaries are cut out of the committed ones, so features fire on real structure; biases are set so that each
fires about as often as in a full dictionary, whatever the committed ones are.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import blake2b
from io import BytesIO, TextIOWrapper
from itertools import islice
from json import dumps
from pathlib import Path

import polars as pl
import torch

from flows.fake_provider import Asked
from labeling.corpora import embedded
from labeling.dictionaries import load
from labeling.dictionaries.featlas import TopKDictionary, save
from labeling.snapshot import open_snapshot, query, select
from labeling.sources._batches import batches
from labeling.sources._tokenizers import tokenize
from labeling.sources._torch_model import open_model
from labeling.windows import cut_windows
from labeling.workspace import Workspace

FEATURE_SET, CONTROL_SET = "mini", "mini-random"
MODEL = "gpt-4o-mini"
"""A model whose price is known."""
N_DOCUMENTS = 8
"""Documents of the embedded corpus that features are chosen on."""
FIRING_SHARE = 0.007
"""Share of tokens that a feature fires on, about."""
HOOK = "encoder.layer.2"

CONTROL = """
[[features]]
name = "mini-random"
model = "embedded/minilm-random"
hook = "encoder.layer.2"
dictionary = "{folder}/mini-random"
control_for = "mini"
"""
CONFIG = f"""
[[features]]
name = "mini"
model = "embedded/minilm"
hook = "encoder.layer.2"
dictionary = "{{folder}}/mini"
{CONTROL}
[corpus]
source = "embedded"
max_tokens = 20000

[sample]
seed = 1
shard_tokens = 5000
panel = 100
threads = 1

[score]
embedding_features = 8
bootstrap = 60
"""


@dataclass(frozen=True)
class Ran:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str

    def paragraph(self) -> str:
        """The one error message. Fail when there is a traceback, another message, or anything after it."""
        lines = [line for line in self.err.splitlines() if line.startswith("Error: ")]
        assert "Traceback" not in self.err + self.out, self.err
        assert len(lines) == 1, self.err
        assert self.err.endswith(f"{lines[0]}\n"), self.err
        return lines[0]


@dataclass(frozen=True)
class Mini:
    """A config and a workspace."""

    config: Path
    workspace: Path

    def featlas(self, command: str, *arguments: object) -> Ran:
        """Run a command that takes a config."""
        return featlas(command, "--config", self.config, "--workspace", self.workspace, *arguments)

    def ask(self, sql: str) -> pl.DataFrame:
        return query(Workspace(self.workspace), sql)

    def copy(self, folder: Path) -> Mini:
        """The same in another folder, to be changed."""
        shutil.copytree(self.workspace, folder / "workspace")
        return Mini(self.config, folder / "workspace")

    def ok_features(self, n: int) -> str:
        """The first `n` features worth labeling, as `--features` takes them."""
        rows = self.ask(
            "SELECT feature FROM features JOIN samples USING (sample_id) "
            f"WHERE feature_set = '{FEATURE_SET}' AND status = 'ok' ORDER BY feature LIMIT {n}"
        )
        assert len(rows) == n
        return ",".join(map(str, rows["feature"].to_list()))


def featlas(*arguments: object) -> Ran:
    """Run the command line in this process, as the installed command does."""
    from flows.cli import main

    out, err, before = _Captured(), _Captured(), sys.argv
    sys.argv = ["featlas", *map(str, arguments)]
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main()
    except SystemExit as end:
        return Ran(int(end.code or 0), out.text(), err.text())
    finally:
        sys.argv = before
    raise AssertionError("the command line must end with an exit code")


class _Captured(TextIOWrapper):
    """A text stream over bytes in memory: `query` writes bytes, everything else text."""

    def __init__(self) -> None:
        super().__init__(BytesIO(), encoding="utf-8", write_through=True)

    def text(self) -> str:
        assert isinstance(self.buffer, BytesIO)
        return self.buffer.getvalue().decode()


def write_config(folder: Path, changes: Mapping[str, str] | None = None, *, control: bool = True) -> Path:
    """Write dictionaries and config into `folder`; `changes` replaces pieces of the config's text."""
    write_dictionaries(folder, control=control)
    text = (CONFIG if control else CONFIG.replace(CONTROL, "")).format(folder=folder)
    for old, new in (changes or {}).items():
        assert old in text, old
        text = text.replace(old, new)
    file = folder / "mini.toml"
    file.write_text(text, encoding="utf-8")
    return file


def write_dictionaries(folder: Path, *, control: bool) -> None:
    """The same bytes every time; kept for the session, because choosing them takes a pass of each model."""
    sources = {"mini": ("embedded/minilm", "embedded/minilm-l2-2048", 64)}
    if control:
        sources["mini-random"] = ("embedded/minilm-random", "embedded/minilm-random-l2-512", 32)
    for name, (model, dictionary, n) in sources.items():
        save(cut(model, dictionary, n), folder / name, card={})


@lru_cache
def cut(model: str, dictionary: str, n: int) -> TopKDictionary:
    """The `n` features of a dictionary whose strongest tokens are spread over most documents of a small text.

    Each gets the bias with which it fires on FIRING_SHARE of the tokens.
    """
    whole = load(dictionary)
    assert isinstance(whole, TopKDictionary)
    activations, document = _read(model)
    scores = (activations - whole.b_dec) @ whole.w_enc.T
    threshold = scores.quantile(1 - FIRING_SHARE, dim=0)
    fires = scores > threshold
    spread = torch.stack([fires[document == d].any(0) for d in range(int(document.max()) + 1)]).sum(0)
    rows = spread.argsort(descending=True, stable=True)[:n].sort().values
    return replace(whole, w_enc=whole.w_enc[rows], b_enc=-threshold[rows], w_dec=whole.w_dec[rows])


def _read(model: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Activations [n, d] of the first documents of the embedded corpus, and the document of each [n]."""
    reader = open_model(model, [HOOK], threads=1)
    documents = list(islice(embedded.create(path=None).documents(), N_DOCUMENTS))
    windows = cut_windows(tokenize(reader.tokenizer, documents), corpus_id="mini", width=32, seed=0)
    number = torch.from_numpy(windows["document_id"].rle_id().to_numpy().astype("int64"))
    parts = [
        (reader.activations(b)[HOOK], number[b.window])
        for b in batches(windows, sequence=256, tokenizer=reader.tokenizer)
    ]
    activations, document = zip(*parts, strict=True)
    return torch.cat(activations), torch.cat(document)


def judge(asked: Asked) -> str:
    """An answer that depends on the question alone: a label, or a grade for every window."""
    number = int.from_bytes(blake2b(asked.user.encode(), digest_size=4).digest(), "big")
    names = list(asked.schema["properties"])
    if "label" in names:
        return dumps({"rationale": "the marked words", "label": f"words of kind {number}"})
    return dumps({name: (number + 37 * place) % 101 for place, name in enumerate(names)})


CLOCK = {"run_id", "created_at", "started_at", "finished_at", "seconds", "latency_seconds", "answered_at", "attempts"}
"""Columns that tell when, how fast and by which run something was made."""


def tables(workspace: Path) -> dict[str, pl.DataFrame]:
    """Every table of the snapshot and all evidence, sorted, without history and what a clock says."""
    names = "SELECT table_name FROM duckdb_tables() UNION SELECT view_name FROM duckdb_views() WHERE NOT internal"
    connection = open_snapshot(Workspace(workspace))
    try:
        known = set(select(connection, names).to_series().to_list()) - {"runs", "shards", "schema_version"}
        return {name: _timeless(select(connection, f'SELECT * FROM "{name}"')) for name in sorted(known)}
    finally:
        connection.close()


def _timeless(frame: pl.DataFrame) -> pl.DataFrame:
    kept = {name: dtype for name, dtype in frame.schema.items() if name not in CLOCK}
    return frame.select(list(kept)).sort(
        [name for name, dtype in kept.items() if not dtype.is_nested()], nulls_last=True
    )


def differing(before: Mapping[str, pl.DataFrame], after: Mapping[str, pl.DataFrame]) -> list[str]:
    """Names of the tables that are not the same."""
    assert before.keys() == after.keys()
    return [name for name in before if not before[name].equals(after[name])]


def first_difference(before: pl.DataFrame, after: pl.DataFrame) -> str:
    """The first row that is not the same, in both."""
    if before.shape != after.shape:
        return f"{before.shape} rows and columns, then {after.shape}"
    for one, other in zip(before.iter_rows(named=True), after.iter_rows(named=True), strict=True):
        if one != other:
            return f"{one}, then {other}"
    return "none"
