from __future__ import annotations

from collections import Counter

from evals.planted.concepts import all_concepts
from evals.planted.features import OTHER, feature_sets

SETS = feature_sets(all_concepts())


def test_every_concept_has_the_three_main_shapes_in_sets_of_their_own() -> None:
    for shape in ("binary", "graded", "noisy"):
        assert [feature.concept for feature in SETS[shape]] == list(all_concepts())
    assert set(SETS) == {"binary", "graded", "noisy", OTHER}


def test_the_other_shapes_are_planted_on_a_part_of_the_concepts() -> None:
    counts = Counter(feature.shape for feature in SETS[OTHER])
    assert counts == {"polysemantic": 14, "hole": 14, "delayed": 14, "rare": 3, "dense": 3}


def test_a_mixture_fires_on_either_concept_and_a_hole_not_on_the_commonest_member() -> None:
    mixture = next(f for f in SETS[OTHER] if f.shape == "polysemantic" and f.concept.family == "places")
    assert mixture.fires_on.holds is not None
    other = mixture.labels["true"][0].text.split("; also ")[1]
    text = next(c.planted.frames[0] for c in all_concepts() if c.wordings[0] == other)
    assert text
    assert mixture.fires_on.holds("We went to Paris.")
    hole = next(f for f in SETS[OTHER] if f.shape == "hole" and f.concept.family == "places")
    assert hole.fires_on.holds is not None
    assert [bool(hole.fires_on.holds(t)) for t in ("We saw Nairobi.", "We saw Cairo.")] == [True, False]
    assert hole.labels["broad"][0] == hole.concept.true


def test_unrelated_labels_come_from_another_family() -> None:
    by_text = {concept.wordings[0]: concept.family for concept in all_concepts()}
    for feature in SETS["graded"]:
        assert by_text[feature.labels["unrelated"][0].text] != feature.concept.family
