"""Near-duplicate filter: from a stream of documents to the ones that say something new.

A document is a set of hashed runs of words (shingles). Only shingles whose hash falls in a fixed residue class are
looked at, so the same shingle is looked at wherever it stands and memory is a fraction of the text. A document is
dropped when more than half of its sampled shingles stand in documents accepted before it. The result depends on the
order of the stream alone: no Python `hash`, no random numbers. Sampling by hash value: Broder, "On the resemblance and
containment of documents", 1997.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

import numpy as np
import numpy.typing as npt

from labeling.types import Document

SHINGLE_WORDS = 5
SAMPLED_ONE_IN = 8
MAX_CONTAINMENT = 0.5
JOIN_AT = 1 << 18
CACHED_WORDS = 500_000  # a bound on memory only; hashes are made again when they are gone
WORD = re.compile(r"\w+")
_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so that powers never vanish modulo 2**64


@dataclass(frozen=True)
class DuplicateCounts:
    """How many documents came in, and what became of them."""

    accepted: int = 0
    exact: int = 0
    """Same text as an accepted document."""
    near: int = 0
    """More than half of it stood in accepted documents."""

    @property
    def dropped(self) -> int:
        return self.exact + self.near


class DuplicateFilter:
    """Remembers what it accepted. One filter serves one pass over one corpus."""

    def __init__(self, *, max_containment: float = MAX_CONTAINMENT, sampled_one_in: int = SAMPLED_ONE_IN) -> None:
        self._max_containment = max_containment
        self._sampled_one_in = np.uint64(sampled_one_in)
        self._seen = SeenHashes()
        self._seen_ids: set[str] = set()
        self._words: dict[str, int] = {}
        self.counts = DuplicateCounts()
        self.first_dropped: dict[Literal["exact", "near"], str] = {}
        """Name of the first document dropped, by why."""

    def accept(self, document: Document) -> bool:
        """Whether the document is new. An accepted one counts as seen from now on."""
        counts = self.counts
        if document.document_id in self._seen_ids:
            self.counts = DuplicateCounts(counts.accepted, counts.exact + 1, counts.near)
            self.first_dropped.setdefault("exact", document.name)
            return False
        shingles = self._sampled_shingles(document.text)
        if self._seen.count(shingles) > self._max_containment * len(shingles):
            self.counts = DuplicateCounts(counts.accepted, counts.exact, counts.near + 1)
            self.first_dropped.setdefault("near", document.name)
            return False
        self._seen.add(shingles)
        self._seen_ids.add(document.document_id)
        self.counts = DuplicateCounts(counts.accepted + 1, counts.exact, counts.near)
        return True

    def _sampled_shingles(self, text: str) -> npt.NDArray[np.uint64]:
        hashes = shingle_hashes(self._word_hashes(text))
        return np.unique(hashes[hashes % self._sampled_one_in == 0])

    def _word_hashes(self, text: str) -> npt.NDArray[np.uint64]:
        table = self._words
        words = WORD.findall(text.lower())
        if len(table) > CACHED_WORDS:
            table.clear()
        for word in words:
            if word not in table:
                table[word] = int.from_bytes(blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest())
        return np.fromiter((table[word] for word in words), dtype=np.uint64, count=len(words))


class SeenHashes:
    """A growing set of 64-bit hashes at 8 bytes each: about one byte a word of the corpus.

    New ones stand in a Python set, at ten times that, until there are `join_at` of them.
    """

    def __init__(self, *, join_at: int = JOIN_AT) -> None:
        self._join_at = join_at
        self._recent: set[int] = set()
        self._sorted = np.empty(0, dtype=np.uint64)

    def count(self, hashes: npt.NDArray[np.uint64]) -> int:
        """How many of the hashes are in the set."""
        old = self._joined(hashes)
        return int(old.sum()) + sum(number in self._recent for number in hashes[~old].tolist())

    def add(self, hashes: npt.NDArray[np.uint64]) -> None:
        self._recent.update(hashes[~self._joined(hashes)].tolist())
        if len(self._recent) >= self._join_at:
            recent = np.fromiter(self._recent, dtype=np.uint64, count=len(self._recent))
            # a stable sort merges two sorted runs in one pass
            self._sorted = np.sort(np.concatenate([self._sorted, np.sort(recent)]), kind="stable")
            self._recent.clear()

    def _joined(self, hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        """Which of the hashes stand in the sorted array."""
        found = np.zeros(len(hashes), dtype=np.bool_)
        places = np.searchsorted(self._sorted, hashes)
        inside = places < len(self._sorted)
        found[inside] = self._sorted[places[inside]] == hashes[inside]
        return found


def shingle_hashes(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Hash of each run of SHINGLE_WORDS word hashes; one hash for a text that is shorter. Shape [n - 4] or [1]."""
    width = min(SHINGLE_WORDS, len(words))
    total = np.zeros(max(len(words) - width + 1, 0), dtype=np.uint64)
    for offset in range(width):
        total = total * _BASE + words[offset : offset + len(total)]
    total ^= total >> np.uint64(31)  # spread the high bits, because sampling looks at the low ones
    total *= _BASE
    return total ^ (total >> np.uint64(29))


def without_duplicates(documents: Iterable[Document], duplicates: DuplicateFilter) -> Iterator[Document]:
    """Pass on new documents; `duplicates.counts` says what was dropped so far."""
    return (document for document in documents if duplicates.accept(document))
