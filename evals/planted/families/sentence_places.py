"""Position: words of a kind at one place of a sentence: its first word, its last one, or right after a comma."""

from __future__ import annotations

from collections.abc import Sequence

from evals.planted.concepts import Claim, Concept, Frames
from evals.planted.predicates import Predicate, either, one_of, pattern

KINDS: dict[str, tuple[str, ...]] = {
    "adverbs": ("suddenly", "sadly", "luckily", "quietly", "slowly", "gladly", "oddly"),
    "days": ("Sunday", "Monday", "Tuesday", "Thursday", "Friday", "Saturday"),
}
PLACES: dict[str, tuple[str, tuple[str, ...], tuple[str, str]]] = {
    "first": (
        "as the first word of a sentence",
        ("{X} nobody wanted to pay for it.", "{X} was the answer that we got.", "{X} a door fell shut upstairs."),
        ("the capitalized first word of a line", r"^[A-Z]\w*"),
    ),
    "last": (
        "as the last word of a sentence",
        ("Nobody wanted to leave the house {x}.", "They had to do it {x}.", "A door fell shut upstairs {x}."),
        ("full stops", r"\."),
    ),
    "after a comma": (
        "right after a comma",
        ("They left, {x} and without a word.", "He came back, {x} as always.", "In the end, {x} was too late."),
        ("commas", ","),
    ),
}
DECOYS = ("They left the house {x} without a word.", "It had to be {x} or never.", "The man who came {x} was late.")


def create() -> Sequence[Concept]:
    return [_concept(kind, place) for kind in KINDS for place in PLACES]


def _at(place: str, members: Sequence[str]) -> Predicate:
    any_case = one_of(sorted({form for word in members for form in (word, word.capitalize())}))
    expressions = {
        "first": rf"(?:^|[.!?] )({any_case})\b",
        "last": rf"\b({any_case})(?=[.!?](?:\s|$))",
        "after a comma": rf", ({any_case})\b",
        "anywhere": rf"\b({any_case})\b",
    }
    return pattern(expressions[place])


def _concept(kind: str, place: str) -> Concept:
    members, (saying, frames, trap) = KINDS[kind], PLACES[place]
    name = "adverbs in -ly" if kind == "adverbs" else "names of days"
    edges = either(*(_at(p, KINDS[k]) for p in PLACES for k in KINDS))
    return Concept(
        family="sentence_places",
        name=f"{kind} {place}",
        wordings=(f"{name} {saying}", f"{members[1]} and the like {saying}", f"{saying}: one of the {name}"),
        holds=_at(place, members),
        broad=Claim("adverbs or days at the edge of a sentence or after a comma", edges),
        narrow=Claim(f'the word "{members[0]}" {saying}', _at(place, members[:1])),
        trap=Claim(trap[0], pattern(trap[1])),
        context_dropped=Claim(f"{name}, wherever they stand in a sentence", _at("anywhere", members)),
        planted=Frames(frames, {"x": members, "X": tuple(word.capitalize() for word in members)}),
        decoys=Frames(DECOYS, {"x": members}),
    )
