"""Windows: what a document is cut into, and which split it may serve."""

from __future__ import annotations

from collections import Counter

import polars as pl
import pytest

from labeling.identity import text_id
from labeling.types import Document, TokenizedDocument
from labeling.windows import SPLIT_SHARES, count_tokens, cut_windows, load_windows, split_of


def tokenized(text: str) -> TokenizedDocument:
    """One token a word."""
    starts, ends, position = [], [], 0
    words = text.split()
    for word in words:
        position = text.index(word, position)
        starts.append(position)
        position += len(word)
        ends.append(position)
    document = Document(text_id(text), "test", text)
    return TokenizedDocument(document, tuple(range(len(words))), tuple(words), tuple(starts), tuple(ends))


def test_windows_are_consecutive_slices_of_one_document() -> None:
    frame = cut_windows([tokenized("a bb  c d e"), tokenized("x y z")], corpus_id="c", width=2, seed=0)
    assert frame["text"].to_list() == ["a bb", "c d", "e", "x y", "z"]
    assert frame["window_id"].to_list() == [0, 1, 2, 3, 4]
    assert frame["token_starts"].to_list()[0] == [0, 2]
    assert frame["token_ends"].to_list()[0] == [1, 4]
    assert frame["char_start"].to_list() == [0, 6, 10, 0, 4]


def test_tails_shorter_than_half_a_window_are_left_out() -> None:
    frame = cut_windows([tokenized("a b c d e"), tokenized("f")], corpus_id="c", width=4, seed=0)
    assert frame["text"].to_list() == ["a b c d"]


def test_all_windows_of_a_document_are_in_one_split() -> None:
    documents = [tokenized(" ".join(f"w{i}x{j}" for j in range(20))) for i in range(50)]
    frame = cut_windows(documents, corpus_id="c", width=4, seed=0)
    assert frame.group_by("document_id").agg(pl.col("split").n_unique())["split"].max() == 1


def test_split_shares_are_kept_and_do_not_depend_on_other_documents() -> None:
    splits = Counter(split_of(text_id(str(i)), 0) for i in range(20_000))
    for split, share in SPLIT_SHARES.items():
        assert splits[split] / 20_000 == pytest.approx(share, abs=0.015)


def test_loading_gives_the_tokens_back() -> None:
    frame = cut_windows([tokenized("a b a"), tokenized("c a")], corpus_id="c", width=3, seed=0)
    windows = load_windows(frame)
    assert windows.vocabulary == ("a", "b", "c")
    assert windows.tokens.tolist() == [[0, 1, 0], [2, 0, -1]]
    assert windows.token_strings(1) == ["c", "a"]
    assert [windows.text[1][s:e] for s, e in zip(windows.starts[1, :2], windows.ends[1, :2], strict=True)] == ["c", "a"]


def test_an_unknown_window_is_an_error() -> None:
    windows = load_windows(cut_windows([tokenized("a b a")], corpus_id="c", width=3, seed=0, first_window=7))
    assert windows.rows_of(windows.window).tolist() == [0]
    with pytest.raises(KeyError, match="window 8"):
        windows.rows_of(windows.window + 1)


def test_tokens_are_counted_by_split() -> None:
    frame = cut_windows([tokenized("a b a")], corpus_id="c", width=3, seed=0)
    assert dict(count_tokens(frame).select("token", "occurrences").iter_rows()) == {"a": 2, "b": 1}
