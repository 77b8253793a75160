"""Language: sentences in a language. A foreign word in an English sentence counts only without the context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evals.planted.concepts import Claim, Concept, Frames
from evals.planted.predicates import Predicate, Span, either, inside, pattern, words

LINE = pattern(r"[^\n]+")
FUNCTION_WORDS_AT_LEAST = 3


@dataclass(frozen=True)
class Language:
    marks: tuple[str, ...]
    """Function words; a line with three of them, and no more of any other language, is in the language."""
    food: tuple[str, ...]
    other: tuple[str, ...]
    frames: tuple[str, ...]
    trap: tuple[str, str]


LANGUAGES: dict[str, Language] = {
    "French": Language(
        ("le", "les", "est", "dans", "une", "nous", "avec", "pour", "très", "elle"),
        ("la soupe", "le pain", "le fromage"),
        ("la gare", "le jardin", "le travail", "la maison"),
        (
            "Nous aimons {x} avec les enfants.",
            "Elle est dans une ville pour {x}.",
            "C'est très bon, {x} avec les amis.",
        ),
        ("accented letters é, è, ê, à", "[éèêà]"),
    ),
    "Spanish": Language(
        ("el", "los", "está", "una", "con", "para", "muy", "pero", "nosotros", "ella"),
        ("la sopa", "el pan", "el queso"),
        ("la calle", "el jardín", "el trabajo", "la casa"),
        (
            "Está muy bien {x} con los amigos.",
            "Ella compra una cosa para {x}.",
            "Pero {x} está muy lejos para los niños.",
        ),
        ("letters with an acute accent or a tilde", "[áíóúñ]"),
    ),
    "German": Language(
        ("der", "das", "ist", "nicht", "mit", "und", "für", "wir", "auch", "eine"),
        ("die Suppe", "das Brot", "der Käse"),
        ("die Straße", "der Garten", "die Arbeit", "das Haus"),
        (
            "Wir mögen {x} und das ist auch gut.",
            "Für uns ist {x} nicht wichtig.",
            "Mit {x} ist eine Frau und der Mann zufrieden.",
        ),
        ("letters with two dots, and the sharp s", "[äöüß]"),
    ),
    "Italian": Language(
        ("il", "gli", "è", "della", "molto", "anche", "questo", "perché", "sono", "loro"),
        ("la zuppa", "il pane", "il formaggio"),
        ("la strada", "il giardino", "il lavoro", "la casa"),
        (
            "Anche {x} è molto bello per gli amici.",
            "Loro sono molto contenti perché {x} è qui.",
            "Questo è {x} della zia, molto buono.",
        ),
        ("words that end in -o", r"\b\w\w+o\b"),
    ),
    "Dutch": Language(
        ("het", "een", "niet", "zijn", "voor", "maar", "ook", "naar", "wij", "deze"),
        ("de soep", "het brood", "de kaas"),
        ("de straat", "de tuin", "het werk", "het huis"),
        (
            "Wij gaan ook naar {x} voor een uur.",
            "Deze keer zijn wij niet bij {x}.",
            "Maar {x} is ook niet voor een kind.",
        ),
        ("words with two equal vowels in a row", r"\b\w*(?:aa|ee|oo|uu)\w*\b"),
    ),
    "Swedish": Language(
        ("det", "och", "inte", "är", "på", "för", "som", "vi", "ett", "också"),
        ("soppan", "brödet", "osten"),
        ("gatan", "trädgården", "arbetet", "huset"),
        (
            "Vi tycker också att {x} är bra för barnen.",
            "Det är inte {x} som vi vill ha.",
            "Och {x} är på ett ställe som vi känner.",
        ),
        ("the letter a with a ring", "[åÅ]"),
    ),
}
DECOYS = (
    'She ordered it "{w}" as the waiter said.',
    "The old sign said {w} in large letters.",
    "Nobody knew how to say {w} properly.",
)


def create() -> Sequence[Concept]:
    everywhere = either(*(_in(name) for name in LANGUAGES))
    return [_concept(name, language, everywhere) for name, language in LANGUAGES.items()]


def _in(name: str) -> Predicate:
    counters = {other: words(*language.marks, any_case=True) for other, language in LANGUAGES.items()}

    def spans(text: str) -> list[Span]:
        found = []
        for start, end in LINE(text):
            line = text[start:end]
            own = len(counters[name](line))
            if own >= FUNCTION_WORDS_AT_LEAST and all(own >= len(count(line)) for count in counters.values()):
                found.append((start, end))
        return found

    return spans


def _concept(name: str, language: Language, everywhere: Predicate) -> Concept:
    holds = _in(name)
    about_food = inside(words(*language.food), holds)

    def food_lines(text: str) -> list[Span]:
        food = about_food(text)
        return [(s, e) for s, e in holds(text) if any(s <= a and b <= e for a, b in food)]

    return Concept(
        family="languages",
        name=name,
        wordings=(f"sentences in {name}", f"text that is written in {name}", f"{name}, as in {language.other[0]}"),
        holds=holds,
        broad=Claim("sentences that are not in English", everywhere),
        narrow=Claim(f"sentences in {name} about food", food_lines),
        trap=Claim(language.trap[0], pattern(language.trap[1])),
        context_dropped=Claim(
            f"words of {name}, also single ones in an English sentence",
            either(holds, words(*language.marks, *language.food, *language.other, any_case=True)),
        ),
        planted=Frames(language.frames, {"x": (*language.food, *language.other)}),
        decoys=Frames(DECOYS, {"w": language.marks}),
    )
