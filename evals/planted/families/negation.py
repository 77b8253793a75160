"""Syntax: verbs that are negated, such as `do not stop`."""

from __future__ import annotations

from collections.abc import Sequence

from evals.planted.concepts import Claim, Concept, Frames
from evals.planted.predicates import Predicate, either, one_of, pattern, words

NOT = ("don't", "do not", "never", "must not", "cannot", "will not")
VERBS: dict[str, tuple[str, str]] = {
    "stop": ("stop", "halt"),
    "start": ("start", "begin"),
    "open": ("open", "unlock"),
    "close": ("close", "shut"),
    "send": ("send", "mail"),
    "keep": ("keep", "retain"),
}
FRAMES = (
    "You {n} {x} the old machine at night.",
    "They {n} {x} it, whatever happens.",
    "People {n} {x} what they paid for.",
    "We {n} {x} anything on Sundays.",
    "I {n} {x} these without a reason.",
)
DECOYS = (
    "You should {x} the old machine at night.",
    "They {x} it, whatever happens.",
    "People often {x} what they paid for.",
    "We can {x} anything on Sundays.",
)


def create() -> Sequence[Concept]:
    every = [verb for members in VERBS.values() for verb in members]
    negated, plain = _negated(every), words(*every)
    return [_concept(name, members, either(plain, negated)) for name, members in VERBS.items()]


def _negated(verbs: Sequence[str], negations: Sequence[str] = NOT) -> Predicate:
    return pattern(rf"\b({one_of(negations)} {one_of(verbs)})\b")


def _concept(name: str, members: tuple[str, str], everywhere: Predicate) -> Concept:
    both = f"{members[0]} or {members[1]}"
    return Concept(
        family="negation",
        name=f"not {name}",
        wordings=(
            f'a negation of the verbs "{both}"',
            f"someone does not {both}",
            f"{both}, with do not, never or cannot before it",
        ),
        holds=_negated(members),
        broad=Claim("verbs for handling things: stop, start, open, close, send, keep", everywhere),
        narrow=Claim(f'the words "{NOT[0]} {members[0]}"', _negated(members[:1], NOT[:1])),
        trap=Claim('the word "not"', words("not")),
        context_dropped=Claim(f"the verbs {both}, negated or not", words(*members)),
        planted=Frames(FRAMES, {"x": members, "n": NOT}),
        decoys=Frames(DECOYS, {"x": members}),
    )
