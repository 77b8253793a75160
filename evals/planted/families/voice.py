"""Syntax: what is said of a verb by the words before it: passive, progressive, perfect, future, duty, habit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evals.planted.concepts import Claim, Concept, Frames
from evals.planted.predicates import Predicate, either, one_of, pattern, words

PARTICIPLES = ("made", "painted", "cleaned", "repaired", "washed", "planted")
PROGRESSIVE = ("making", "painting", "cleaning", "repairing", "washing", "planting")
PLAIN = ("make", "paint", "clean", "repair", "wash", "plant")


@dataclass(frozen=True)
class Form:
    saying: str
    auxiliaries: tuple[str, ...]
    verbs: tuple[str, ...]
    frames: tuple[str, ...]


THINGS = ("The fence", "The roof", "A boat", "The wall", "This bench")
PEOPLE = ("The boys", "Her friends", "The tenants", "Both women")
FORMS: dict[str, Form] = {
    "passive": Form(
        "the passive voice in the past",
        ("was", "were"),
        PARTICIPLES,
        ("{t} {a} {x} by a neighbor.", "{t} {a} {x} last spring.", "In the end all of them {a} {x} again."),
    ),
    "progressive": Form(
        "the past progressive: what someone was doing",
        ("was", "were"),
        PROGRESSIVE,
        ("{p} {a} {x} boats.", "{p} {a} {x} something all day.", "Somebody {a} {x} it again."),
    ),
    "perfect": Form(
        "the present perfect: what someone has done",
        ("have", "has"),
        PARTICIPLES,
        ("{p} {a} {x} two boats.", "{p} {a} {x} it since then.", "Somebody {a} {x} it again."),
    ),
    "future": Form(
        "the future with will",
        ("will", "'ll"),
        PLAIN,
        ("{p} {a} {x} two boats.", "{p} {a} {x} it next spring.", "Somebody {a} {x} it again."),
    ),
    "duty": Form(
        "what someone must or should do",
        ("must", "should"),
        PLAIN,
        ("{p} {a} {x} two boats.", "{p} {a} {x} it every spring.", "Somebody {a} {x} it again."),
    ),
    "habit": Form(
        "a habit of the past with used to",
        ("used to", "would often"),
        PLAIN,
        ("{p} {a} {x} boats.", "{p} {a} {x} it every spring.", "Somebody {a} {x} it then."),
    ),
}
DECOYS: dict[tuple[str, ...], tuple[str, ...]] = {
    PARTICIPLES: ("{t}, newly {x}, looks fine.", "A {x} thing stood there.", "Freshly {x}, it seemed new."),
    PROGRESSIVE: ("{p} like {x} boats.", "After {x} it they slept.", "For {x} there is no time."),
    PLAIN: ("{p} {x} two boats each year.", "Let us {x} it together.", "To {x} it takes a day."),
}


def create() -> Sequence[Concept]:
    everywhere = either(*(_held(form.auxiliaries, form.verbs) for form in FORMS.values()), words(*PARTICIPLES))
    auxiliary = words("was", "were", "is", "are", "have", "has", "will", "must", "should", "would", "can", "be")
    return [_concept(name, form, either(everywhere, auxiliary)) for name, form in FORMS.items()]


def _held(auxiliaries: Sequence[str], verbs: Sequence[str]) -> Predicate:
    return pattern(rf"(?<!\w)({one_of(auxiliaries)} {one_of(verbs)})\b")


def _concept(name: str, form: Form, everywhere: Predicate) -> Concept:
    first = f"{form.auxiliaries[0]} {form.verbs[0]}"
    manual = "of making, painting, cleaning, repairing, washing or planting"
    return Concept(
        family="voice",
        name=name,
        wordings=(
            f"{form.saying}, {manual}",
            f"{form.saying}, like {first}",
            f"{form.auxiliaries[0]} or {form.auxiliaries[1]} and one of {', '.join(form.verbs)}",
        ),
        holds=_held(form.auxiliaries, form.verbs),
        broad=Claim("auxiliary verbs and what they belong to", everywhere),
        narrow=Claim(f'the words "{first}"', _held(form.auxiliaries[:1], form.verbs[:1])),
        trap=Claim(f'the word "{form.auxiliaries[0].split()[0]}"', words(form.auxiliaries[0].split()[0])),
        context_dropped=Claim(f"the words {', '.join(form.verbs)}, in any sentence", words(*form.verbs)),
        planted=Frames(form.frames, {"x": form.verbs, "a": form.auxiliaries, "t": THINGS, "p": PEOPLE}),
        decoys=Frames(DECOYS[form.verbs], {"x": form.verbs, "t": THINGS, "p": PEOPLE}),
    )
