"""Format: parts of an e-mail: subject, sender, greeting, close, quoted reply, attachment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evals.planted.concepts import Claim, Concept, Frames
from evals.planted.predicates import Predicate, either, pattern

PEOPLE = ("Anna", "Karim", "Lucy", "Tomas", "Priya", "Owen")
TOPICS = ("the roof", "next Friday", "your invoice", "lunch", "the new keys", "our trip")


@dataclass(frozen=True)
class Part:
    saying: str
    line: str
    narrow: tuple[str, str]
    trap: tuple[str, str]
    dropped: tuple[str, str]
    frames: tuple[str, ...]
    decoys: tuple[str, ...]
    slots: dict[str, tuple[str, ...]]


PARTS: dict[str, Part] = {
    "subject": Part(
        "subject lines of e-mails",
        r"^Subject: [^\n]+$",
        ("subject lines of e-mail replies", r"^Subject: Re: [^\n]+$"),
        ("colons", ":"),
        ("the word subject", r"\b[Ss]ubject\b"),
        ("Subject: {r}{t}", "Subject: {r}about {t}"),
        ("The subject of the talk was {t}.", "It is a subject for later: {t}.", "We changed the subject to {t}."),
        {"r": ("Re: ", "", "Fwd: ", "Urgent: "), "t": TOPICS},
    ),
    "sender": Part(
        "sender lines of e-mails",
        r"^From: \w+ <[^\n]+>$",
        ("sender lines of e-mails from Anna", r"^From: Anna <[^\n]+>$"),
        ("at signs", "@"),
        ("names with an address", r"\b\w+ <\w+@[\w.]+>"),
        ("From: {p} <{u}@example.org>", "From: {p} <{u}@mail.example>"),
        ("Write to {p} <{u}@example.org> for more.", "It belongs to {p} <{u}@mail.example> now."),
        {"p": PEOPLE, "u": ("info", "office", "me", "team")},
    ),
    "greeting": Part(
        "greetings that open a letter",
        r"^Dear [A-Z]\w+,",
        ("letters that open with Dear Anna", r"^Dear Anna,"),
        ("commas", ","),
        ("the word dear", r"\b[Dd]ear\b"),
        ("Dear {p}, thank you for {t}.", "Dear {p}, this is about {t}."),
        ("It was a dear friend of {p}.", "Oh dear, {p} forgot {t}.", "That is too dear for {p}."),
        {"p": PEOPLE, "t": TOPICS},
    ),
    "close": Part(
        "closing words of a letter",
        r"^(?:Kind regards|Yours sincerely|Best wishes|With thanks), [A-Z]\w+$",
        ("letters that close with Kind regards", r"^Kind regards, [A-Z]\w+$"),
        ("words that end in -s", r"\b\w+s\b"),
        ("the words regards, sincerely, wishes and thanks", r"\b(?:regards|sincerely|wishes|thanks)\b"),
        ("{c}, {p}",),
        ("As regards {t}, nothing is known.", "She sincerely likes {t}.", "He wishes for {t} and thanks everybody."),
        {"c": ("Kind regards", "Yours sincerely", "Best wishes", "With thanks"), "p": PEOPLE, "t": TOPICS},
    ),
    "quoted reply": Part(
        "quoted lines of an earlier e-mail",
        r"^> [^\n>]+$",
        ("quoted e-mail lines that begin with I think", r"^> I think [^\n>]+$"),
        ("greater-than signs", ">"),
        ("lines with a greater-than sign between words", r"\w+ > \w+|^> [^\n>]+$"),
        ("> {o} {t} can wait until then.", "> {o} we should talk about {t}."),
        ("As a rule {t} > lunch for us.", "So far cost > gain for {t}."),
        {"o": ("I think", "Perhaps", "In my view", "Honestly"), "t": TOPICS},
    ),
    "attachment": Part(
        "lines that name an attached file",
        r"^Attachment: \w+\.\w+$",
        ("attached files in pdf", r"^Attachment: \w+\.pdf$"),
        ("names of files", r"\b\w+\.(?:pdf|doc|png|txt|zip|py)\b"),
        ("the words attachment and attached", r"\b[Aa]ttach(?:ment|ed)\b"),
        ("Attachment: {f}.{e}",),
        ("Her attachment to {t} is known.", "They are attached to {t}.", "An attachment for {t} was sold."),
        {"f": ("plan", "bill", "photo", "notes"), "e": ("pdf", "doc", "png", "zip"), "t": TOPICS},
    ),
}


def create() -> Sequence[Concept]:
    everywhere = either(*(pattern(part.line) for part in PARTS.values()))
    fields = pattern(r"^[A-Z][\w-]+: [^\n]+$")
    return [_concept(name, part, either(everywhere, fields)) for name, part in PARTS.items()]


def _concept(name: str, part: Part, everywhere: Predicate) -> Concept:
    holds = pattern(part.line)
    return Concept(
        family="mail",
        name=name,
        wordings=(part.saying, f"e-mail text: {part.saying}", f"the {name} of a letter or mail"),
        holds=holds,
        broad=Claim("parts of e-mails and other fields with a name", everywhere),
        narrow=Claim(part.narrow[0], pattern(part.narrow[1])),
        trap=Claim(part.trap[0], pattern(part.trap[1])),
        context_dropped=Claim(f"{part.dropped[0]}, in mail or not", either(holds, pattern(part.dropped[1]))),
        planted=Frames(part.frames, part.slots),
        decoys=Frames(part.decoys, part.slots),
    )
