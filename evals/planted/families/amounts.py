"""Regular expressions: amounts with a unit that somebody paid, or that something rose or fell by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evals.planted.concepts import Claim, Concept, Frames
from evals.planted.predicates import pattern

FIGURES = ("20", "3", "7", "48", "65", "150", "900", "12", "33")
PAID = (
    "(?:cost|paid|for)",
    (
        "The old lamp cost {x} at the market.",
        "We paid {x} and left.",
        "You can have the chair for {x} today.",
        "Somebody paid {x} too much.",
    ),
    ("There is a budget of {x} per head.", "A note of {x} lay on the floor.", "His debts came to {x} in spring."),
)
MOVED = (
    "(?:by|to)",
    (
        "Within a week it rose by {x} here.",
        "In the shade it fell to {x} at noon.",
        "They expect it to drop by {x} soon.",
        "Since then it climbed to {x} again.",
    ),
    ("A mark of {x} is on the wall.", "Around {x} is what we need.", "Less than {x} is not allowed."),
)
LURES = (
    "The {x} key of the old keyboard is stuck.",
    "What does {x} stand for in this table?",
    "Someone drew a {x} on the wall.",
)
GONE = (
    "(?:walked|drove|ran|rode)",
    (
        "On Sunday they walked {x} along the river.",
        "She drove {x} to see it.",
        "He ran {x} without a rest.",
        "The boys rode {x} in the rain.",
    ),
    ("The next village is {x} away.", "A fence of {x} was built.", "The pipe is {x} long."),
)


@dataclass(frozen=True)
class Unit:
    saying: str
    written: str
    """With `{n}` for the figure."""
    sign: str
    """The letter or sign that a superficial label names."""
    use: tuple[str, tuple[str, ...], tuple[str, ...]]


UNITS: dict[str, Unit] = {
    "dollars": Unit("amounts of dollars that something costs", "${n}", "$", PAID),
    "euros": Unit("amounts of euros that something costs", "€{n}", "€", PAID),
    "pounds": Unit("amounts of pounds that something costs", "£{n}", "£", PAID),
    "percent": Unit("percentages that something changes by or to", "{n}%", "%", MOVED),
    "degrees": Unit("temperatures that something changes by or to", "{n} °C", "°", MOVED),
    "kilometers": Unit("distances in kilometers that someone covers", "{n} km", "m", GONE),
}


def create() -> Sequence[Concept]:
    return [_concept(name, unit) for name, unit in UNITS.items()]


def _concept(name: str, unit: Unit) -> Concept:
    amount, first = _written(unit, r"\d+"), _written(unit, FIGURES[0])
    before = unit.use[0]
    fillings = tuple(unit.written.format(n=figure) for figure in FIGURES)
    return Concept(
        family="amounts",
        name=name,
        wordings=(unit.saying, f"{unit.saying}, like {fillings[1]}", f"{unit.saying} ({fillings[2]}, {fillings[3]})"),
        holds=pattern(rf"\b{before} ({amount})"),
        broad=Claim("numbers with a unit or a sign", pattern(r"[$€£]\d+|\d+ ?(?:%|°C|km|kg|MB|KB|bytes|seconds)")),
        narrow=Claim(f"{unit.saying}, exactly {fillings[0]}", pattern(rf"\b{before} ({first})")),
        trap=Claim(_trap(unit.sign), pattern(_trap_expression(unit.sign))),
        context_dropped=Claim(f"amounts in {name}, whatever they are for", pattern(amount)),
        planted=Frames(unit.use[1], {"x": fillings}),
        decoys=Frames(unit.use[2], {"x": fillings}),
        lures=None if unit.sign == "m" else Frames(LURES, {"x": (unit.sign,)}),
    )


def _written(unit: Unit, figure: str) -> str:
    before, after = unit.written.split("{n}")
    sign = f"\\{before}" if before else ""
    # no further figure may follow, or 20 would be found in 200
    return rf"{sign}{figure}(?!\d){after}" if before else rf"(?<!\d){figure}{after}"


def _trap(sign: str) -> str:
    return "words that end in -m" if sign == "m" else f"the sign {sign}"


def _trap_expression(sign: str) -> str:
    return r"\b\w+m\b" if sign == "m" else f"\\{sign}" if sign == "$" else sign
