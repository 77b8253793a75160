"""Text from files of one's own, through the command line: what was lost is said, stored and shown."""

from __future__ import annotations

import gzip
import json
from itertools import islice
from pathlib import Path

import pytest

from flows.stages.corpus_problems import ShortDocuments, in_words, problem_rows
from labeling.corpora import embedded, jsonl
from labeling.corpora._duplicates import DuplicateFilter
from labeling.identity import text_id
from labeling.types import Document, TokenizedDocument
from tests.flows.mini import Mini, featlas, write_config

N_DOCUMENTS = 60
KEPT = "FROM corpus_problems SELECT problem, n, example WHERE problem <> 'near-duplicates' ORDER BY problem"


@pytest.fixture(scope="module")
def records() -> list[dict[str, str]]:
    documents = islice(embedded.create(path=None).documents(), N_DOCUMENTS)
    return [{"title": f"{document.name}", "text": document.text} for document in documents]


def mini(folder: Path, source: str, path: Path) -> Mini:
    changes = {'source = "embedded"': f'source = "{source}"\npath = "{path}"', "panel = 100": "panel = 20"}
    return Mini(write_config(folder, changes, control=False), folder / "workspace")


@pytest.mark.slow
def test_bad_lines_cost_no_run_and_are_said_stored_and_shown(tmp_path: Path, records: list[dict[str, str]]) -> None:
    lines = [json.dumps(record).encode() for record in records]
    lines[3:3] = [b"{", b'{"text": 5}', lines[0], b'{"text": "so short \xff"}']
    file = tmp_path / "docs.jsonl.gz"
    file.write_bytes(gzip.compress(b"\n".join(lines)))
    found = mini(tmp_path, "jsonl", file)
    ran = found.featlas("sample")
    assert ran.code == 0, ran.err
    assert found.ask(KEPT).rows() == [
        ("characters replaced", 1, "docs.jsonl.gz:7: so short \ufffd"),
        ("exact duplicates", 1, records[0]["title"]),
        ("not JSON", 1, "docs.jsonl.gz:4: Expecting property name enclosed in double quotes: character 2 of {"),
        ("not text", 1, "docs.jsonl.gz:5: 'text' is of type int: 5"),
        ("too short", 1, "docs.jsonl.gz:7"),
    ]
    for said in (
        "left out or mended: exact duplicates 1, ",
        "too short 1, not JSON 1, not text 1, characters replaced 1",
    ):
        assert said in ran.err
    assert "exact duplicates 1" in ran.out


def test_a_file_with_another_key_is_refused_with_the_keys_it_has(tmp_path: Path) -> None:
    (tmp_path / "docs.jsonl").write_text('{"body": "x"}\n')
    ran = mini(tmp_path, "jsonl", tmp_path / "docs.jsonl").featlas("sample")
    assert ran.code == 1
    assert "docs.jsonl:1: no text, no 'text' among the keys body" in ran.paragraph()
    assert "[corpus] column" in ran.paragraph()


def test_training_a_dictionary_refuses_a_column_where_there_are_none(tmp_path: Path) -> None:
    ran = featlas("train-dictionary", tmp_path / "d", "--corpus", "files", "--path", tmp_path, "--column", "body")
    assert ran.code == 2
    assert "--column is 'body', but the corpus 'files' has no columns" in ran.paragraph()
    ran = featlas("train-dictionary", tmp_path / "d", "--corpus", "jsonl", "--path", tmp_path / "x", "--column", "body")
    assert ran.code == 2
    assert "x' does not exist" in ran.paragraph()


def test_only_what_was_found_has_a_row_and_stands_in_the_line() -> None:
    corpus = jsonl.create(path=__file__)
    duplicates, short = DuplicateFilter(sampled_one_in=1), ShortDocuments(window=32)
    for text in ("a b c", "a b c", "A b c"):
        duplicates.accept(Document(text_id(text), f"named {text}", text))
    for n_tokens in (15, 16):
        document = Document(str(n_tokens), f"of {n_tokens}", "")
        short.look_at(TokenizedDocument(document, (0,) * n_tokens, ("",) * n_tokens, (), ()))
    rows = problem_rows("c", corpus, duplicates, short)
    assert rows.drop("corpus_id").rows() == [
        ("exact duplicates", 1, "named a b c"),
        ("near-duplicates", 1, "named A b c"),
        ("too short", 1, "of 15"),
    ]
    line = "corpus x: 1 documents, 1,000 tokens; left out or mended: empty 1,234 (table corpus_problems)"
    assert in_words("x", 1, 1000, {"empty": 1234}) == line
    assert in_words("x", 1, 1000, {}) == "corpus x: 1 documents, 1,000 tokens"
