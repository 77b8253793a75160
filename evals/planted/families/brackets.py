"""Position: words of a kind within round brackets, or within quotation marks."""

from __future__ import annotations

from collections.abc import Sequence

from evals.planted.concepts import Claim, Concept, Frames
from evals.planted.predicates import Predicate, either, inside, pattern, words

KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "colors": ("words for colors", ("green", "purple", "yellow", "orange", "violet", "scarlet", "turquoise")),
    "animals": ("words for animals", ("horse", "rabbit", "goose", "donkey", "badger", "otter", "pigeon")),
    "fruits": ("words for fruits", ("apple", "cherry", "lemon", "apricot", "banana", "grape", "melon")),
}
BRACKETED, QUOTED = pattern(r"\([^()\n]{1,60}\)"), pattern(r'"[^"\n]{1,60}"')
PLACES: dict[str, tuple[str, Predicate, tuple[str, ...], tuple[str, str]]] = {
    "brackets": (
        "within round brackets",
        BRACKETED,
        (
            "The second one (a {x}) was missing.",
            "Nobody took the picture (the {x} one) home.",
            "Ask for the other kind (see {x}) at the desk.",
            "His favorite (it was {x} then) got lost.",
        ),
        ("opening brackets", r"\("),
    ),
    "quotes": (
        "within quotation marks",
        QUOTED,
        (
            'They called the boat "my {x} dream" for years.',
            'The sign said "no {x} today" in red.',
            'On the lid "{x} and more" was written.',
            'He whispered "what a {x}" and left.',
        ),
        ("quotation marks", '"'),
    ),
}
DECOYS = ("She bought a {x} picture at the fair.", "There was a {x} in the yard.", "A {x} and a chair were left.")


def create() -> Sequence[Concept]:
    return [_concept(kind, place) for place in PLACES for kind in KINDS]


def _concept(kind: str, place: str) -> Concept:
    (name, members), (saying, outer, frames, trap) = KINDS[kind], PLACES[place]
    every = words(*(word for _, some in KINDS.values() for word in some))
    return Concept(
        family="brackets",
        name=f"{kind} in {place}",
        wordings=(f"{name} {saying}", f"{members[1]} and the like {saying}", f"{saying}: one of the {name}"),
        holds=inside(words(*members), outer),
        broad=Claim(
            "colors, animals or fruits in brackets or quotation marks",
            either(inside(every, BRACKETED), inside(every, QUOTED)),
        ),
        narrow=Claim(f'the word "{members[0]}" {saying}', inside(words(members[0]), outer)),
        trap=Claim(trap[0], pattern(trap[1])),
        context_dropped=Claim(f"{name}, in brackets or not", words(*members)),
        planted=Frames(frames, {"x": members}),
        decoys=Frames(DECOYS, {"x": members}),
    )
