"""From a corpus to the windows table: read, drop duplicates, tokenize, cut, split. Knows no features."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import polars as pl

from flows.session import Session
from flows.stages.corpus_problems import ShortDocuments, in_words, problem_rows
from labeling import corpora, evidence
from labeling.corpora import Corpus
from labeling.corpora._duplicates import DuplicateFilter, without_duplicates
from labeling.errors import FeatlasError
from labeling.identity import identify
from labeling.registry import create
from labeling.sources import BringsCorpus, FeatureSource
from labeling.types import SPLITS, Document, Split, TokenizedDocument
from labeling.windows import count_tokens, cut_windows, split_of

TOKENIZE_TOGETHER = 64


@dataclass(frozen=True)
class PreparedCorpus:
    """A corpus that stands in the windows table, in `n_shards` shards."""

    corpus_id: str
    name: str
    n_documents: int
    n_duplicates: int
    tokenizer_id: str
    n_tokens: int
    """Tokens in windows: what the feature sets see."""
    n_windows: Mapping[Split, int]
    """Windows by split."""
    n_shards: int


def prepare_corpus(session: Session, source: FeatureSource, *, max_tokens: int) -> PreparedCorpus:
    """Write windows, documents and token counts, unless they are there already.

    Raise FeatlasError when the corpus is empty or too small to give every split a window.
    """
    corpus = _open_corpus(session, source)
    corpus_id = _corpus_id(session, corpus, source, max_tokens)
    if not session.store.shard_done("corpus", corpus_id, 0):
        _write_corpus(session, corpus, source, corpus_id=corpus_id, max_tokens=max_tokens)
    return _read_back(session, corpus_id, corpus.name)


def find_corpus(session: Session, source: FeatureSource, *, max_tokens: int) -> PreparedCorpus | None:
    """The corpus if it is prepared already, else None."""
    corpus = _open_corpus(session, source)
    corpus_id = _corpus_id(session, corpus, source, max_tokens)
    return _read_back(session, corpus_id, corpus.name) if session.store.shard_done("corpus", corpus_id, 0) else None


def read_documents(session: Session, source: FeatureSource, *, n: int) -> Iterator[TokenizedDocument]:
    """The first `n` documents of the corpus once more, without duplicates, as they were cut when it was prepared."""
    corpus = _open_corpus(session, source)
    return islice(_tokenized(source, without_duplicates(corpus.documents(), DuplicateFilter())), n)


def _open_corpus(session: Session, source: FeatureSource) -> Corpus:
    if isinstance(source, BringsCorpus):
        return source.own_corpus
    corpus: Corpus = create(corpora, session.config.corpus.source, kind="corpus", **session.config.corpus.place)
    return corpus


def _corpus_id(session: Session, corpus: Corpus, source: FeatureSource, max_tokens: int) -> str:
    settings = session.config.sample
    return identify(
        "corpus",
        fingerprint=corpus.fingerprint,
        tokenizer=source.tokenizer_id,
        max_tokens=max_tokens,
        window=settings.window,
        shard_tokens=settings.shard_tokens,
        seed=settings.seed,
    )


def _write_corpus(session: Session, corpus: Corpus, source: FeatureSource, *, corpus_id: str, max_tokens: int) -> None:
    started = time.perf_counter()
    settings = session.config.sample
    unique, short = DuplicateFilter(), ShortDocuments(settings.window)
    shards = _WindowShards(session, corpus_id)
    documents: list[dict[str, object]] = []
    n_tokens = 0
    for document in _tokenized(source, without_duplicates(corpus.documents(), unique)):
        short.look_at(document)
        n_tokens += len(document.token_ids)
        documents.append(_document_row(document, corpus_id, settings.seed))
        shards.add(document)
        if n_tokens >= max_tokens:
            if isinstance(source, BringsCorpus):  # it was made to be read whole
                session.progress.say(f"{corpus.name}: read up to max_tokens = {max_tokens:,}; raise it to read more")
            break
        session.progress.advance("read corpus", done=n_tokens, total=max_tokens, unit="tokens")
    shards.flush()
    problems = problem_rows(corpus_id, corpus, unique, short)
    session.progress.say(in_words(corpus.name, len(documents), n_tokens, dict(problems["problem", "n"].iter_rows())))
    if not shards.n_windows:
        raise FeatlasError(
            f"The corpus {corpus.name} has no text to sample: {len(documents)} documents, none of at least "
            f"{settings.window // 2} tokens. Give it longer documents, or set a smaller [sample] window."
        )
    row = {
        "corpus_id": corpus_id,
        "name": corpus.name,
        "tokenizer_id": source.tokenizer_id,
        "n_documents": len(documents),
        "n_duplicates": unique.counts.dropped,
        "n_tokens": n_tokens,
        "n_windows": shards.n_windows,
        "n_shards": shards.n_shards,
    }
    session.store.save("documents", pl.DataFrame(documents))
    session.store.save("token_counts", shards.token_counts())
    session.store.save("corpus_problems", problems)
    session.store.save("corpora", pl.DataFrame([row]))
    session.store.finish_shard("corpus", corpus_id, 0, rows=shards.n_windows, seconds=time.perf_counter() - started)


class _WindowShards:
    """Cuts documents into windows and saves them, so many tokens a shard."""

    def __init__(self, session: Session, corpus_id: str) -> None:
        self._store, self._settings, self._corpus_id = session.store, session.config.sample, corpus_id
        self._pending: list[TokenizedDocument] = []
        self._pending_tokens = 0
        self._counts: list[pl.DataFrame] = []
        self.n_windows = 0
        self.n_shards = 0

    def add(self, document: TokenizedDocument) -> None:
        self._pending.append(document)
        self._pending_tokens += len(document.token_ids)
        if self._pending_tokens >= self._settings.shard_tokens:
            self.flush()

    def flush(self) -> None:
        """Save what is left; a shard without a window is none."""
        settings = self._settings
        frame = cut_windows(
            self._pending,
            corpus_id=self._corpus_id,
            width=settings.window,
            seed=settings.seed,
            first_window=self.n_windows,
        )
        self._pending, self._pending_tokens = [], 0
        if len(frame):
            self._store.save_shard("windows", self._corpus_id, self.n_shards, frame)
            self._counts.append(count_tokens(frame))
            self.n_windows += len(frame)
            self.n_shards += 1

    def token_counts(self) -> pl.DataFrame:
        """How often each token occurs in each split, of all shards."""
        return pl.concat(self._counts).group_by("corpus_id", "split", "token").agg(pl.col("occurrences").sum())


def _tokenized(source: FeatureSource, documents: Iterator[Document]) -> Iterator[TokenizedDocument]:
    documents = iter(documents)
    while group := list(islice(documents, TOKENIZE_TOGETHER)):
        yield from source.tokenize(group)


def _document_row(document: TokenizedDocument, corpus_id: str, seed: int) -> dict[str, object]:
    return {
        "corpus_id": corpus_id,
        "document_id": document.document.document_id,
        "name": document.document.name,
        "split": split_of(document.document.document_id, seed),
        "n_characters": len(document.document.text),
        "n_tokens": len(document.token_ids),
    }


def _read_back(session: Session, corpus_id: str, name: str) -> PreparedCorpus:
    facts = session.store.read("corpora", corpus_id=corpus_id).row(0, named=True)
    windows = evidence.scan(session.workspace, "windows", corpus_id)
    by_split = windows.group_by("split").agg(pl.len(), pl.col("n_tokens").sum()).collect()
    counted = dict(by_split.select("split", "len").iter_rows())
    n_windows: dict[Split, int] = {split: counted.get(split, 0) for split in SPLITS}
    missing = [split for split in SPLITS if not n_windows[split]]
    if missing:
        raise FeatlasError(
            f"The corpus {name} is too small: its {facts['n_documents']} documents leave the split "
            f"{' and '.join(missing)} without a window. Every split needs documents of its own, so that labels are "
            "never scored on text they were made from. Add documents, or raise [corpus] max_tokens."
        )
    return PreparedCorpus(
        corpus_id=corpus_id,
        name=name,
        tokenizer_id=facts["tokenizer_id"],
        n_documents=facts["n_documents"],
        n_duplicates=facts["n_duplicates"],
        n_tokens=int(by_split["n_tokens"].sum()),
        n_windows=n_windows,
        n_shards=facts["n_shards"],
    )
