"""Semantics by lists and a distance: a noun of one list within five words of a verb of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evals.planted.concepts import Claim, Concept, Frames
from evals.planted.predicates import Predicate, either, near, words

WITHIN_WORDS = 5


@dataclass(frozen=True)
class Event:
    saying: str
    nouns: tuple[str, ...]
    verbs: tuple[str, ...]
    trap: str


EVENTS: dict[str, Event] = {
    "debts": Event(
        "money that somebody owes or pays back",
        ("mortgage", "loan", "debt", "credit", "overdraft"),
        ("owes", "repaid", "owed", "settled", "borrowed"),
        "bank",
    ),
    "illness": Event(
        "an illness that is treated or caught",
        ("fever", "measles", "asthma", "malaria", "bronchitis"),
        ("cured", "treated", "caught", "diagnosed", "survived"),
        "doctor",
    ),
    "weather": Event(
        "damage done by weather",
        ("storm", "flood", "hail", "blizzard", "lightning"),
        ("damaged", "destroyed", "ruined", "flattened", "struck"),
        "wind",
    ),
    "meals": Event(
        "food that is cooked",
        ("stew", "potatoes", "omelette", "dumplings", "lentils"),
        ("cooked", "fried", "boiled", "baked", "simmered"),
        "kitchen",
    ),
    "travel": Event(
        "travel that is delayed or called off",
        ("flight", "ferry", "bus", "tram", "coach"),
        ("delayed", "cancelled", "missed", "postponed", "diverted"),
        "station",
    ),
    "crime": Event(
        "a criminal who is caught or punished",
        ("burglar", "thief", "smuggler", "forger", "kidnapper"),
        ("arrested", "sentenced", "jailed", "convicted", "fined"),
        "police",
    ),
}
FRAMES = (
    "It is the {x} that they {v} in the end.",
    "He {v} the last {x} in June.",
    "Somebody {v} another {x} near the {w}.",
    "About the {x} she {v} nothing is known.",
    "They {v} a {x} and told the {w}.",
)
DECOYS = (
    "A word about the {x} would be welcome.",
    "What is a {x} called in your village?",
    "The {w} has a picture of a {x} on it.",
    "There is talk of a {x} at the {w}.",
)


def create() -> Sequence[Concept]:
    everywhere = either(
        *(_event(event) for event in EVENTS.values()),
        words(*(word for event in EVENTS.values() for word in event.verbs)),
    )
    return [_concept(name, event, everywhere) for name, event in EVENTS.items()]


def _event(event: Event, nouns: Sequence[str] | None = None) -> Predicate:
    return near(words(*(nouns or event.nouns)), words(*event.verbs), within_words=WITHIN_WORDS)


def _concept(name: str, event: Event, everywhere: Predicate) -> Concept:
    return Concept(
        family="events",
        name=name,
        wordings=(
            event.saying,
            f"{event.nouns[1]} and the like near {event.verbs[1]} and the like: {event.saying}",
            f"someone speaks of {event.saying}",
        ),
        holds=_event(event),
        broad=Claim("things that happen to people: debts, illness, damage, meals, travel, crime", everywhere),
        narrow=Claim(f"{event.saying}: a {event.nouns[0]}", _event(event, event.nouns[:1])),
        trap=Claim(f'the word "{event.trap}"', words(event.trap)),
        context_dropped=Claim(f"the words {', '.join(event.nouns)}, whatever is done", words(*event.nouns)),
        planted=Frames(FRAMES, {"x": event.nouns, "v": event.verbs, "w": (event.trap, "mayor", "school", "town hall")}),
        decoys=Frames(DECOYS, {"x": event.nouns, "w": (event.trap, "mayor", "school", "town hall")}),
    )
