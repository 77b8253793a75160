"""Regular expressions: numbers with a use. The same digits in another use count only without the context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evals.planted.concepts import Claim, Concept, Frames
from evals.planted.predicates import pattern

MONTHS = ("March", "June", "April", "May", "October", "August", "December")


@dataclass(frozen=True)
class Use:
    """How a number is written and what stands before it."""

    saying: str
    digits: str
    before: str
    narrow: tuple[str, str]
    trap: tuple[str, str]
    examples: tuple[str, ...]
    frames: tuple[str, ...]
    decoys: tuple[str, ...]


USES: dict[str, Use] = {
    "years 1800-1999": Use(
        "years from 1800 to 1999, as dates",
        r"1[89]\d\d\b",
        "(?i:in|since|until|of)",
        ("years from 1950 to 1959, as dates", r"195\d\b"),
        ("four digits in a row", r"\d{4}"),
        ("1956", "1848", "1911", "1932", "1887", "1974", "1809", "1968", "1923"),
        ("The mill burned down in {x}.", "Nothing has changed here since {x}.", "They lived abroad until {x}."),
        ("They packed {x} boxes.", "About {x} people signed it.", "The tower holds {x} tons."),
    ),
    "years from 2000": Use(
        "years from 2000 on, as dates",
        r"20[0-4]\d\b",
        "(?i:in|since|until|of)",
        ("the year 2011, as a date", r"2011\b"),
        ("numbers that begin with 2", r"\b2\d*"),
        ("2011", "2004", "2019", "2023", "2008", "2016", "2031", "2002"),
        ("The mill was rebuilt in {x}.", "Nothing has changed here since {x}.", "They want to stay until {x}."),
        ("They packed {x} boxes.", "About {x} people signed it.", "The tower holds {x} tons."),
    ),
    "clock times": Use(
        "times of day on the clock",
        r"[0-2]?\d:[0-5]\d\b(?!:)",
        "(?i:at|by|before|after)",
        ("half past eight in the evening, on the clock", r"20:30\b(?!:)"),
        ("colons", ":"),
        ("20:30", "7:15", "14:45", "9:05", "18:00", "23:59", "11:20"),
        ("The shop closes at {x} on Fridays.", "Be there before {x} if you can.", "Nobody phoned after {x} that day."),
        ("The home team won {x} in the end.", "Mix them {x} with water.", "See verse {x} in the old book."),
    ),
    "days of a month": Use(
        "days of a month, as dates",
        r"[1-3]?\d (?:January|February|March|April|May|June|July|August|September|October|November|December)\b",
        "(?i:on|until|since)",
        ("days of March, as dates", r"[1-3]?\d March\b"),
        (
            "words for months",
            r"(?:January|February|March|April|May|June|July|August|September|October|November|December)",
        ),
        tuple(f"{day} {month}" for day, month in zip((3, 14, 29, 8, 21, 17, 30), MONTHS, strict=True)),
        ("The fair opens on {x} this time.", "We have rented it until {x}.", "It has not rained since {x}."),
        ("He has read {x} issues of the paper.", "The {x} rains were heavy.", "She counted {x} nights."),
    ),
    "phone numbers": Use(
        "phone numbers to call",
        r"555-\d{4}\b",
        "(?i:call|dial|phone)",
        ("phone numbers to call that begin with 555-01", r"555-01\d\d\b"),
        ("hyphens", "-"),
        ("555-0143", "555-8820", "555-7316", "555-2245", "555-9071", "555-6418"),
        ("For repairs call {x} before noon.", "If it leaks, dial {x} at once.", "You can phone {x} day and night."),
        ("Part {x} is out of stock.", "The parcel has label {x} on it.", "Look up file {x} in the archive."),
    ),
    "room numbers": Use(
        "numbers of rooms",
        r"[1-9]\d\d\b",
        "(?i:room|suite)",
        ("the number of room 101", r"101\b"),
        ("numbers that begin with 1", r"\b1\d*"),
        ("101", "214", "330", "412", "527", "608", "719"),
        ("The meeting is in room {x} today.", "They gave us suite {x} in the end.", "A lamp in room {x} is broken."),
        ("He walked {x} steps.", "The herd counts {x} sheep.", "Page {x} is missing."),
    ),
}


def create() -> Sequence[Concept]:
    return [_concept(name, use) for name, use in USES.items()]


def _concept(name: str, use: Use) -> Concept:
    return Concept(
        family="numbers",
        name=name,
        wordings=(use.saying, f"{use.saying}, like {use.examples[1]}", f"a number is used as one of the {use.saying}"),
        holds=pattern(rf"\b{use.before} ({use.digits})"),
        broad=Claim("numbers written in digits", pattern(r"\d+")),
        narrow=Claim(use.narrow[0], pattern(rf"\b{use.before} ({use.narrow[1]})")),
        trap=Claim(use.trap[0], pattern(use.trap[1])),
        context_dropped=Claim(f"figures like {use.examples[1]}, whatever they count", pattern(rf"\b{use.digits}")),
        planted=Frames(use.frames, {"x": use.examples}),
        decoys=Frames(use.decoys, {"x": use.examples}),
    )
