"""Concepts that features are planted for: what is true of each, what is nearly true, and sentences to plant.

A *claim* is a text that a label could be, with the predicate that says exactly where it holds. Families of concepts are
one file each in `families`; every concept of a family has the next one as its sibling. This file knows no corpus, no
windows and no judge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Literal

import numpy as np

from evals.planted import families
from evals.planted.predicates import Predicate, anywhere, either
from labeling.registry import create, names

Kind = Literal[
    "true",
    "broad",
    "narrow",
    "sibling",
    "trap",
    "context_dropped",
    "unrelated",
    "generic",
    "hedged",
    "truncated",
]
"""What a label is to the concept that it is given to."""
PARAPHRASES = 3
GENERIC = "any text"
COMMONEST_SHARE = 0.35
"""Of a slot's fillings, the share that is its first one: the member that a too narrow label names."""


@dataclass(frozen=True)
class Claim:
    """A label and where it holds. `holds` None: the text is no claim that could be checked."""

    text: str
    holds: Predicate | None = field(compare=False)


@dataclass(frozen=True)
class Frames:
    """Sentences with slots, such as `The train to {x} was late.`"""

    frames: tuple[str, ...]
    slots: Mapping[str, Sequence[str]]

    def write(self, rng: np.random.Generator) -> str:
        """One sentence. Of a slot's fillings the first is the commonest."""
        frame = self.frames[rng.integers(len(self.frames))]
        return frame.format(
            **{name: _pick(values, rng) for name, values in self.slots.items() if f"{{{name}}}" in frame}
        )


@dataclass(frozen=True)
class Concept:
    """One concept with the claims that are compared, and the sentences that plant it."""

    family: str
    name: str
    wordings: tuple[str, str, str]
    """The true label in three ways."""
    holds: Predicate = field(compare=False)
    broad: Claim
    narrow: Claim
    """Also the sub-concept that a graded feature fires more strongly on."""
    trap: Claim
    context_dropped: Claim
    planted: Frames = field(compare=False)
    """Sentences in which it holds."""
    decoys: Frames = field(compare=False)
    """Sentences in which it does not hold, but the label without its context does."""
    lures: Frames | None = field(default=None, compare=False)
    """Sentences in which the trap alone holds, where text has too few of its own."""
    sibling: Claim | None = None

    @property
    def true(self) -> Claim:
        return Claim(self.wordings[0], self.holds)


@cache
def all_concepts() -> tuple[Concept, ...]:
    """Every concept of every family, families by name."""
    found: list[Concept] = []
    for name in names(families):
        found += with_siblings(create(families, name, kind="family"))
    return tuple(found)


def with_siblings(concepts: Sequence[Concept]) -> list[Concept]:
    """Give each concept the next one as its sibling, the last one the first."""
    following = [*concepts[1:], concepts[0]]
    return [replace(concept, sibling=other.true) for concept, other in zip(concepts, following, strict=True)]


def family_claim(concepts: Sequence[Concept]) -> Predicate:
    """Where anything of a family holds: what a reader would call related."""
    return either(*(p for c in concepts for p in (c.holds, c.broad.holds) if p is not None))


def labels_of(concept: Concept, unrelated: Concept) -> dict[Kind, tuple[Claim, ...]]:
    """All labels that are judged for a feature of the concept; the true one in three wordings."""
    text = concept.wordings[0]
    half = text.split()[: max(1, len(text.split()) // 2)]
    return {
        "true": tuple(Claim(wording, concept.holds) for wording in concept.wordings),
        "broad": (concept.broad,),
        "narrow": (concept.narrow,),
        "sibling": () if concept.sibling is None else (concept.sibling,),
        "trap": (concept.trap,),
        "context_dropped": (concept.context_dropped,),
        "unrelated": (unrelated.true,),
        "generic": (Claim(GENERIC, anywhere),),
        "hedged": (Claim(f"perhaps {text}, or possibly something else of that kind; it is hard to tell", None),),
        "truncated": (Claim(" ".join(half), None),),
    }


def _pick(values: Sequence[str], rng: np.random.Generator) -> str:
    if len(values) == 1 or rng.random() < COMMONEST_SHARE:
        return values[0]
    return values[1 + int(rng.integers(len(values) - 1))]
