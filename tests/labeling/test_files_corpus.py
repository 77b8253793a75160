import os
from pathlib import Path

import pytest

from labeling.corpora import Problems, files
from labeling.corpora.files import FilesCorpus, create
from labeling.errors import FeatlasError, UsageError


def corpus(file: Path, content: str | bytes) -> FilesCorpus:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return create(path=str(file))


def test_every_text_file_of_a_folder_is_a_document_in_order_of_its_path(tmp_path: Path) -> None:
    for name in ("b.txt", "a.md", "sub/c.TXT", "picture.png"):
        corpus(tmp_path / name, f"text of {name}")
    (tmp_path / "empty.txt").touch()
    documents = list(create(path=str(tmp_path)).documents())
    assert [document.name for document in documents] == ["a.md", "b.txt", "sub/c.TXT"]
    assert documents[2].text == "text of sub/c.TXT"


def test_titles_cut_a_file_into_articles(tmp_path: Path) -> None:
    text = " = First = \n\n one \n\n = = Section = = \n two \n = Second = \n three \n"
    documents = list(corpus(tmp_path / "wiki.txt", text).documents())
    assert [document.name for document in documents] == ["First", "Second"]
    assert "Section" in documents[0].text
    assert documents[1].text.endswith("three")


def test_a_file_without_titles_is_cut_at_blank_lines(tmp_path: Path) -> None:
    paragraphs = [f"{i} " + "word " * 120 for i in range(10)]
    documents = list(corpus(tmp_path / "book.txt", "\n\n".join(paragraphs)).documents())
    assert len(documents) == 3
    assert all(2_000 <= len(document.text) <= 2_800 for document in documents[:-1])
    assert "".join("".join(document.text.split()) for document in documents) == "".join("".join(paragraphs).split())


@pytest.mark.parametrize("separator", ["\n", " "])
def test_a_file_without_blank_lines_is_cut_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, separator: str
) -> None:
    monkeypatch.setattr(files, "LINE_CHARACTERS", 1000)
    documents = list(corpus(tmp_path / "book.txt", separator.join(["word " * 20] * 1000)).documents())
    assert len(documents) == 6
    assert all(len(document.text) <= files.LONGEST_CHARACTERS + 1000 for document in documents)


def test_bytes_that_are_not_utf8_are_replaced_and_counted_once_a_pass(tmp_path: Path) -> None:
    found = corpus(tmp_path / "latin.txt", b"caf\xe9 and na\xefve")
    for _ in range(2):
        assert [document.text for document in found.documents()] == ["caf\ufffd and na\ufffdve"]
        assert found.problems["characters replaced"] == Problems(2, "latin.txt:1: caf\ufffd and na\ufffdve")


def test_a_replacement_character_that_stands_in_the_text_is_no_problem(tmp_path: Path) -> None:
    found = corpus(tmp_path / "mended.txt", "caf\ufffd")
    assert [document.text for document in found.documents()] == ["caf\ufffd"]
    assert found.problems == {}


@pytest.mark.parametrize("content", [b"\x1f\x8b packed", "UTF-16".encode("utf-16"), b"PAR1 columns"])
def test_a_file_that_is_no_text_is_refused_and_in_a_folder_counted(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(FeatlasError, match=r"a\.txt: not text.*UTF-8.*'jsonl'"):
        list(corpus(tmp_path / "a.txt", content).documents())
    (tmp_path / "b.txt").write_text("text")
    (tmp_path / "c.txt").write_text(" ")
    folder = create(path=str(tmp_path))
    assert [document.text for document in folder.documents()] == ["text"]
    assert {problem: one.count for problem, one in folder.problems.items()} == {"not text": 1, "empty": 1}


def test_the_fingerprint_follows_contents(tmp_path: Path) -> None:
    first = corpus(tmp_path / "a.txt", "one").fingerprint
    assert create(path=str(tmp_path / "a.txt")).fingerprint == first
    assert corpus(tmp_path / "a.txt", "two").fingerprint != first


def test_paths_that_can_not_be_right_are_refused_with_what_was_seen(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    (tmp_path / "bare").mkdir()
    with pytest.raises(UsageError, match="needs a path"):
        create(path=None)
    with pytest.raises(UsageError, match="missing' does not exist"):
        create(path=str(tmp_path / "missing"))
    with pytest.raises(UsageError, match="1 files, all empty"):
        create(path=str(tmp_path / "empty.txt"))
    with pytest.raises(UsageError, match=r"no file that ends in \.txt, \.md"):
        create(path=str(tmp_path / "bare"))


def test_links_that_lead_nowhere_and_pipes_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("some text")
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nowhere.txt")
    (tmp_path / "again").symlink_to(tmp_path)
    (tmp_path / "folder.txt").mkdir()
    os.mkfifo(tmp_path / "pipe.txt")
    corpus = create(path=str(tmp_path))
    assert [document.name for document in corpus.documents()] == ["a.txt"]
    assert corpus.fingerprint


def test_a_file_name_that_is_not_utf8_is_shown_as_far_as_it_can_be(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/na\xefve.txt")).write_text("some text")
    corpus = create(path=str(tmp_path))
    assert [document.name for document in corpus.documents()] == ["na\ufffdve.txt"]
    assert corpus.fingerprint
