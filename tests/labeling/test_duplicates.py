import numpy as np

from labeling.corpora._duplicates import (
    DuplicateCounts,
    DuplicateFilter,
    SeenHashes,
    shingle_hashes,
    without_duplicates,
)
from labeling.identity import text_id
from labeling.types import Document

WORDS = [f"word{i}" for i in range(600)]


def document(text: str) -> Document:
    return Document(document_id=text_id(text), name="a document", text=text)


def said(start: int, end: int) -> Document:
    return document(" ".join(WORDS[start:end]))


def test_the_same_text_is_dropped_and_counted_as_exact() -> None:
    duplicates = DuplicateFilter()
    assert [duplicates.accept(said(0, 100)), duplicates.accept(said(0, 100))] == [True, False]
    assert duplicates.counts == DuplicateCounts(accepted=1, exact=1, near=0)


def test_a_document_mostly_contained_in_an_earlier_one_is_dropped() -> None:
    duplicates = DuplicateFilter()
    kept = list(without_duplicates([said(0, 300), said(100, 310)], duplicates))
    assert kept == [said(0, 300)]
    assert duplicates.counts == DuplicateCounts(accepted=1, exact=0, near=1)


def test_pieces_of_several_earlier_documents_count_together() -> None:
    duplicates = DuplicateFilter()
    assert duplicates.accept(said(0, 150))
    assert duplicates.accept(said(150, 300))
    assert not duplicates.accept(said(10, 290))


def test_half_of_a_document_is_the_limit() -> None:
    # a document of 200 words has 196 runs of five; 116 (59 %) and 86 (44 %) of them stand in the first one
    for second, new in ((said(180, 380), False), (said(210, 410), True)):
        duplicates = DuplicateFilter(sampled_one_in=1)
        assert [duplicates.accept(said(0, 300)), duplicates.accept(second)] == [True, new]


def test_case_and_punctuation_do_not_hide_a_copy() -> None:
    duplicates = DuplicateFilter()
    assert duplicates.accept(said(0, 200))
    assert not duplicates.accept(document(", ".join(WORDS[:200]).upper()))


def test_texts_shorter_than_a_shingle_are_told_apart() -> None:
    duplicates = DuplicateFilter(sampled_one_in=1)
    assert [duplicates.accept(document(text)) for text in ("one two", "two one", "One, two!", "")] == [
        True,
        True,
        False,
        True,
    ]


def test_a_shingle_has_the_same_hash_wherever_it_stands() -> None:
    words = np.arange(1, 20, dtype=np.uint64)
    assert shingle_hashes(words)[3:10].tolist() == shingle_hashes(words[3:14]).tolist()


def test_hashes_do_not_depend_on_the_process() -> None:
    duplicates = DuplicateFilter(sampled_one_in=1)
    assert duplicates._sampled_shingles("one two three four five").tolist() == [2453610066298496481]


def test_hashes_are_counted_the_same_before_and_after_they_are_joined() -> None:
    generator = np.random.default_rng(0)
    known: set[int] = set()
    seen = SeenHashes(join_at=50)
    for _ in range(40):
        hashes = np.unique(generator.integers(0, 500, size=20, dtype=np.uint64))
        assert seen.count(hashes) == len(known.intersection(hashes.tolist()))
        seen.add(hashes)
        known.update(hashes.tolist())
    assert seen.count(np.arange(600, dtype=np.uint64)) == len(known)
