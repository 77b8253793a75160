"""Which features are planted: every concept in the three main shapes, others on a part of the concepts.

A feature set holds the features of one shape (or all other shapes), so that no feature has a twin of the same concept
among its neighbors. Each feature has the labels that are judged for it; of some shapes the truth is another claim than the
concept's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evals.planted import shapes
from evals.planted.concepts import Claim, Concept, Kind, labels_of
from evals.planted.predicates import Predicate, either, outside, pattern

MAIN_SHAPES: Mapping[str, shapes.Shape] = {"binary": shapes.binary, "graded": shapes.graded, "noisy": shapes.noisy}
OTHER = "other"
"""Feature set of the shapes that only some concepts have."""
WITHOUT_TARGET = ("dense", "rare")
"""Shapes that are reported without a promise: on a tenth of the tokens a feature fires in nearly every window, and one in
ten thousand leaves hardly a window to judge."""
DENSE = (
    Claim("words that end in -s", pattern(r"\b[A-Za-z]+s\b")),
    Claim("words that begin with s or t", pattern(r"\b[sStT]\w+")),
    Claim("words of three letters", pattern(r"\b[A-Za-z]{3}\b")),
)


@dataclass(frozen=True)
class PlantedFeature:
    """One feature: what it fires on, how, and what it is labelled with."""

    concept: Concept
    shape: str
    make: shapes.Shape
    fires_on: Claim
    sub: Claim
    """What it fires on more strongly."""
    labels: Mapping[Kind, tuple[Claim, ...]]

    @property
    def name(self) -> str:
        return f"{self.concept.family}: {self.concept.name}, {self.shape}"


def feature_sets(concepts: Sequence[Concept]) -> dict[str, tuple[PlantedFeature, ...]]:
    """Features by feature set: one for each main shape, and one for all others."""
    labels = [labels_of(concept, unrelated_to(i, concepts)) for i, concept in enumerate(concepts)]
    found = {
        shape: tuple(
            PlantedFeature(concept, shape, make, concept.true, concept.narrow, own)
            for concept, own in zip(concepts, labels, strict=True)
        )
        for shape, make in MAIN_SHAPES.items()
    }
    return {**found, OTHER: tuple(_others(concepts, labels))}


def unrelated_to(number: int, concepts: Sequence[Concept]) -> Concept:
    """A concept of another family: the first one after a third of the list."""
    n, own = len(concepts), concepts[number].family
    candidates = [concepts[(number + n // 3 + step) % n] for step in range(n)]
    return next(concept for concept in candidates if concept.family != own)


def _others(concepts: Sequence[Concept], labels: Sequence[Mapping[Kind, tuple[Claim, ...]]]) -> list[PlantedFeature]:
    """Mixtures, holes and delays on one concept of each family, dense and rare features on a few."""
    found = []
    place: dict[str, int] = {}
    for number, concept in enumerate(concepts):
        k = place[concept.family] = place.get(concept.family, -1) + 1
        own = labels[number]
        if k == 0:
            found.append(_mixture(concept, unrelated_to(number, concepts), own))
        elif k == 1:
            found.append(_hole(concept, own))
        elif k == 2:
            found.append(PlantedFeature(concept, "delayed", shapes.delayed, concept.true, concept.narrow, own))
        elif k == 3 and len(place) <= 3:
            found.append(PlantedFeature(concept, "rare", shapes.rare, concept.true, concept.narrow, own))
        elif k == 4 and len(place) <= len(DENSE):
            found.append(_dense(concept, DENSE[len(place) - 1], own))
    return found


def _mixture(one: Concept, other: Concept, labels: Mapping[Kind, tuple[Claim, ...]]) -> PlantedFeature:
    """Fires on either of two unrelated concepts; the label of one alone is too narrow."""
    texts = [f"{a}; also {b}" for a, b in zip(one.wordings, other.wordings, strict=True)]
    holds = either(one.holds, other.holds)
    broad = Claim(f"{one.broad.text}; also {other.broad.text}", _either(one.broad, other.broad))
    own = {**labels, "true": tuple(Claim(text, holds) for text in texts), "broad": (broad,), "narrow": (one.true,)}
    own["unrelated"] = own["unrelated"] if own["unrelated"][0] != other.true else ()
    return PlantedFeature(one, "polysemantic", shapes.graded, Claim(texts[0], holds), one.narrow, own)


def _hole(concept: Concept, labels: Mapping[Kind, tuple[Claim, ...]]) -> PlantedFeature:
    """Fires everywhere but on the commonest member, as an absorbed feature does; the concept itself is too broad then."""
    assert concept.narrow.holds is not None
    holds = outside(concept.holds, concept.narrow.holds)
    texts = [f"{wording}, but not {concept.narrow.text}" for wording in concept.wordings]
    own = {**labels, "true": tuple(Claim(text, holds) for text in texts), "broad": (concept.true,), "narrow": ()}
    return PlantedFeature(concept, "hole", shapes.graded, Claim(texts[0], holds), concept.narrow, own)


def _dense(concept: Concept, claim: Claim, labels: Mapping[Kind, tuple[Claim, ...]]) -> PlantedFeature:
    own: dict[Kind, tuple[Claim, ...]] = {
        "true": (claim,),
        "generic": labels["generic"],
        "unrelated": labels["unrelated"],
    }
    return PlantedFeature(concept, "dense", shapes.graded, claim, claim, own)


def _either(one: Claim, other: Claim) -> Predicate:
    assert one.holds is not None
    assert other.holds is not None
    return either(one.holds, other.holds)
