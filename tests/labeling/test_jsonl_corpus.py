"""JSONL: what becomes a document, what does not, and that nothing is lost without being counted."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from labeling.corpora import _problems, jsonl
from labeling.corpora.jsonl import JsonlCorpus, create
from labeling.errors import FeatlasError, UsageError


def lines(*records: object) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def corpus(file: Path, content: bytes, column: str | None = None) -> JsonlCorpus:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return create(path=str(file), column=column)


def zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return bytes(sink.getvalue())


def texts(found: JsonlCorpus) -> list[str]:
    return [document.text for document in found.documents()]


def counts(found: JsonlCorpus) -> dict[str, int]:
    return {problem: one.count for problem, one in found.problems.items()}


TWO = lines({"text": "one", "title": "First"}, {"text": "two"})


@pytest.mark.parametrize("packed", [TWO, gzip.compress(TWO), zstd(TWO)], ids=["plain", "gzip", "zstd"])
def test_a_file_reads_the_same_plain_and_packed_whatever_its_name(tmp_path: Path, packed: bytes) -> None:
    documents = list(corpus(tmp_path / "data.jsonl", packed).documents())
    assert [(document.name, document.text) for document in documents] == [("First", "one"), ("data.jsonl:2", "two")]


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_packed_files_that_were_joined_are_read_to_the_end(tmp_path: Path, pack: type[bytes]) -> None:
    assert texts(corpus(tmp_path / "a.jsonl", pack(TWO) + pack(lines({"text": "three"})))) == ["one", "two", "three"]


def test_files_of_a_folder_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in (
        "b.jsonl",
        "a.json.gz",
        "sub/z/d.jsonl",
        "sub/m/d.jsonl",
        "sub/c.ndjson.zst",
        ".hidden.jsonl",
        ".cache/e.jsonl",
        "notes.txt",
        "info.json",
    ):
        pack = gzip.compress if name.endswith("gz") else zstd if name.endswith("zst") else bytes
        corpus(tmp_path / name, pack(lines({"text": name})))
    assert texts(create(path=str(tmp_path))) == [
        "a.json.gz",
        "b.jsonl",
        "sub/c.ndjson.zst",
        "sub/m/d.jsonl",
        "sub/z/d.jsonl",
    ]


def test_bad_lines_are_counted_by_what_is_wrong_and_the_rest_is_read(tmp_path: Path) -> None:
    bad = b'{"text": "cut\n[1]\n{"body": 1}\n{"text": null}\n{"text": 7}\n{"text": ["a"]}\n{"text": " "}\n\n'
    deep, digits = b"[" * 100_000 + b"\n", b'{"text": ' + b"9" * 5000 + b"}\n"
    found = corpus(tmp_path / "a.jsonl", bad + deep + digits + TWO)
    assert texts(found) == ["one", "two"]
    assert counts(found) == {"not JSON": 3, "not an object": 1, "no text": 2, "not text": 2, "empty": 1}
    assert found.problems["no text"].example == "a.jsonl:3: no 'text' among the keys body"
    assert found.problems["not text"].example == "a.jsonl:5: 'text' is of type int: 7"


def test_a_second_pass_counts_again_from_zero(tmp_path: Path) -> None:
    found = corpus(tmp_path / "a.jsonl", b"bad\n" + TWO)
    for _ in range(2):
        assert (len(texts(found)), counts(found)) == (2, {"not JSON": 1})


def test_a_file_without_any_document_is_an_error_that_names_the_first_line(tmp_path: Path) -> None:
    found = corpus(tmp_path / "a.jsonl", lines({"content": "one", "id": 1}, {"content": "two"}))
    with pytest.raises(
        FeatlasError, match=r"none of its 2 records.*a\.jsonl:1: no text, no 'text' among the keys cont"
    ):
        texts(found)
    assert texts(create(path=found.name, column="content")) == ["one", "two"]


def test_a_hopeless_file_is_given_up_long_before_its_end(tmp_path: Path) -> None:
    found = corpus(tmp_path / "a.jsonl", b"{\n" * (_problems.HOPELESS_AFTER + 5) + TWO)
    with pytest.raises(FeatlasError, match=f"none of its first {_problems.HOPELESS_AFTER:,} records"):
        texts(found)
    good = corpus(tmp_path / "b.jsonl", TWO + b"{\n" * (_problems.HOPELESS_AFTER + 5) + TWO)
    assert len(texts(good)) == 4


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_a_packed_file_that_was_cut_off_gives_what_is_there_and_counts_the_damage(
    tmp_path: Path, pack: type[bytes]
) -> None:
    words = [os.urandom(40).hex() for _ in range(50_000)]
    packed = bytes(pack(lines(*({"text": word} for word in words))))
    found = corpus(tmp_path / "a.jsonl", packed[: len(packed) // 2])
    read = texts(found)
    assert 0 < len(read) < len(words)
    assert read == words[: len(read)]
    assert counts(found) == {"damaged": 1}
    assert found.problems["damaged"].example.startswith(f"a.jsonl:{len(read) + 1}: ")


def test_a_line_above_the_limit_is_passed_over_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "LONGEST_LINE", 1000)
    long = lines({"text": "x" * 5000})
    found = corpus(tmp_path / "a.jsonl", long + TWO + long)
    assert texts(found) == ["one", "two"]
    assert counts(found) == {"too long": 2}


def test_bytes_that_are_not_utf8_are_replaced_and_counted(tmp_path: Path) -> None:
    found = corpus(tmp_path / "a.jsonl", b'{"id": 1, "text": "caf\xe9 \xef\xbf\xbd na\xefve"}\n')
    assert texts(found) == ["caf\ufffd \ufffd na\ufffdve"]
    assert counts(found) == {"characters replaced": 2}


def test_half_surrogates_are_replaced_and_whole_ones_joined(tmp_path: Path) -> None:
    found = corpus(tmp_path / "a.jsonl", rb'{"text": "a\ud83d\ude00b\ud83dc", "title": "\udc00"}' + b"\n")
    document = next(found.documents())
    assert (document.text, document.name) == ("a\U0001f600b\ufffdc", "\ufffd")
    assert counts(found) == {"characters replaced": 1}
    document.text.encode()


def test_a_mark_at_the_start_of_a_file_is_no_part_of_its_first_line(tmp_path: Path) -> None:
    assert texts(corpus(tmp_path / "a.jsonl", b"\xef\xbb\xbf" + TWO)) == ["one", "two"]


@pytest.mark.parametrize(
    ("column", "record"),
    [("body", {"body": "x"}), ("a.b", {"a": {"b": "x"}}), ("a.b", {"a.b": "x", "a": {"b": "y"}})],
)
def test_a_column_is_a_key_or_a_path_of_keys(tmp_path: Path, column: str, record: object) -> None:
    assert texts(corpus(tmp_path / "a.jsonl", lines(record), column)) == ["x"]


@pytest.mark.parametrize(
    ("extra", "name"),
    [
        ({"title": " A\ntitle ", "url": "u"}, "A title"),
        ({"title": "", "url": "u", "id": 3}, "u"),
        ({"id": 3}, "id 3"),
        ({"id": 3, "meta": {"url": "u"}}, "u"),
        ({"title": ["x"], "id": True}, "a.jsonl:1"),
    ],
)
def test_a_document_is_named_by_what_people_know_it_by(tmp_path: Path, extra: dict[str, object], name: str) -> None:
    found = corpus(tmp_path / "a.jsonl", lines({"text": "x"} | extra))
    assert [document.name for document in found.documents()] == [name]


def test_the_fingerprint_follows_contents_names_and_column(tmp_path: Path) -> None:
    def fingerprint(name: str, content: bytes, column: str | None = None) -> str:
        return corpus(tmp_path / name, content, column).fingerprint

    first = fingerprint("a.jsonl", TWO)
    assert first == fingerprint("a.jsonl", TWO) == fingerprint("a.jsonl", TWO, "text")
    assert len({first, fingerprint("a.jsonl", TWO.replace(b"one", b"uno")), fingerprint("b.jsonl", TWO)}) == 3
    assert fingerprint("a.jsonl", TWO, "title") != first


def test_paths_that_can_not_be_right_are_refused_with_what_was_seen(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    refused: Sequence[tuple[str | None, str]] = [
        (None, "needs a path"),
        (str(tmp_path / "missing"), "missing' does not exist"),
        (str(tmp_path), "1 files, all empty"),
    ]
    for path, said in refused:
        with pytest.raises(UsageError, match=said):
            create(path=path)
