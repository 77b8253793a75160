"""Parquet: rows to documents, of whatever type text is stored in, with what can't be read counted."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from labeling.corpora import jsonl
from labeling.corpora.parquet import ParquetCorpus, create
from labeling.errors import FeatlasError, UsageError


def corpus(file: Path, columns: dict[str, Any], column: str | None = None, **options: Any) -> ParquetCorpus:
    pq.write_table(pa.table(columns), file, **options)
    return create(path=str(file), column=column)


def texts(found: ParquetCorpus) -> list[str]:
    return [document.text for document in found.documents()]


def counts(found: ParquetCorpus) -> dict[str, int]:
    return {problem: one.count for problem, one in found.problems.items()}


def invalid() -> pa.Array:
    """A string column with bytes that are not UTF-8, as careless writers leave them."""
    latin = pa.array([b"caf\xe9", b"fine"], pa.binary())
    return pa.Array.from_buffers(pa.string(), 2, latin.buffers())


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.binary(),
        pa.dictionary(pa.int32(), pa.string()),
        pa.dictionary(pa.int8(), pa.large_string()),
    ],
    ids=str,
)
def test_text_is_read_from_every_type_it_is_stored_in(tmp_path: Path, kind: pa.DataType) -> None:
    found = corpus(tmp_path / "a.parquet", {"text": pa.array(["one", None, "two"]).cast(kind)})
    assert texts(found) == ["one", "two"]
    assert counts(found) == {"no text": 1}
    assert found.problems["no text"].example == "a.parquet:2: null"


def test_a_file_that_polars_wrote_is_read(tmp_path: Path) -> None:
    pl.DataFrame({"text": ["one", "two"], "id": [7, 8]}).write_parquet(tmp_path / "a.parquet")
    found = create(path=str(tmp_path / "a.parquet"))
    assert [(document.name, document.text) for document in found.documents()] == [("id 7", "one"), ("id 8", "two")]


def test_records_give_the_same_documents_as_parquet_and_as_jsonl(tmp_path: Path) -> None:
    records = [{"text": f"text {i}", "meta": {"title": f"title {i}"}, "id": i} for i in range(3)]
    pl.DataFrame(records).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame(records).write_ndjson(tmp_path / "a.jsonl")
    documents = list(create(path=str(tmp_path / "a.parquet")).documents())
    assert documents == list(jsonl.create(path=str(tmp_path / "a.jsonl")).documents())
    assert [document.name for document in documents] == ["title 0", "title 1", "title 2"]


def test_rows_are_numbered_through_groups_and_files_are_read_in_order(tmp_path: Path) -> None:
    corpus(tmp_path / "b.parquet", {"text": [f"b{i}" for i in range(150)]}, row_group_size=70)
    corpus(tmp_path / "a.parquet", {"text": ["a0"]})
    documents = list(create(path=str(tmp_path)).documents())
    assert [document.text for document in documents] == ["a0", *(f"b{i}" for i in range(150))]
    assert documents[-1].name == "b.parquet:150"


@pytest.mark.parametrize("column", ["meta.body", "body.v1"])
def test_a_column_is_a_name_or_a_path_into_structs(tmp_path: Path, column: str) -> None:
    columns = {"meta": [{"body": "x", "url": "u", "n": 1}, None], "body.v1": ["x", " "], "id": [[1], [2]]}
    found = corpus(tmp_path / "a.parquet", columns, column)
    assert [(document.name, document.text) for document in found.documents()] == [("u", "x")]
    assert sum(counts(found).values()) == 1


def test_bytes_that_are_not_utf8_are_replaced_and_counted(tmp_path: Path) -> None:
    found = corpus(tmp_path / "a.parquet", {"text": invalid(), "title": invalid()})
    assert [(document.name, document.text) for document in found.documents()] == [
        ("caf\ufffd", "caf\ufffd"),
        ("fine", "fine"),
    ]
    assert counts(found) == {"characters replaced": 1}


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("txt", "it has none. Did you mean 'text'? Columns with text: text, meta.url"),
        ("n", "its type is no text"),
        ("meta", "its type is no text"),
    ],
)
def test_a_column_without_text_is_refused_with_those_that_have_some(tmp_path: Path, column: str, said: str) -> None:
    columns = {"text": ["x"], "n": [1], "meta": [{"url": "u"}]}
    with pytest.raises(UsageError) as refused:
        texts(corpus(tmp_path / "a.parquet", columns, column))
    assert said in str(refused.value)


def test_a_row_group_that_can_not_be_read_is_counted_and_the_next_one_is_read(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    found = corpus(file, {"text": [f"row {i:04}" for i in range(300)]}, row_group_size=100, compression="zstd")
    chunk = pq.ParquetFile(file).metadata.row_group(1).column(0)
    start = min(filter(None, [chunk.dictionary_page_offset, chunk.data_page_offset]))
    content = bytearray(file.read_bytes())
    content[start : start + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    file.write_bytes(content)
    documents = list(found.documents())
    assert [document.text for document in documents] == [f"row {i:04}" for i in [*range(100), *range(200, 300)]]
    assert (documents[99].name, documents[100].name) == ("a.parquet:100", "a.parquet:201")
    assert counts(found) == {"damaged": 1}
    assert found.problems["damaged"].example.startswith("a.parquet:101: ")
    assert found.problems["damaged"].example.endswith("rows to 200 are lost")


def test_a_large_row_group_is_not_read_as_a_whole(tmp_path: Path) -> None:
    rows = [Random(number).randbytes(4000).hex() for number in range(4000)]
    found = corpus(tmp_path / "a.parquet", {"text": rows}, row_group_size=len(rows), use_dictionary=False)
    before = pa.total_allocated_bytes()
    reading = found.documents()
    assert next(reading).text == rows[0]
    assert pa.total_allocated_bytes() - before < 16 << 20 < (tmp_path / "a.parquet").stat().st_size / 1.5


def test_a_file_that_is_no_parquet_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("text\n")
    with pytest.raises(
        FeatlasError, match=r"Nothing in .*a\.parquet can be read.*its one record is no document.*damaged"
    ):
        texts(create(path=str(tmp_path)))


def test_the_fingerprint_follows_contents_and_column(tmp_path: Path) -> None:
    seen = [
        corpus(tmp_path / "a.parquet", {"text": ["one"]}).fingerprint,
        corpus(tmp_path / "a.parquet", {"text": ["two"]}).fingerprint,
        create(path=str(tmp_path / "a.parquet"), column="title").fingerprint,
    ]
    assert len(set(seen)) == 3
