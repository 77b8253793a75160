"""Padded items and the sampling design made from them."""

import numpy as np
import pytest

from evals.items import pack
from evals.strata import ABOVE, BELOW, GREY, PARTS, lay_out
from labeling.types import STRATA
from tests.evals.judged import feature


def test_rows_are_packed_by_feature_and_padded_on_the_right() -> None:
    items = pack(
        np.array([1, 0, 1]),
        probability=np.array([0.1, 0.2, np.nan]),
        activation=np.zeros(3),
        stratum=np.full(3, STRATA.index("random")),
        population=np.full(3, 7),
        document=np.array([4, 5, 6]),
        panel=np.array([False, True, False]),
        tau=np.ones(2),
        tau25=np.ones(2),
        firing_windows=np.ones(2),
        firing_windows25=np.ones(2),
        n_windows=np.full(2, 9),
    )
    assert items.document.tolist() == [[5, -1], [4, 6]]
    assert items.stratum.tolist() == [[10, -1], [10, 10]]
    assert items.answered.tolist() == [[True, False], [True, False]]


def test_items_of_a_stratum_must_agree_about_its_population() -> None:
    items = feature([("q1", 0.5, 1.0), ("q1", 0.5, 1.0)], {"q1": 10})
    items.population[0, 1] = 11
    with pytest.raises(ValueError, match="stratum q1 in row 0 carry different populations"):
        lay_out(items, share_of_max=0.01)


def test_a_document_code_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="renumber the documents"):
        feature([("q1", 0.5, 1.0)], {"q1": 10}, documents=[2**31])


def test_top_windows_are_in_no_part() -> None:
    design = lay_out(feature([("top", 1.0, 9.0), ("q5", 1.0, 5.0)], {"top": 5, "q5": 10}), share_of_max=0.01)
    assert design.drawn.sum() == 1
    assert design.mass.sum() == 10


def test_the_stratum_cut_by_the_higher_threshold_is_post_stratified_with_the_exact_count() -> None:
    populations = {"q1": 10, "q2": 10, "q3": 10, "q4": 10, "q5": 10, "grey": 20}
    items = [("q1", 0.0, 1.0), ("q2", 0.0, 2.0), ("q3", 1.0, 2.4), ("q3", 1.0, 2.6), ("q3", 1.0, 2.9)]
    items += [("q4", 1.0, 3.5), ("q5", 1.0, 5.0), ("grey", 0.0, 0.2)]
    design = lay_out(feature(items, populations, firing_windows25=24), share_of_max=0.25)
    assert design.mass[0, ABOVE].tolist() == [0, 0, 4, 10, 10]
    assert design.mass[0, BELOW].tolist() == [10, 10, 6, 0, 0]
    assert design.answered[0, ABOVE].tolist() == [0, 0, 2, 1, 1]


def test_a_cut_piece_that_nobody_drew_from_joins_its_neighbor_on_the_same_side() -> None:
    populations = {"q1": 10, "q2": 10, "q3": 10, "q4": 10, "q5": 10, "grey": 20}
    items = [("q1", 0.0, 1.0), ("q2", 0.0, 2.0), ("q3", 1.0, 2.4), ("q4", 1.0, 3.5), ("q5", 1.0, 5.0)]
    design = lay_out(feature(items, populations, firing_windows25=21), share_of_max=0.25)
    assert design.mass[0, ABOVE].tolist() == [0, 0, 0, 11, 10]
    items = [("q3", 1.0, 2.6), ("q4", 1.0, 3.5), ("q5", 1.0, 5.0), ("grey", 0.0, 0.2)]
    design = lay_out(feature(items, populations, firing_windows25=27), share_of_max=0.25)
    assert design.mass[0, GREY] == 23, "the three windows of q3 below the threshold"
    assert PARTS[GREY] == "grey"
