"""Morphology: forms of words. A word in quotation marks is only mentioned: the label without its context counts it too."""

from __future__ import annotations

from collections.abc import Sequence

from evals.planted.concepts import Claim, Concept, Frames
from evals.planted.predicates import Predicate, either, one_of, pattern, words

VERBS = ("look", "walk", "jump", "climb", "whisper", "laugh", "shout", "paint", "knock")
QUALITIES = ("bright", "soft", "calm", "bold", "bitter", "tender", "gentle", "sharp")
ENDINGS: dict[str, tuple[str, Sequence[str], str, tuple[str, ...]]] = {
    "past tense": (
        "verbs in the past tense with -ed",
        VERBS,
        "ed",
        (
            "Nobody {x} while the door stood open.",
            "The whole class {x} when it heard that.",
            "He {x} for an hour and went home.",
            "Then the twins {x} again and again.",
        ),
    ),
    "-ing": (
        "verbs with -ing",
        VERBS,
        "ing",
        (
            "Nobody is {x} while the door stands open.",
            "The whole class was {x} at that moment.",
            "He kept {x} for an hour and went home.",
            "The twins started {x} again.",
        ),
    ),
    "third person": (
        "verbs in the third person with -s",
        VERBS,
        "s",
        (
            "Nobody {x} while the door stands open.",
            "She always {x} when she hears that.",
            "He {x} for an hour and goes home.",
            "Then the girl {x} again.",
        ),
    ),
    "agents": (
        "nouns in -er for who does something",
        ("lookout", *VERBS[1:]),
        "er",
        (
            "Only one {x} was there when the door opened.",
            "She is the best {x} of her class.",
            "A tired {x} went home after an hour.",
            "Then another {x} came along.",
        ),
    ),
    "-ness": (
        "nouns in -ness for a quality",
        QUALITIES,
        "ness",
        (
            "Its {x} surprised everybody in the room.",
            "We were struck by the {x} of his voice.",
            "There was a {x} in her answer.",
            "Critics praised the {x} of the painting.",
        ),
    ),
    "-ly": (
        "adverbs in -ly for a manner",
        QUALITIES,
        "ly",
        (
            "She answered {x} and left the room.",
            "His voice rose {x} over the noise.",
            "They spoke {x} about the painting.",
            "It shone {x} in everybody's eyes.",
        ),
    ),
}
LURES = Frames(
    ("A {x} came to the door.", "We never saw the {x} again.", "Nobody asked the {x} about it."),
    {"x": ("witness", "governess", "lioness", "harness", "baroness")},
)
"""Words with the letters "ness" that name no quality; letters of the other endings are everywhere."""
DECOYS = ('The clerk underlined "{x}" twice.', 'Is "{x}" spelled like that?', 'The next entry is "{x}" on page two.')


def create() -> Sequence[Concept]:
    every = {stem + ending for stem in VERBS for ending in ("", "ed", "ing", "s", "er")}
    every |= {form for stem in QUALITIES for ending in ("", "ness", "ly") for form in (_form(stem, ending),)}
    everywhere = _used(sorted(every))
    return [_concept(name, *rest, everywhere) for name, rest in ENDINGS.items()]


def _form(stem: str, ending: str) -> str:
    return stem[:-2] + ending if stem.endswith("le") and ending == "ly" else stem + ending


def _used(forms: Sequence[str]) -> Predicate:
    return pattern(rf'(?<!")\b{one_of(forms)}\b(?!")')


def _concept(
    name: str, saying: str, stems: Sequence[str], ending: str, frames: tuple[str, ...], everywhere: Predicate
) -> Concept:
    forms = tuple(_form(stem, ending) for stem in stems if stem != "lookout")
    return Concept(
        family="morphology",
        name=name,
        wordings=(saying, f"{saying}, such as {forms[1]}", f"words like {forms[2]} or {forms[3]}: {saying}"),
        holds=_used(forms),
        broad=Claim("forms of verbs and adjectives of manner", everywhere),
        narrow=Claim(f"the word {forms[0]} in use", _used(forms[:1])),
        trap=Claim(f'words with the letters "{ending}"', pattern(rf"\b\w*{ending}\w*\b")),
        context_dropped=Claim(f"{saying}, also where the word is only quoted", either(words(*forms))),
        planted=Frames(frames, {"x": forms}),
        decoys=Frames(DECOYS, {"x": forms}),
        lures=LURES if ending == "ness" else None,
    )
