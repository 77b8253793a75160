"""Windows as token numbers: the table may be cut anyhow, and only the windows asked for are kept."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from labeling.contexts import choose_pool
from labeling.types import SPLITS
from labeling.window_tokens import Survey, WindowTokens, add_windows, survey_windows

N_WINDOWS, WIDTH = 400, 5
WORDS = [f"w{number:02}" for number in range(30)]
DRAWN = np.random.default_rng(0).integers(0, len(WORDS), (N_WINDOWS, WIDTH))
LENGTHS = np.where(np.arange(N_WINDOWS) % 7 == 0, 3, WIDTH)
SPLIT = np.arange(N_WINDOWS) // 10 % 3


def parts(cuts: tuple[int, ...]) -> Iterator[pl.DataFrame]:
    for first, end in pairwise(cuts):
        rows = range(first, end)
        yield pl.DataFrame(
            {
                "window_id": rows,
                "document_id": [f"d{row // 10}" for row in rows],
                "split": [SPLITS[SPLIT[row]] for row in rows],
                "tokens": [[WORDS[i] for i in DRAWN[row, : LENGTHS[row]]] for row in rows],
            }
        )


def survey(cuts: tuple[int, ...] = (0, N_WINDOWS), size: int = 20) -> Survey:
    return survey_windows(partial(parts, cuts), pool_size=size, seed=3)


def same(left: WindowTokens, right: WindowTokens) -> bool:
    arrays = ((left.window, right.window), (left.split, right.split), (left.tokens, right.tokens))
    return all((a == b).all() for a, b in arrays) and left.document_id.equals(right.document_id)


def test_the_pool_is_that_of_all_windows_at_once() -> None:
    rows = choose_pool(np.arange(N_WINDOWS), SPLIT.astype(np.int8), size=20, seed=3)
    assert survey().pool.window.tolist() == rows.tolist()
    assert np.bincount(survey().pool.split).tolist() == [20, 20, 20]


def test_how_the_table_is_cut_changes_nothing() -> None:
    whole, cut = survey(), survey((0, 7, 150, 151, N_WINDOWS))
    assert same(whole.pool, cut.pool)
    assert cut.vocabulary.to_list() == WORDS
    assert (whole.holding == cut.holding).all()
    assert (cut.n_windows.tolist(), cut.n_tokens) == (np.bincount(SPLIT).tolist(), LENGTHS.sum())


def test_a_token_that_stands_twice_in_a_window_is_counted_once() -> None:
    sets = [set(DRAWN[row, : LENGTHS[row]].tolist()) for row in range(N_WINDOWS)]
    assert survey().holding.tolist() == [sum(word in some for some in sets) for word in range(len(WORDS))]


def test_windows_keep_their_tokens_and_short_ones_are_padded() -> None:
    pool = survey(size=N_WINDOWS).pool
    assert (pool.tokens == np.where(np.arange(WIDTH) < LENGTHS[:, None], DRAWN, -1)).all()


def test_windows_outside_the_pool_are_read_when_they_are_asked_for() -> None:
    found = survey()
    wanted = np.array([0, 1, 398, int(found.pool.window[5])])
    added = add_windows(found.pool, wanted, parts=partial(parts, (0, 100, N_WINDOWS)), survey=found)
    assert added.window.tolist() == sorted({*found.pool.window.tolist(), *wanted.tolist()})
    assert (added.tokens[added.rows_of(np.array([398]))] == DRAWN[398]).all()
    assert added.document_id[int(added.rows_of(np.array([398]))[0])] == "d39"


def test_the_table_is_not_read_again_when_nothing_is_missing() -> None:
    found = survey()

    def unread() -> Iterator[pl.DataFrame]:
        raise AssertionError("read again")

    assert add_windows(found.pool, found.pool.window[:3], parts=unread, survey=found) is found.pool


def test_an_unknown_window_is_an_error() -> None:
    with pytest.raises(KeyError, match="window 4000 is not among the 60 windows"):
        survey().pool.rows_of(np.array([4000]))
