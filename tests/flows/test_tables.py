"""Runs on activation tables: the same contexts and scores as the model itself gives, and no model anywhere."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from flows.benches import BenchOptions
from flows.benches.tables import TablesBench
from flows.benches.tables import create as create_bench
from flows.stages.sampler_files import codes_file, directions_file
from labeling.activation_table import ACTIVATIONS, DOCUMENTS, TOKENS
from labeling.codes import read_codes
from labeling.config_files import load_config
from labeling.corpora import embedded
from labeling.errors import UsageError
from labeling.sources.torch import create
from labeling.workspace import Workspace
from tests.flows.mini import Mini, featlas, tables, write_config
from tests.labeling.table_builders import words

TABLE = """
[[features]]
name = "mini"
source = "table"
path = "{path}"

[sample]
seed = {seed}
shard_tokens = {shard_tokens}
panel = 100
threads = 1

[score]
embedding_features = 8
bootstrap = 60
"""
IDENTITIES = {
    *("sample_id", "corpus_id", "explanation_id", "score_id", "clustering_id", "fingerprint", "tokenizer_id"),
    *("source", "model", "hook", "dictionary", "architecture", "corpus", "token_ids", "parameters"),
    *("group_id", "inputs"),
}
"""Columns that say where activations come from, and hashes of it."""


def table_run(folder: Path, path: Path, *, seed: int = 1, shard_tokens: int = 5000) -> Mini:
    config = folder / "table.toml"
    config.write_text(TABLE.format(path=path, seed=seed, shard_tokens=shard_tokens), encoding="utf-8")
    return Mini(config, folder / "workspace")


def export(mini: Mini, folder: Path) -> Path:
    """What a run's model gave, as an activation table: its documents, all their tokens, its codes."""
    sample = mini.ask("SELECT sample_id, corpus_id FROM samples WHERE feature_set = 'mini'").row(0, named=True)
    workspace = Workspace(mini.workspace)
    codes_files = sorted(codes_file(workspace, sample["sample_id"], 0).parent.glob("codes-*.safetensors"))
    codes = read_codes(codes_files, np.arange(64))
    windows = mini.ask("SELECT * FROM windows").filter(pl.col("corpus_id") == sample["corpus_id"]).sort("window_id")
    last = windows["document_id"][-1]
    source = create(feature_sets=load_config(mini.config, environment={}, overrides={}).features[:1], threads=1)
    documents = []
    for document in embedded.create(path=None).documents():
        documents.append(document)
        if document.document_id == last:
            break
    tokenized = source.tokenize(documents)
    folder.mkdir()
    names = [(f"name {number}", document.text) for number, document in enumerate(documents)]
    name_of = {document.document_id: name for document, (name, _) in zip(documents, names, strict=True)}
    tokens = [
        (name_of[d.document.document_id], place, token, start)
        for d in tokenized
        for place, (token, start) in enumerate(zip(d.tokens, d.starts, strict=True))
    ]
    activations = pl.DataFrame(
        {
            "feature": codes.feature,
            "document_id": [name_of[key] for key in windows["document_id"].gather(codes.window)],
            "position": windows["start"].to_numpy()[codes.window] + codes.position,
            "activation": codes.value,
        }
    )
    for form, rows in ((DOCUMENTS, names), (TOKENS, tokens)):
        frame = pl.DataFrame(rows, schema=form.schema, orient="row")
        frame.write_parquet(folder / f"{form.name}.parquet")
    activations.write_parquet(folder / f"{ACTIVATIONS.name}.parquet")
    directions = directions_file(workspace, sample["sample_id"])
    (folder / "directions.safetensors").write_bytes(directions.read_bytes())
    return folder


def compared(before: Path, after: Path) -> tuple[list[str], list[str]]:
    """Names of the tables with the same rows and of those without, whatever the activations come from."""
    same: list[str] = []
    other: list[str] = []
    left, right = tables(before), tables(after)
    for name, frame in left.items():
        columns = [column for column in frame.columns if column not in IDENTITIES]
        plain = [column for column in columns if not frame.schema[column].is_nested()]
        rows = [side.select(columns).sort(plain, nulls_last=True) for side in (frame, right[name])]
        (same if rows[0].equals(rows[1]) else other).append(name)
    return same, other


@pytest.mark.slow
def test_a_table_exported_from_a_model_gives_the_models_own_contexts_labels_and_scores(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    model = Mini(write_config(tmp_path / "model", control=False), tmp_path / "model" / "workspace")
    assert model.featlas("run").code == 0
    again = table_run(tmp_path, export(model, tmp_path / "table"))
    ran = again.featlas("run")
    assert ran.code == 0, ran.err
    same, other = compared(model.workspace, again.workspace)
    assert other == ["corpora", "corpus_problems", "documents"]  # the names of the corpus and of its documents
    assert {"contexts", "explanations", "judgments", "scores", "panel", "windows", "neighbors", "clusters"} <= set(same)
    assert len(again.ask("SELECT * FROM scores")) > 1000
    assert again.ask("SELECT name FROM documents ORDER BY name LIMIT 1").item() == "name 0"


def test_a_table_exported_from_a_model_gives_the_models_own_contexts(mini: Mini, tmp_path: Path) -> None:
    again = table_run(tmp_path, export(mini, tmp_path / "table"))
    ran = again.featlas("sample")
    assert ran.code == 0, ran.err
    assert "sorting" in ran.err  # the codes of a run are sorted by feature
    for table in ("contexts", "panel", "panel_activity", "features", "feature_splits", "feature_tokens"):
        sql = f"SELECT t.* FROM {table} AS t JOIN samples USING (sample_id) WHERE feature_set = 'mini'"
        before, after = (
            run.ask(sql).drop("sample_id").sort(pl.selectors.integer() | pl.selectors.string()) for run in (mini, again)
        )
        assert len(before) > 50
        assert before.equals(after), table


def test_cached_activations_are_a_table_that_gives_the_same_tables_again(mini_copy: Mini, tmp_path: Path) -> None:
    sample = mini_copy.ask("SELECT sample_id FROM samples WHERE feature_set = 'mini'").item()
    for _ in range(2):  # the second time it is there
        ran = mini_copy.featlas("sample", "--cache-activations")
        assert ran.code == 0, ran.err
        assert f"activations/{sample}, an activation table" in ran.err
    cached = mini_copy.workspace / "activations" / sample
    assert sorted(file.stem for file in cached.iterdir()) == [
        *("activations", "directions", "documents", "features", "table", "tokens")
    ]
    again = table_run(tmp_path, cached)
    ran = again.featlas("sample")
    assert ran.code == 0, ran.err
    assert "sorting" not in ran.err
    for table in ("contexts", "panel", "panel_activity", "features", "feature_splits", "feature_tokens", "documents"):
        before, after = (of_mini(run, table) for run in (mini_copy, again))
        assert len(before) > 30
        assert before.equals(after), table


def of_mini(run: Mini, table: str) -> pl.DataFrame:
    """Rows of the feature set `mini` or of its corpus, without what tells where they come from."""
    key = "corpus_id" if table == "documents" else "sample_id"
    rows = run.ask(f"SELECT t.* FROM {table} AS t JOIN samples USING ({key}) WHERE feature_set = 'mini'")
    kept = rows.drop(key, *(["name"] if table == "documents" else []))
    return kept.sort(pl.selectors.integer() | pl.selectors.string())


def small_table(folder: Path) -> Path:
    """250 documents of 60 words out of 60; six features that fire on a word each."""
    content = words(n_documents=250, n_words=60, seed=3, vocabulary=[f"word{number}" for number in range(60)])
    content.activations = [row for row in content.activations if row[0] in range(6)]
    directions = np.eye(6, 4, dtype=np.float32) + 0.1
    return content.write(folder, directions=directions, features=[(f, f"neuron {f}") for f in range(6)])


def test_a_table_alone_is_sampled_labeled_scored_clustered_and_reported(tmp_path: Path) -> None:
    run = table_run(tmp_path, small_table(tmp_path / "table"), shard_tokens=2000)
    ran = run.featlas("run", "--scorer", "pattern")
    assert ran.code == 0, ran.err
    assert set(run.ask("SELECT feature FROM labels WHERE label IS NOT NULL")["feature"]) == set(range(6))
    assert run.ask("SELECT count(*) FROM scores WHERE control IS NULL AND metric = 'headline'").item() >= 6
    assert run.ask("SELECT count(*) FROM cluster_members").item() == 18
    assert run.ask("SELECT source FROM feature_sets").item() == "table"
    named = "SELECT name FROM labels JOIN feature_names USING (sample_id, feature) ORDER BY feature LIMIT 2"
    assert run.ask(named)["name"].to_list() == ["neuron 0", "neuron 1"]
    assert list((run.workspace / "reports").rglob("*.html"))
    assert featlas("doctor", "--workspace", run.workspace).code == 0
    again = run.featlas("run", "--scorer", "pattern")
    assert (again.code, "looking through" in again.err) == (0, False)


@pytest.mark.slow
def test_the_number_of_shards_and_workers_changes_nothing(tmp_path: Path) -> None:
    path = small_table(tmp_path / "table")
    found = []
    for number, (shard_tokens, threads) in enumerate(((100_000, 1), (700, 1), (700, 3))):
        (tmp_path / str(number)).mkdir()
        run = table_run(tmp_path / str(number), path, shard_tokens=shard_tokens)
        ran = run.featlas("sample", "--set", f"sample.threads={threads}")
        assert ran.code == 0, ran.err
        found.append([run.ask(f"SELECT * EXCLUDE (sample_id) FROM {t} ORDER BY ALL") for t in ("contexts", "features")])
    assert all(a.equals(b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


@pytest.mark.slow
def test_no_code_of_a_model_is_imported_for_a_table(tmp_path: Path) -> None:
    run = table_run(tmp_path, small_table(tmp_path / "table"))
    program = (
        "import sys; from flows.cli import featlas; "
        f"featlas(['sample', '--config', {str(run.config)!r}, '--workspace', {str(run.workspace)!r}], standalone_mode=False); "
        "found = {'transformers', 'tokenizers', 'labeling.sources.torch', 'labeling.dictionaries'} & set(sys.modules); "
        "sys.exit(f'imported: {found}' if found else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120, cwd=Path.cwd()
    )
    assert done.returncode == 0, done.stderr


def test_without_directions_there_are_no_neighbors_and_no_clusters(tmp_path: Path) -> None:
    path = small_table(tmp_path / "table")
    (path / "directions.safetensors").unlink()
    run = table_run(tmp_path, path)
    assert run.featlas("sample").code == 0
    ran = run.featlas("cluster")
    assert (ran.code, "no decoder directions are known; skipped" in ran.err) == (0, True)
    strata = set(run.ask("SELECT DISTINCT stratum FROM contexts")["stratum"])
    assert "hard_neighbor" not in strata
    assert {"top", "q1", "q5", "random"} <= strata
    assert run.ask("SELECT d_model FROM feature_sets").item() is None


def test_neuronpedias_export_is_labeled_and_never_scored(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    export = tmp_path / "6-res"
    (export / "activations").mkdir(parents=True)
    with (export / "activations" / "batch-0.jsonl").open("w") as file:
        for feature in range(4):
            for _ in range(30):
                tokens = [f" word{number}" for number in draw.integers(0, 60, 64)]
                tokens[40] = f" word{feature}"
                values = [2.0 if token == f" word{feature}" else 0.0 for token in tokens]
                file.write(json.dumps({"index": str(feature), "tokens": tokens, "values": values}) + "\n")
    assert featlas("import-table", "neuronpedia", export, tmp_path / "table").code == 0
    run = table_run(tmp_path, tmp_path / "table")
    ran = run.featlas("run", "--features", "0-3")
    assert ran.code == 0, ran.err
    assert "score mini: skipped" in ran.err
    assert sorted(run.ask("SELECT feature FROM labels WHERE label IS NOT NULL")["feature"]) == [0, 1, 2, 3]
    assert run.ask("SELECT count(*) FROM scores").item() == 0
    dry = run.featlas("run", "--scorer", "detection", "--model", "openai/gpt-4o-mini", "--dry-run", "--json")
    assert (dry.code, json.loads(dry.out)["estimates"]) == (0, [])  # where a feature is silent is not known
    assert run.ask("SELECT corpus FROM samples").item().endswith("(texts of the strongest activations only)")
    assert featlas("import-table", "delfi", export, tmp_path / "other").code == 2


def test_the_example_of_the_documents_writes_a_table_that_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "activation-tables.md").read_text()
    (example,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(example, {})
    ran = table_run(tmp_path, tmp_path / "my-table").featlas("sample")
    assert "13 tokens and 3 activations" in ran.err
    assert "none of at least 16 tokens" in ran.paragraph()


@pytest.mark.slow
def test_the_bench_says_whether_memory_grows_with_the_table() -> None:
    rows = TablesBench(tokens=(8_000, 16_000)).measure()
    assert [row.unit for row in rows] == ["MiB", "MiB", "x", "MiB", "MiB", "x", "s"]
    assert all(row.value is not None and row.value > 0.5 for row in rows)
    assert rows[2].target == "<= 1.03"
    with pytest.raises(UsageError, match="--workspace"):
        create_bench(options=BenchOptions(workspace=Path("w")))


def test_a_wrong_table_ends_the_run_before_anything_is_written(tmp_path: Path) -> None:
    content = words(n_documents=20)
    content.activations += [(0, "nowhere", 0, 1.0), (1, "d2", -1, 1.0), (1, "d2", 99, 1.0), (2, "d3", 0, float("nan"))]
    run = table_run(tmp_path, content.write(tmp_path / "table"))
    ran = run.featlas("run")
    assert ran.code == 1
    said = ("'nowhere'", "negative position", "position 99", "activation nan", "activations.parquet")
    assert [text for text in said if text not in ran.paragraph()] == []
    assert list((run.workspace / "sampler" / "tables").iterdir()) == []
    assert list((run.workspace / "evidence").rglob("*.parquet")) == []


def test_two_feature_sets_on_one_table_and_a_table_too_short_are_refused(tmp_path: Path) -> None:
    run = table_run(tmp_path, words(n_documents=4).write(tmp_path / "table"))
    text = run.config.read_text()
    ran = run.featlas("run")
    assert (ran.code, "no text to sample" in ran.paragraph()) == (1, True)
    section = text[text.index("[[features]]") : text.index("[sample]")]
    run.config.write_text(text + section.replace('"mini"', '"other"'))
    ran = run.featlas("run")
    assert (ran.code, "one feature set" in ran.paragraph()) == (2, True)


@pytest.mark.slow
def test_a_table_and_a_model_stand_side_by_side(tmp_path: Path) -> None:
    """Each reads its own text."""
    run = table_run(tmp_path, small_table(tmp_path / "table"))
    write_config(tmp_path, control=False)
    model = f'[[features]]\nname = "model"\nmodel = "embedded/minilm"\nhook = "encoder.layer.2"\ndictionary = "{tmp_path}/mini"\n'
    run.config.write_text(f"{model}{run.config.read_text()}\n[corpus]\nmax_tokens = 12000\n")
    ran = run.featlas("sample")
    assert ran.code == 0, ran.err
    assert "read up to max_tokens = 12,000" in ran.err
    corpora = dict(run.ask("SELECT feature_set, corpus FROM samples").iter_rows())
    assert corpora == {"model": "embedded", "mini": str(tmp_path / "table")}


def test_another_sample_of_a_feature_set_is_told_before_it_is_made(tmp_path: Path) -> None:
    run = table_run(tmp_path, small_table(tmp_path / "my-table"))
    first, same, other = (run.featlas("sample", "--seed", seed) for seed in (1, 1, 2))
    assert (first.code, same.code, other.code) == (0, 0, 0)
    told = "a new one is made"
    assert [told in ran.err for ran in (first, same, other)] == [False, False, True]
