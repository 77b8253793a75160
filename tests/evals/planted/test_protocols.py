"""Other systems' protocols: how many windows of which kind, and what number comes of grades that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from evals.planted.protocols import DELPHI, PROTOCOLS, SAEBENCH, TOP_AND_RANDOM, Drawn, Protocol

ACTIVATION = np.zeros(2000, np.float32)
ACTIVATION[:200] = np.linspace(0.1, 20, 200)
TAU = 0.05


def draw(protocol: Protocol, windows: int | None = None, seed: int = 0) -> Drawn:
    return protocol.draw(ACTIVATION, TAU, windows or protocol.windows, np.random.default_rng(seed))


def test_delphi_like_takes_fifty_over_all_strengths_and_fifty_silent() -> None:
    drawn = draw(DELPHI)
    assert (len(drawn.row), int(drawn.positive.sum())) == (100, 50)
    assert (drawn.positive == (ACTIVATION[drawn.row] > TAU)).all()
    assert np.bincount(drawn.row[:50] // 20).tolist() == [5] * 10
    assert len(set(drawn.row.tolist())) == 100


def test_saebench_like_takes_two_top_two_by_strength_and_ten_unchecked() -> None:
    drawn = draw(SAEBENCH)
    assert (len(drawn.row), int(drawn.positive.sum())) == (14, 4)
    assert sorted(drawn.row[:2].tolist()) == [198, 199]
    assert (ACTIVATION[drawn.row[:4]] > 0).all()
    assert drawn.activation[4:].tolist() == [0.0] * 10
    firing = [bool((ACTIVATION[draw(SAEBENCH, seed=seed).row[4:]] > 0).any()) for seed in range(50)]
    assert any(firing), "random windows that fire are taken to be silent"


def test_top_and_random_takes_the_strongest_and_any() -> None:
    drawn = draw(TOP_AND_RANDOM)
    assert drawn.row[:50].tolist() == list(range(199, 149, -1))
    assert len(drawn.row) == 100
    assert (drawn.activation == ACTIVATION[drawn.row]).all()


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.name)
def test_other_sizes_keep_the_proportions(protocol: Protocol) -> None:
    for windows in (14, 50, 200):
        drawn = draw(protocol, windows)
        assert len(drawn.row) == windows
    assert draw(protocol).row.tolist() == draw(protocol).row.tolist()


def test_scores_of_known_grades() -> None:
    drawn = draw(DELPHI)
    assert DELPHI.score(drawn, np.where(drawn.positive, 0.9, 0.1)) == 1.0
    assert DELPHI.score(drawn, np.ones(100)) == 0.5
    few = draw(SAEBENCH)
    assert SAEBENCH.score(few, np.zeros(14)) == pytest.approx(10 / 14)
    assert SAEBENCH.score(few, few.positive.astype(float)) == 1.0
    both = draw(TOP_AND_RANDOM)
    assert TOP_AND_RANDOM.score(both, both.activation.astype(float)) == pytest.approx(1.0)
    assert TOP_AND_RANDOM.score(both, -both.activation.astype(float)) == pytest.approx(-1.0)


def test_constant_grades_and_one_sided_draws_have_no_score() -> None:
    both = draw(TOP_AND_RANDOM)
    assert math.isnan(TOP_AND_RANDOM.score(both, np.full(100, 0.3)))
    drawn = Drawn(np.arange(3), np.ones(3, np.float32), np.ones(3, bool))
    assert math.isnan(DELPHI.score(drawn, np.ones(3)))


def test_a_feature_with_few_firing_windows_gives_what_it_has() -> None:
    activation = np.zeros(300, np.float32)
    activation[:6] = 1.0
    assert int(DELPHI.draw(activation, TAU, 100, np.random.default_rng(0)).positive.sum()) == 6
    assert int(SAEBENCH.draw(activation, TAU, 14, np.random.default_rng(0)).positive.sum()) == 4
