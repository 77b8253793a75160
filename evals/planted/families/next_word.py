"""Next token: the word that stands right before a certain other word, so that what follows decides."""

from __future__ import annotations

from collections.abc import Sequence

from evals.planted.concepts import Claim, Concept, Frames
from evals.planted.predicates import Predicate, either, one_of, pattern, words

NEXT: dict[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    "an": (
        ("such", "quite", "rather", "almost", "hardly"),
        ("It was {x} an easy day for all.", "There is {x} an answer to that.", "We saw {x} an old man there."),
        "a",
    ),
    "than": (
        ("rather", "longer", "colder", "smaller", "louder"),
        ("It was {x} than the last one.", "They felt {x} than ever before.", "Make it {x} than that."),
        "th",
    ),
    "whether": (
        ("asked", "wondered", "forgot", "doubted", "checked"),
        ("She {x} whether it would rain.", "Nobody {x} whether the door was shut.", "They {x} whether he came."),
        "wh",
    ),
    "unless": (
        ("leave", "sleep", "pay", "answer", "wait"),
        ("They never {x} unless you ask.", "We {x} unless it rains.", "People {x} unless they are told."),
        "un",
    ),
    "although": (
        ("came", "laughed", "stayed", "agreed", "paid"),
        ("They {x} although it was late.", "Everybody {x} although nobody had asked.", "He {x} although he was ill."),
        "al",
    ),
    "instead": (
        ("bread", "tea", "letters", "stones", "water"),
        ("They brought {x} instead and left.", "Take {x} instead if you like.", "We got {x} instead of money."),
        "in",
    ),
}
DECOYS: dict[str, tuple[str, ...]] = {
    "an": ("It was {x} dark in there.", "They are {x} tired now.", "He was {x} pleased."),
    "than": ("It was {x} dark in there.", "A {x} night is coming.", "This one seems {x} now."),
    "whether": ("She {x} it at once.", "Nobody {x} anything that day.", "They {x} and went home."),
    "unless": ("They never {x} before noon.", "We {x} for the bus.", "People {x} when they are told."),
    "although": ("They {x} all night.", "Everybody {x} at once.", "He {x} and went home."),
    "instead": ("They brought {x} and left.", "Take {x} if you like.", "We got {x} for nothing."),
}


def create() -> Sequence[Concept]:
    everywhere = either(*(_before(word) for word in NEXT), pattern(r"\b(\w+) (?:a|the) "))
    return [_concept(word, *rest, everywhere) for word, rest in NEXT.items()]


def _before(word: str, *members: str) -> Predicate:
    return pattern(rf"\b({one_of(members) if members else r'[A-Za-z]+'})(?= {word}\b)")


def _concept(
    word: str, usual: tuple[str, ...], frames: tuple[str, ...], letters: str, everywhere: Predicate
) -> Concept:
    return Concept(
        family="next_word",
        name=f"before {word}",
        wordings=(
            f'the word right before "{word}"',
            f'a word after which "{word}" comes next',
            f'any word, if "{word}" follows it directly, as in "{usual[1]} {word}"',
        ),
        holds=_before(word),
        broad=Claim("words before an article or a conjunction", everywhere),
        narrow=Claim(f'the word "{usual[0]}" before "{word}"', _before(word, usual[0])),
        trap=Claim(f'words that begin with "{letters}"', pattern(rf"\b{letters}\w*", any_case=True)),
        context_dropped=Claim(f"the words {', '.join(usual)}, whatever follows", words(*usual)),
        planted=Frames(frames, {"x": usual}),
        decoys=Frames(DECOYS[word], {"x": usual}),
    )
