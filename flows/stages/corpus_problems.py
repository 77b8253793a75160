"""What was left out of a corpus or mended, as rows of a table and as one line for people."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from labeling.corpora import Corpus, Problems, ReportsProblems
from labeling.corpora._duplicates import DuplicateFilter
from labeling.types import TokenizedDocument


class ShortDocuments:
    """Counts documents that give no window."""

    def __init__(self, window: int) -> None:
        self._window = window
        self.found = Problems(0, "")

    def look_at(self, document: TokenizedDocument) -> None:
        """Count the document when it has less than half a window; `cut_windows` leaves out so short a rest."""
        if len(document.token_ids) * 2 < self._window:
            self.found = Problems(self.found.count + 1, self.found.example or document.document.name)


def problem_rows(corpus_id: str, corpus: Corpus, duplicates: DuplicateFilter, short: ShortDocuments) -> pl.DataFrame:
    """Rows of `corpus_problems`; only what was found has one."""
    counts, names = duplicates.counts, duplicates.first_dropped
    of_corpus = corpus.problems.items() if isinstance(corpus, ReportsProblems) else ()
    found: dict[str, Problems] = {
        "exact duplicates": Problems(counts.exact, names.get("exact", "")),
        "near-duplicates": Problems(counts.near, names.get("near", "")),
        "too short": short.found,
        **{str(problem): one for problem, one in of_corpus},
    }
    rows = [(corpus_id, problem, one.count, one.example) for problem, one in found.items() if one.count]
    schema = {"corpus_id": pl.String, "problem": pl.String, "n": pl.Int64, "example": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def in_words(name: str, n_documents: int, n_tokens: int, problems: Mapping[str, int]) -> str:
    """One line: how much was read, and what was left out or mended."""
    read = f"corpus {name}: {n_documents:,} documents, {n_tokens:,} tokens"
    lost = ", ".join(f"{problem} {n:,}" for problem, n in problems.items())
    return f"{read}; left out or mended: {lost} (table corpus_problems)" if lost else read
