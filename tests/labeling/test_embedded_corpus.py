import ast
import textwrap
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from labeling.corpora.embedded import (
    SOURCE_CHARACTERS,
    EmbeddedCorpus,
    create,
    docstring_nodes,
    source_excerpt,
)
from labeling.errors import UsageError
from labeling.types import Document

PARAGRAPH = "The quick brown fox jumps over the lazy dog while nobody is looking at either of them. "


def library(folder: Path, **files: str) -> EmbeddedCorpus:
    for name, text in files.items():
        place = folder / name.replace("__", "/")
        place = place.with_suffix(".py") if not place.suffix else place
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return EmbeddedCorpus(folder)


def excerpt(source: str) -> str:
    source = textwrap.dedent(source)
    return source_excerpt(source, docstring_nodes(ast.parse(source)))


@pytest.fixture(scope="module")
def prefix() -> list[Document]:
    return list(islice(create(path=None).documents(), 200))


def test_a_prefix_is_a_mix_of_docstrings_source_and_topics(prefix: list[Document]) -> None:
    kinds = Counter(document.name.split()[0] for document in prefix)
    assert kinds["docstrings"] > 30
    assert kinds["source"] > 20


def test_two_passes_give_the_same_documents_in_the_same_order(prefix: list[Document]) -> None:
    assert [d.document_id for d in islice(create(path=None).documents(), 200)] == [d.document_id for d in prefix]


def test_documents_have_a_useful_size(prefix: list[Document]) -> None:
    assert all(160 <= len(document.text) <= SOURCE_CHARACTERS + 2_000 for document in prefix)


def test_no_document_of_the_library_is_a_licence_text(prefix: list[Document]) -> None:
    assert not [d.name for d in prefix if d.name.startswith("docstrings") and "copyright" in d.text.lower()]


def test_docstrings_are_taken_out_of_the_source() -> None:
    source = '''
        """Module."""
        x = 1  # kept
        class A:
            """Class,
            two lines."""
            def f(self): "one line"; return "a value"
        async def g():
            """Ünïcode."""
    '''
    text = excerpt(source)
    assert [word for word in ("Module", "Class", "lines", "one line", "code.") if word in text] == []
    assert "x = 1  # kept" in text
    assert 'return "a value"' in text


def test_docstrings_within_statements_and_cases_are_found() -> None:
    source = """
        try:
            def f(): "first"
        except E:
            def g(): "second"
        match x:
            case 1:
                def h(): "third"
    """
    nodes = docstring_nodes(ast.parse(textwrap.dedent(source)))
    assert [node.value for node in nodes] == ["first", "second", "third"]


def test_comments_about_rights_are_left_out_and_others_kept() -> None:
    text = excerpt("# Copyright 1999 by nobody.\n# All of it.\n\n# A remark.\nx = 1\n")
    assert text == "# A remark.\nx = 1"


def test_modules_are_parsed_and_never_run(tmp_path: Path) -> None:
    corpus = library(tmp_path, loud=f'"""{PARAGRAPH * 3}"""\nraise SystemExit("imported")\n')
    assert [document.name for document in corpus.documents()] == ["docstrings of loud (1)"]


def test_files_of_another_syntax_or_encoding_are_passed_over(tmp_path: Path) -> None:
    corpus = library(tmp_path, old="print 'python 2'\n", good=f'"""{PARAGRAPH * 3}"""\n')
    (tmp_path / "bytes.py").write_bytes(b"x = '\xff'\n")
    assert [document.name for document in corpus.documents()] == ["docstrings of good (1)"]


def test_tests_packages_and_tables_are_not_read(tmp_path: Path) -> None:
    text = f'"""{PARAGRAPH * 3}"""\n'
    table = "TABLE = {\n" + "".join(f"    0x{i:04x}: 0x{i * 7:04x},\n" for i in range(200)) + "}\n"
    corpus = library(tmp_path, test__a=text, pip__b=text, encodings__c=text, table=table)
    (tmp_path / "pip").rename(tmp_path / "site-packages")
    assert list(corpus.documents()) == []


def test_pydoc_topics_and_idle_help_are_read_when_they_are_there(tmp_path: Path) -> None:
    corpus = library(tmp_path, **{"pydoc_data/topics": f"topics = {{'if': {PARAGRAPH * 3!r}}}\n"})
    (tmp_path / "idlelib").mkdir()
    (tmp_path / "idlelib" / "help.html").write_text(f"<title>no</title><body><p>{PARAGRAPH * 2}</p> &lt;b&gt;</body>")
    documents = {document.name: document.text for document in corpus.documents()}
    assert set(documents) == {"pydoc topic if (1)", "IDLE help.html (1)"}
    assert documents["IDLE help.html (1)"].endswith("<b>")


def test_the_fingerprint_follows_the_files(tmp_path: Path) -> None:
    corpus = library(tmp_path, a="x = 1\n")
    first = corpus.fingerprint
    assert EmbeddedCorpus(tmp_path).fingerprint == first
    (tmp_path / "a.py").write_text("x = 10\n")
    assert EmbeddedCorpus(tmp_path).fingerprint != first


def test_a_path_is_refused() -> None:
    with pytest.raises(UsageError, match=r"takes no path, but 'texts'.*'files'"):
        create(path="texts")
