"""Lexicon: names of places, as places. `Mr London` is a person, and only the label without its context counts him."""

from __future__ import annotations

from collections.abc import Sequence

from evals.planted.concepts import Claim, Concept, Frames
from evals.planted.predicates import Predicate, either, one_of, pattern, words

GROUPS: dict[str, tuple[str, tuple[str, ...]]] = {
    "European capitals": (
        "a capital city in Europe",
        ("Paris", "Rome", "Vienna", "Lisbon", "Madrid", "Oslo", "Prague"),
    ),
    "African capitals": (
        "a capital city in Africa",
        ("Cairo", "Nairobi", "Accra", "Tunis", "Dakar", "Lusaka", "Rabat"),
    ),
    "Asian capitals": ("a capital city in Asia", ("Tokyo", "Delhi", "Hanoi", "Bangkok", "Manila", "Seoul", "Jakarta")),
    "South American countries": (
        "a country in South America",
        ("Brazil", "Peru", "Chile", "Bolivia", "Ecuador", "Uruguay", "Colombia"),
    ),
    "states of the USA": ("a state of the USA", ("Texas", "Ohio", "Nevada", "Oregon", "Kansas", "Alaska", "Montana")),
    "large islands": ("a large island", ("Iceland", "Cuba", "Crete", "Sicily", "Java", "Borneo", "Malta")),
}
FRAMES = (
    "The night train to {x} was late again.",
    "She sent two long letters from {x} last winter.",
    "Most of our visitors come from {x} these days.",
    "Nobody in {x} had heard of the plan.",
    "They moved to {x} when the children were small.",
    "Prices in {x} have doubled within a year.",
)
TITLES = ("Mr", "Mrs", "Miss", "Aunt", "Uncle", "Doctor")
DECOYS = (
    "{t} {x} wrote a short reply to the council.",
    "Please ask {t} {x} for the keys of the cellar.",
    "The shop was sold to {t} {x} in the end.",
)


def create() -> Sequence[Concept]:
    everywhere = either(*(_as_place(members) for _, members in GROUPS.values()))
    return [_concept(name, saying, members, everywhere) for name, (saying, members) in GROUPS.items()]


def _as_place(members: Sequence[str]) -> Predicate:
    not_a_person = "".join(rf"(?<!\b{title} )" for title in TITLES)
    return pattern(rf"{not_a_person}\b{one_of(members)}\b")


def _concept(name: str, saying: str, members: tuple[str, ...], everywhere: Predicate) -> Concept:
    return Concept(
        family="places",
        name=name,
        wordings=(
            f"names of {name}",
            f"{saying}, by its name",
            f"the name of {saying} such as {members[1]}, as a place",
        ),
        holds=_as_place(members),
        broad=Claim("names of places", everywhere),
        narrow=Claim(f"the place {members[0]} only", _as_place(members[:1])),
        trap=Claim("capitalized words inside a sentence", pattern(r"(?<=[a-z,] )[A-Z][a-z]+")),
        context_dropped=Claim(f"the words {', '.join(members)}, whatever they name", words(*members)),
        planted=Frames(FRAMES, {"x": members}),
        decoys=Frames(DECOYS, {"x": members, "t": TITLES}),
    )
