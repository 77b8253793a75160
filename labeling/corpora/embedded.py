"""The embedded corpus: English and code from the Python standard library of the running interpreter.

Files are found and parsed, never imported. Documents are: docstrings of a module, grouped to a useful size; the first
characters of its source with the docstrings taken out, so that they can't stand in two splits; pydoc topics; IDLE's
help and news. What a distribution leaves out (idlelib, lib2to3) is simply absent. Codec tables and licence texts are
left out here; near-duplicates are the business of `_duplicates`.

The order is that of the hash of a name, so every prefix is a uniform mix, and only what is read gets parsed.
"""

from __future__ import annotations

import ast
import inspect
import os
import re
import sys
import sysconfig
import tokenize
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from hashlib import blake2b
from html.parser import HTMLParser
from pathlib import Path

from labeling.errors import FeatlasError, UsageError
from labeling.identity import identify, text_id
from labeling.types import Document

RULES_VERSION = 1
"""Raise it when the rules below make other documents of the same files."""
DOCUMENT_CHARACTERS = 1_000
"""Paragraphs are gathered until a document has this many."""
SHORTEST_CHARACTERS = 160
SOURCE_CHARACTERS = 6_000
LEFT_OUT_FOLDERS = frozenset(
    [
        "site-packages",
        "dist-packages",
        "lib-dynload",
        "__pycache__",
        "test",
        "tests",
        "idle_test",
        "encodings",
        "_bundled",
    ]
)
LEFT_OUT_FILES = frozenset({"topics.py", "stringprep.py", "entities.py", "license.py"})
"""Tables, and what is read in another way."""
IDLE_TEXTS = ("README.txt", "NEWS.txt", "NEWS2x.txt", "HISTORY.txt", "ChangeLog", "TODO.txt", "extend.txt", "help.html")
TOPICS = Path("pydoc_data", "topics.py")
LEGAL = re.compile(
    r"copyright|licen[cs]ed (?:to|under)|all rights reserved|permission (?:is hereby|to use)|warrant(?:y|ies)"
    r"|liab(?:le|ility)",
    re.IGNORECASE,
)
COMMENT_BLOCK = re.compile(r"(?:^[ \t]*#.*\n)+", re.MULTILINE)
NOT_LETTERS = re.compile(r"[^\w\s]|[\d_]")
LETTERS_AT_LEAST = 0.6
"""Share of letters and blanks below which a text is a table of codes."""

DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)

Unit = tuple[str, Callable[[], Iterable[Document]]]
"""A name that fixes the place in the order, and what to call for the documents."""


@dataclass(frozen=True)
class EmbeddedCorpus:
    """Reads the folder of a standard library, lazily."""

    folder: Path
    name: str = "embedded"

    @cached_property
    def fingerprint(self) -> str:
        """From the files' names and sizes and the version of the rules: a library is not edited in place."""
        others = [Path("idlelib", name) for name in IDLE_TEXTS] + [TOPICS]
        places = [*_sources(self.folder), *(place for place in others if (self.folder / place).is_file())]
        files = [[place.as_posix(), (self.folder / place).stat().st_size] for place in places]
        return identify("embedded corpus", rules=RULES_VERSION, python=sys.version, files=sorted(files))

    def documents(self) -> Iterator[Document]:
        units = [*_modules(self.folder), *_topics(self.folder), *_idle(self.folder)]
        for _, read in sorted(units, key=lambda unit: blake2b(unit[0].encode(), digest_size=16).digest()):
            yield from read()


def create(*, path: str | None) -> EmbeddedCorpus:
    """Make the corpus. It takes no path. Raise FeatlasError when the interpreter has no library folder."""
    if path is not None:
        raise UsageError(
            f"The corpus 'embedded' takes no path, but {path!r} is given. Leave the path out, or set the corpus source "
            "to 'files' to read your own text."
        )
    folder = Path(sysconfig.get_path("stdlib"))
    if not (folder / "argparse.py").is_file():
        raise FeatlasError(
            f"The corpus 'embedded' reads the Python standard library, but {folder} holds no source files (a zipped or "
            "stripped Python). Use another Python, or read your own text with the corpus source 'files'."
        )
    return EmbeddedCorpus(folder)


def _modules(library: Path) -> Iterator[Unit]:
    for place in _sources(library):
        module = ".".join(place.with_suffix("").parts).removesuffix(".__init__")
        yield f"module {place.as_posix()}", partial(_module_documents, library / place, module)


def _sources(library: Path) -> Iterator[Path]:
    """Source files to read, relative to the library."""
    for folder, subfolders, names in os.walk(library):
        subfolders[:] = [name for name in subfolders if name not in LEFT_OUT_FOLDERS and not name.startswith("config-")]
        for name in names:
            if name.endswith(".py") and name not in LEFT_OUT_FILES and not name.startswith("_sysconfigdata"):
                yield Path(folder, name).relative_to(library)


def _module_documents(file: Path, module: str) -> list[Document]:
    try:
        with tokenize.open(file) as stream:
            source = stream.read()
        tree = ast.parse(source)
    except (SyntaxError, UnicodeDecodeError, OSError, ValueError):
        return []  # files kept broken on purpose, or of another Python version
    docstrings = docstring_nodes(tree)
    texts = [inspect.cleandoc(str(node.value)) for node in docstrings]
    documents = _pieces(f"docstrings of {module}", "\n\n".join(texts))
    return documents + _whole(f"source of {module}", source_excerpt(source, docstrings))


def docstring_nodes(tree: ast.Module) -> list[ast.Constant]:
    """String literals that document a module, class or function, in the order of the file."""
    found: list[ast.Constant] = []
    pending: list[ast.AST] = [tree]
    while pending:  # statements only: `ast.walk` would visit every expression
        node = pending.pop()
        if isinstance(node, DOCUMENTED) and node.body:
            first = node.body[0]
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                found.append(first.value)
        for block in ("body", "orelse", "handlers", "finalbody", "cases"):
            pending.extend(getattr(node, block, ()))
    return sorted(found, key=lambda constant: constant.lineno)


def source_excerpt(source: str, docstrings: Iterable[ast.Constant]) -> str:
    """First characters of a module, without docstrings and without comments about rights."""
    lines = [line.encode() for line in source.splitlines()]  # the columns of `ast` count bytes
    for node in docstrings:
        first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
        rest = lines[first][: node.col_offset] + lines[last][node.end_col_offset :]
        lines[first : last + 1] = [rest] + [b""] * (last - first)
    text = b"\n".join(line.rstrip() for line in lines).decode()
    text = re.sub(
        r"(?:^[ \t]*#.*\n)+", lambda block: "" if LEGAL.search(block[0]) else block[0], text, flags=re.MULTILINE
    )
    return re.sub(r"\n{3,}", "\n\n", text).strip()[:SOURCE_CHARACTERS]


def _topics(library: Path) -> Iterator[Unit]:
    file = library / TOPICS
    if not file.is_file():
        return
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            for topic, text in ast.literal_eval(node.value).items():
                yield f"topic {topic}", partial(_pieces, f"pydoc topic {topic}", text)


def _idle(library: Path) -> Iterator[Unit]:
    for name in IDLE_TEXTS:
        file = library / "idlelib" / name
        if file.is_file():
            text = file.read_text(encoding="utf-8", errors="replace")
            pieces = _pieces(f"IDLE {name}", _visible_text(text) if name.endswith(".html") else text)
            for document in pieces:
                yield document.name, partial(tuple, [document])


class _VisibleText(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.chunks: list[str] = []

    def handle_data(self, data: str) -> None:
        self.chunks.append(data)


def _visible_text(html: str) -> str:
    parser = _VisibleText()
    parser.feed(html[max(html.find("<body"), 0) :])
    return re.sub(r"\n\s*\n+", "\n\n", "".join(parser.chunks))


def _pieces(name: str, text: str) -> list[Document]:
    """Gather paragraphs to documents of about DOCUMENT_CHARACTERS; a short rest joins the one before."""
    gathered: list[str] = [""]
    for paragraph in re.split(r"\n\s*\n", text):
        if LEGAL.search(paragraph) or not paragraph.strip():
            continue
        if len(gathered[-1]) >= DOCUMENT_CHARACTERS:
            gathered.append("")
        gathered[-1] = f"{gathered[-1]}\n\n{paragraph.rstrip()}" if gathered[-1] else paragraph.strip("\n").rstrip()
    if len(gathered) > 1 and len(gathered[-1]) < SHORTEST_CHARACTERS:
        gathered[-2:] = ["\n\n".join(gathered[-2:])]
    return [document for i, piece in enumerate(gathered, 1) for document in _whole(f"{name} ({i})", piece)]


def _whole(name: str, text: str) -> list[Document]:
    """The text as one document, or none when it is too short or a table of codes."""
    codes = len(NOT_LETTERS.findall(text))
    if len(text) < SHORTEST_CHARACTERS or codes > (1 - LETTERS_AT_LEAST) * len(text):
        return []
    return [Document(document_id=text_id(text), name=name, text=text)]
