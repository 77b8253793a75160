from __future__ import annotations

import numpy as np
import pytest

from evals.planted import shapes
from evals.planted.extents import Occurrences

N = 64_000
PLACES = Occurrences(np.arange(0, N, 64), np.arange(0, N, 64) + 2)
SUB = np.arange(len(PLACES)) % 4 == 0


def make(shape: shapes.Shape, seed: int = 0) -> shapes.Activations:
    return shape(PLACES, SUB, N, np.random.default_rng(seed))


def test_binary_is_one_on_every_token_of_every_place() -> None:
    found = make(shapes.binary)
    assert found.token.tolist() == sorted([*PLACES.first, *PLACES.first + 1])
    assert set(found.value.tolist()) == {1.0}


def test_graded_is_stronger_on_the_sub_concept_by_its_gain() -> None:
    found = make(shapes.graded)
    value = found.value[::2]
    assert found.value[1::2].tolist() == value.tolist()
    ratio = np.exp(np.log(value[SUB]).mean() - np.log(value[~SUB]).mean())
    assert ratio == pytest.approx(shapes.SUB_CONCEPT_GAIN, rel=0.1)
    assert np.log(value[~SUB]).std() == pytest.approx(shapes.STRENGTH_SIGMA, rel=0.1)


def test_noisy_misses_a_tenth_and_adds_a_few_windows() -> None:
    found = make(shapes.noisy)
    expected = np.zeros(N, bool)
    expected[[*PLACES.first, *PLACES.first + 1]] = True
    kept = expected[found.token].sum() / expected.sum()
    spurious = (~expected[found.token]).sum() / (N / 32)
    assert kept == pytest.approx(0.9, abs=0.03)
    assert 0.0005 < spurious < 0.011


def test_delayed_fires_one_to_three_tokens_after_the_place_and_never_beyond_the_text() -> None:
    found = make(shapes.delayed)
    assert set((found.token % 64).tolist()) == {2, 3, 4}
    last = shapes.delayed(Occurrences(np.array([8]), np.array([10])), np.array([True]), 10, np.random.default_rng(0))
    assert len(last.token) == 0


def test_rare_fires_on_one_token_in_ten_thousand() -> None:
    assert len(make(shapes.rare).token) == 6


@pytest.mark.parametrize("shape", [shapes.binary, shapes.graded, shapes.noisy, shapes.delayed, shapes.rare])
def test_every_token_stands_once_in_order_and_the_seed_decides(shape: shapes.Shape) -> None:
    found = make(shape)
    assert (np.diff(found.token) > 0).all()
    assert (found.value > 0).all()
    assert found.value.tolist() == make(shape).value.tolist()


def test_of_overlapping_places_the_stronger_one_counts() -> None:
    places = Occurrences(np.array([0, 1]), np.array([2, 3]))
    found = shapes.graded(places, np.array([False, True]), 4, np.random.default_rng(1))
    strengths = shapes._strengths(np.array([False, True]), np.random.default_rng(1))
    assert found.value.tolist() == [strengths[0], strengths.max(), strengths[1]]
