"""Lexicon: words for people. In `the sister company` nobody is meant, and only the label without its context counts it."""

from __future__ import annotations

from collections.abc import Sequence

from evals.planted.concepts import Claim, Concept, Frames
from evals.planted.predicates import Predicate, either, one_of, pattern, words

GROUPS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "kinship": ("members of a family", "er", ("mother", "father", "sister", "brother", "uncle", "cousin", "aunt")),
    "trades": (
        "people by their trade",
        "er",
        ("baker", "plumber", "tailor", "butcher", "carpenter", "barber", "mason"),
    ),
    "rulers": ("people who rule", "ing", ("king", "queen", "emperor", "duke", "sultan", "prince", "tsar")),
    "ranks": ("people by military rank", "ant", ("sergeant", "colonel", "captain", "admiral", "corporal", "marshal")),
    "musicians": (
        "people who play music",
        "ist",
        ("pianist", "violinist", "drummer", "organist", "flautist", "cellist"),
    ),
    "athletes": ("people who do sports", "er", ("runner", "goalkeeper", "swimmer", "boxer", "rower", "sprinter")),
}
FRAMES = (
    "The {x} of the bride gave a short speech.",
    "Yesterday a {x} knocked at our door.",
    "Her neighbor, a {x}, never slept well.",
    "Nobody believed what the {x} said that evening.",
    "An old {x} sat alone in the waiting room.",
    "The letter was meant for the {x} and nobody else.",
)
THINGS = ("company", "board", "ship", "language", "committee")
DECOYS = (
    "Shares of the {x} {t} fell on Monday.",
    "The {x} {t} was founded before the war.",
    "A report on the {x} {t} is due in June.",
)


def create() -> Sequence[Concept]:
    everywhere = either(*(_as_person(members) for _, _, members in GROUPS.values()))
    return [_concept(name, *group, everywhere) for name, group in GROUPS.items()]


def _as_person(members: Sequence[str]) -> Predicate:
    return pattern(rf"\b{one_of(members)}\b(?! {one_of(THINGS)}\b)")


def _concept(name: str, saying: str, ending: str, members: tuple[str, ...], everywhere: Predicate) -> Concept:
    return Concept(
        family="people",
        name=name,
        wordings=(f"words for {saying}", f"{saying}, such as {members[1]}", f"someone is named as one of the {saying}"),
        holds=_as_person(members),
        broad=Claim("words for people", everywhere),
        narrow=Claim(f"the word {members[0]} for a person", _as_person(members[:1])),
        trap=Claim(f"words that end in -{ending}", pattern(rf"\b\w+{ending}\b")),
        context_dropped=Claim(f"the words {', '.join(members)}, of people or things", words(*members)),
        planted=Frames(FRAMES, {"x": members}),
        decoys=Frames(DECOYS, {"x": members, "t": THINGS}),
    )
