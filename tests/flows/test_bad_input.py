"""What goes wrong outside the program: one paragraph, the value seen, what to do, the right exit code, nothing lost."""

from __future__ import annotations

import json
import os
import pickle
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import polars as pl
import pytest
import torch

from flows.fake_provider import LoopbackProvider
from labeling.config import default_config_text
from labeling.dictionaries.featlas import TopKDictionary, save
from labeling.store import Store
from labeling.workspace import Workspace
from tests.flows.mini import MODEL, Mini, differing, featlas, judge, tables, write_config

ASK = ("--explainer", "top_and_random", "--scorer", "detection", "--model", f"openai/{MODEL}")


def changed(mini: Mini, folder: Path, old: str, new: str) -> Mini:
    """The mini config with a piece of its text replaced, and an empty workspace."""
    text = mini.config.read_text()
    assert old in text
    config = folder / "changed.toml"
    config.write_text(text.replace(old, new), encoding="utf-8")
    return Mini(config, folder / "workspace")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("panel = 100", "panell = 100", ["panell", "panel"]),
        ("[sample]", "[smaple]", ["smaple", "sample"]),
        ("panel = 100", "panel = -3", ["-3", "panel"]),
        ("panel = 100", "panel = ", ["changed.toml"]),
        ("[score]", "[label]\nfeatures = 'some'\n[score]", ["'some'", "0-199"]),
        ("[score]", "[label]\nfeatures = '9-3'\n[score]", ["9-3"]),
        ("[score]", "[label]\nexplainer = 'tokn_pattern'\n[score]", ["tokn_pattern", "token_pattern"]),
        ("[score]", "[score]\nscorers = ['detektion']", ["detektion", "detection"]),
        ("[score]", "[label]\nexplainer = 'top_and_random'\n[score]", ["top_and_random", "provider/model"]),
        ("[score]", "[label]\nmodel = 'gpt'\n[score]", ["'gpt'", "provider/model"]),
        ("[score]", "[label]\nmodel = 'opnai/gpt'\n[score]", ["opnai", "openai"]),
        ('source = "embedded"', 'source = "embeded"', ["embeded", "embedded"]),
        ('source = "embedded"', 'source = "files"', ["files", "path"]),
        ('source = "embedded"', 'source = "files"\npath = "/no/such/text"', ["/no/such/text"]),
        ('model = "embedded/minilm"', 'model = "embedded/minilmm"', ["embedded/minilmm", "embedded/minilm"]),
        ('hook = "encoder.layer.2"', 'hook = "encoder.layer.22"', ["encoder.layer.22", "encoder.layer.2"]),
        ("dictionary = \"", "dictionary = \"/no/such", ["/no/such"]),
    ],
)  # fmt: skip
def test_a_config_that_cannot_be_right_is_refused_with_what_was_seen_and_what_is_known(
    mini: Mini, tmp_path: Path, old: str, new: str, said: list[str]
) -> None:
    ran = changed(mini, tmp_path, old, new).featlas("run")
    assert ran.code == 2
    assert [text for text in said if text not in ran.paragraph()] == []


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["labl"], 2, "label"),
        (["run", "--config", "none.toml"], 2, "none.toml"),
        (["query", "select 1", "--workspace", "none"], 1, "featlas run"),
        (["report", "--workspace", "none"], 1, "featlas run"),
        (["doctor", "--workspace", "none"], 1, "none"),
        (["score", "--workspace", "none"], 2, "featlas init"),
        (["run", "--set", "panel"], 2, "section.key=value"),
    ],
)
def test_commands_say_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = featlas(*arguments)
    assert (ran.code, said in ran.paragraph()) == (code, True)
    assert list(tmp_path.iterdir()) == []


def test_a_bad_selection_in_sql_is_refused_and_nothing_is_lost(
    mini_copy: Mini, mini_tables: dict[str, pl.DataFrame]
) -> None:
    for sql, said in (
        ("selec 1", "selec"),
        ("select label from labels", "feature number"),
        ("drop table labels", "select"),
    ):
        ran = mini_copy.featlas("label", "--features", f"sql: {sql}")
        assert ran.code == 2
        assert said in ran.paragraph().lower()
    assert differing(mini_tables, tables(mini_copy.workspace)) == []


def test_an_empty_corpus_and_one_too_small_for_a_split_are_refused(mini: Mini, tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    small = changed(mini, tmp_path, 'source = "embedded"', f'source = "files"\npath = "{texts}"')
    ran = small.featlas("run")
    assert (ran.code, str(texts) in ran.paragraph()) == (2, True)
    (texts / "a.txt").write_text("too short")
    ran = small.featlas("run")
    assert (ran.code, "no text" in ran.paragraph()) == (1, True)
    (texts / "b.txt").write_text("One document can't stand in three splits, however long it is. " * 40)
    ran = small.featlas("run")
    assert (ran.code, "too small" in ran.paragraph(), "split" in ran.paragraph()) == (1, True, True)


def test_a_dictionary_of_another_width_is_refused(mini: Mini, tmp_path: Path) -> None:
    narrow = torch.ones(8, 100)
    save(TopKDictionary(narrow, torch.zeros(8), narrow, torch.zeros(100), k=1), tmp_path / "narrow", card={})
    ran = changed(mini, tmp_path, f'{mini.config.parent}/mini"', f'{tmp_path}/narrow"').featlas("run")
    assert ran.code == 1
    assert all(text in ran.paragraph() for text in ("100 wide", "384", "encoder.layer.2"))


class Trap:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.trace),)


def test_a_pickled_dictionary_is_refused_unopened_and_the_message_says_how_to_convert_it(
    mini: Mini, tmp_path: Path
) -> None:
    folder = tmp_path / "pickled"
    folder.mkdir()
    (folder / "sae.pt").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    ran = changed(mini, tmp_path, f'{mini.config.parent}/mini"', f'{folder}"').featlas("run")
    assert ran.code == 1
    assert all(text in ran.paragraph() for text in ("sae.pt", "safetensors", "save_file"))
    assert not (tmp_path / "sprung").exists()


def test_pickled_weights_of_a_model_are_refused_unopened(mini: Mini, tmp_path: Path) -> None:
    from labeling.sources._places import MINILM, folder

    model = tmp_path / "model"
    shutil.copytree(folder(MINILM), model, ignore=shutil.ignore_patterns("*.safetensors"))
    (model / "pytorch_model.bin").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    ran = changed(mini, tmp_path, 'model = "embedded/minilm"', f'model = "{model}"').featlas("run")
    assert (ran.code, "safetensors" in ran.paragraph()) == (1, True)
    assert not (tmp_path / "sprung").exists()


def test_a_missing_key_and_an_unreachable_provider_lose_nothing(
    mini_copy: Mini, mini_tables: dict[str, pl.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = ("--features", mini_copy.ok_features(2))
    ran = mini_copy.featlas("label", *ASK, *few)
    assert (ran.code, "OPENAI_API_KEY" in ran.paragraph()) == (2, True)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-1234567890")
    with LoopbackProvider() as gone:
        url = gone.openai_url
    ran = mini_copy.featlas("run", *ASK, *few, "--base-url", url)
    assert (ran.code, url in ran.paragraph()) == (1, True)
    assert "sk-secret" not in ran.err + ran.out
    assert differing(mini_tables, tables(mini_copy.workspace)) == []


def test_a_refused_key_is_named_but_not_shown(mini_copy: Mini, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-1234567890")
    with LoopbackProvider(judge, key="sk-right-1234567890") as provider:
        few = ("--features", mini_copy.ok_features(2), "--base-url", provider.openai_url)
        ran = mini_copy.featlas("label", *ASK, *few)
        assert (ran.code, "OPENAI_API_KEY" in ran.paragraph()) == (1, True)
        assert "sk-wrong" not in ran.err + ran.out
        monkeypatch.setenv("OPENAI_API_KEY", "sk-right-1234567890")
        assert mini_copy.featlas("label", *ASK, *few).code == 0
    message = mini_copy.ask("SELECT message FROM runs WHERE state = 'failed'").item()
    assert "OPENAI_API_KEY" in message
    assert "sk-wrong" not in message


def test_a_second_run_on_a_workspace_is_told_who_is_writing_and_queries_still_work(mini_copy: Mini) -> None:
    with Store(Workspace(mini_copy.workspace)):
        ran = mini_copy.featlas("run")
        assert (ran.code, "in use" in ran.paragraph(), str(os.getpid()) in ran.paragraph()) == (1, True, True)
        assert len(mini_copy.ask("SELECT * FROM labels")) > 0
    assert mini_copy.featlas("cluster").code == 0


@contextmanager
def files_of_at_most(n_bytes: int) -> Iterator[None]:
    """Writing beyond fails as on a full disk, with EFBIG instead of ENOSPC."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.slow
def test_a_disk_that_is_full_while_sampling_ends_in_one_paragraph_and_the_run_resumes(
    mini: Mini, tmp_path: Path
) -> None:
    """With more room each time the run fails at another file: a log, windows, the database, the snapshot."""
    fresh = Mini(write_config(tmp_path, {"max_tokens = 20000": "max_tokens = 12000"}, control=False), tmp_path / "w")
    failed_at = []
    for n_bytes in (1_000, 20_000, 100_000, 400_000):
        with files_of_at_most(n_bytes):
            ran = fresh.featlas("sample")
        assert ran.code == 1
        assert "cannot be written" in ran.paragraph()
        assert "resumes" in ran.paragraph()
        failed_at.append(Path(ran.paragraph().split(" cannot")[0]).suffix)
        Store(Workspace(fresh.workspace)).close()  # an empty database is larger than the files that come next
    assert failed_at == [".new", ".parquet", ".duckdb", ".new"]
    again = fresh.featlas("sample")
    assert again.code == 0, again.err
    assert featlas("doctor", "--workspace", fresh.workspace).code == 0


@pytest.mark.parametrize("command", ["label", "score", "report"])
def test_a_full_disk_in_a_later_stage_loses_nothing_that_was_stored(
    mini_copy: Mini, mini_tables: dict[str, pl.DataFrame], command: str
) -> None:
    arguments = {"label": ["--set", "label.repeats=2"], "score": ["--scorer", "pattern", "--features", "0-9"]}
    with files_of_at_most(10_000):
        if command == "report":
            ran = featlas("report", "--workspace", mini_copy.workspace)
        else:
            ran = mini_copy.featlas(command, *arguments[command])
    assert ran.code == 1
    assert "written" in ran.paragraph()
    assert differing(mini_tables, tables(mini_copy.workspace)) == []
    assert featlas("doctor", "--workspace", mini_copy.workspace).code == 0


def test_a_full_disk_while_answers_arrive_keeps_those_that_arrived(
    mini_copy: Mini, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1234567890")
    with LoopbackProvider(judge) as provider:
        few = (*ASK, "--features", mini_copy.ok_features(6), "--base-url", provider.openai_url)
        with files_of_at_most(90_000):
            ran = mini_copy.featlas("run", *few)
        assert ran.code == 1
        assert "disk" in ran.paragraph()
        again = mini_copy.featlas("run", *few)
        assert again.code == 0, again.err
        assert provider.counts()["answered_twice"] <= 64  # those in flight when the disk was full


def test_the_file_that_init_writes_is_a_config_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert featlas("init").code == 0
    assert Path("featlas.toml").read_text() == default_config_text()
    again = featlas("init")
    assert (again.code, "--force" in again.paragraph()) == (2, True)


def test_hostile_text_and_labels_stay_data_in_prompts_report_and_csv(
    mini: Mini, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Markup, formulas, template syntax and control characters, in the corpus and in the labels."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1234567890")
    hostile = '<script>alert(1)</script> {{ 7 * 7 }} {% raw %} =HYPERLINK("x") \x1b[31m \x00 \u202e \' ; DROP TABLE labels; --'
    texts = tmp_path / "texts"
    texts.mkdir()
    write_hostile_texts(texts, hostile)
    changes = {'source = "embedded"': f'source = "files"\npath = "{texts}"'}
    bad = Mini(write_config(tmp_path, changes, control=False), tmp_path / "w")
    assert bad.featlas("sample").code == 0
    labels = ("=1+1", "+cmd|' /C calc'!A0", "<img src=x onerror=alert(2)>", "{{ 7 * 7 }}", "@SUM(1)", "a\x1b[31mb\x00c")

    def answer(asked: object) -> str:
        given = json.loads(judge(asked))  # type: ignore[arg-type]
        return json.dumps({**given, "label": labels[len(provider.asked) % 6]} if "label" in given else given)

    with LoopbackProvider(answer) as provider:
        ran = bad.featlas("run", *ASK, "--base-url", provider.openai_url, "--features", bad.ok_features(12))
    assert ran.code == 0, ran.err
    assert bad.ask("SELECT count(*) FROM windows WHERE contains(text, '<script>alert(1)')").item() > 20
    for asked in provider.asked:
        lines = asked.user.splitlines()
        assert not any("\x1b" in line or "\x00" in line for line in lines)
        assert [line for line in lines if "<script>" in line and not line.rstrip().endswith('"')] == []
    pages = [p.read_text() for p in (bad.workspace / "reports").rglob("*.html")]
    assert pages
    for page in pages:
        assert "alert(1)</script>" not in page
        assert "<img src=x" not in page
        assert "{{ 7 * 7 }}" in page or "{{ 7 * 7 }}" in page.replace("&#123;", "{")
        assert not set(page) & {"\x00", "\x1b", "\u202e"}
    cells = bad_cells(bad, tmp_path)
    assert cells == []


def write_hostile_texts(folder: Path, hostile: str) -> None:
    """Documents of the embedded corpus with a hostile line between their lines."""
    from itertools import islice

    from labeling.corpora import embedded

    for number, document in enumerate(islice(embedded.create(path=None).documents(), 60)):
        lines = document.text.splitlines()
        text = "\n".join(f"{line}\n{hostile}" if place % 12 == 3 else line for place, line in enumerate(lines))
        (folder / f"{number}.txt").write_text(text, encoding="utf-8")


def bad_cells(mini: Mini, folder: Path) -> list[str]:
    """Cells of the report's CSV files, and of a query's, that a spreadsheet would run or a terminal obey."""
    import csv

    out = folder / "query.csv"
    assert (
        featlas("query", "SELECT * FROM labels", "--format", "csv", "--to", out, "--workspace", mini.workspace).code
        == 0
    )
    files = [out, *(mini.workspace / "reports").rglob("*.csv")]
    assert len(files) > 1
    found = []
    for file in files:
        with file.open(newline="", encoding="utf-8") as lines:
            for cell in (cell for row in csv.reader(lines) for cell in row):
                formula = cell[:1] in "=+@\t\r" and cell[:1] != "" and not is_number(cell)
                if formula or "\x1b" in cell or "\x00" in cell:
                    found.append(f"{file.name}: {cell[:40]!r}")
    return found


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def test_a_module_without_a_row_for_each_token_is_refused(mini: Mini, tmp_path: Path) -> None:
    other = Mini(mini.config, tmp_path / "workspace")
    ran = other.featlas("sample", "--set", "features.hook=pooler")
    assert ran.code == 2
    assert "Hook a module that does" in ran.paragraph()


@pytest.mark.parametrize("command", ["init", "query", "export"])
def test_a_place_that_cannot_hold_a_file_is_told(command: str, mini: Mini, tmp_path: Path) -> None:
    place = tmp_path / "absent" / "file"
    workspace = ("--workspace", mini.workspace)
    options = {
        "init": (place,),
        "query": ("SELECT 1", "--to", place, *workspace),
        "export": ("--single-file", place, *workspace),
    }
    ran = featlas(command, *options[command])
    assert ran.code == 2
    assert str(place) in ran.paragraph()


def test_what_would_stop_a_run_later_is_told_before_sampling(
    mini: Mini, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    fresh = Mini(mini.config, tmp_path / "workspace")
    keyless = fresh.featlas("run", "--model", "openai/x", "--explainer", "top_and_random")
    absent = fresh.featlas("run", "--set", "label.features=0-99999")
    assert (keyless.code, absent.code) == (2, 2)
    assert "OPENAI_API_KEY is not set" in keyless.paragraph()
    assert "no feature 99999" in absent.paragraph()
    assert "shards" not in keyless.err + absent.err


def test_a_value_of_the_command_line_is_not_blamed_on_the_file(mini: Mini) -> None:
    ran = mini.featlas("run", "--set", "sample.window=33")
    assert ran.paragraph().startswith("Error: the command line: sample.sequence is 256")


def test_a_run_that_was_killed_is_not_running_forever(mini_copy: Mini) -> None:
    with Store(Workspace(mini_copy.workspace)) as store:
        last = store.read("runs").tail(1)
        store.save("runs", last.with_columns(run_id=pl.lit("dead"), state=pl.lit("running")))
    assert mini_copy.featlas("run").code == 0
    assert mini_copy.ask("SELECT state FROM runs WHERE run_id = 'dead'").item() == "killed"


def test_a_report_of_an_earlier_versions_workspace_brings_it_up_to_date(mini_copy: Mini) -> None:
    snapshot = Workspace(mini_copy.workspace).snapshot
    with duckdb.connect(snapshot) as connection:
        connection.execute("DELETE FROM schema_version WHERE version = (SELECT max(version) FROM schema_version)")
    workspace = ("--workspace", mini_copy.workspace)
    assert "Run `featlas report`" in featlas("query", "SELECT 1", *workspace).paragraph()
    assert featlas("report", *workspace).code == 0
    assert featlas("query", "SELECT 1", *workspace).code == 0
