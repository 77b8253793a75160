"""Values as people read them: numbers with units, and any text with nothing hidden in it.

Escaping markup is the template's work; this turns values into plain strings and knows nothing of pages.
"""

from __future__ import annotations

import unicodedata

MISSING = "–"
JOINERS = "\u200c\u200d"
"""Signs without a width that Persian, the scripts of India and compound emoji are written with."""
_PICTURES = {"\n": "↵", "\r": "␍", "\t": " ", "\x7f": "␡"}


def visible(text: str, *, keep: str = "") -> str:
    """The text with every control, direction or invisible character made visible, one sign for each character.

    Otherwise a token could turn the line around it, hide, or break the page's encoding. Characters of `keep` stay.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character
        if character in keep or (character in JOINERS and _joins(text, place))
        else _visible_character(character)
        for place, character in enumerate(text)
    )


def visible_lines(text: str) -> str:
    """The same for a text of several lines, which stay lines, with their tabs."""
    return visible(text.replace("\r\n", "\n"), keep="\n\t")


def _joins(text: str, place: int) -> bool:
    """Whether a joiner stands beside characters that it can mean something to; else it only hides."""
    beside = text[max(place - 1, 0) : place] + text[place + 1 : place + 2]
    return bool(beside) and not any(c.isascii() or c in JOINERS or unicodedata.category(c)[0] == "C" for c in beside)


def _visible_character(character: str) -> str:
    if character in _PICTURES:
        return _PICTURES[character]
    if character < " ":
        return chr(0x2400 + ord(character))
    # Cc, Cf, Cs, Co, Cn: control, direction, surrogate, private, unassigned; Zl, Zp: breaks that are no newline
    hidden = unicodedata.category(character)[0] == "C" or unicodedata.category(character) in ("Zl", "Zp")
    return "�" if hidden else character


def shorten(text: str, length: int = 240, *, told: bool = True) -> str:
    """The first `length` characters, and how many were left out where that is to be told."""
    if len(text) <= length:
        return text
    return f"{text[:length]}… (+{len(text) - length:,} characters)" if told else f"{text[:length].rstrip()}…"


def number(value: float | None, digits: int = 3) -> str:
    """A score or another ratio with a fixed number of decimals."""
    return MISSING if value is None or value != value else f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


MOST_DIGITS = 4


def interval(low: float | None, high: float | None, digits: int = 2) -> str:
    """Both ends, with more decimals where fewer would make them look the same and more would not."""
    if low is None or high is None:
        return MISSING
    longer = range(digits, MOST_DIGITS + 1)
    digits = next((some for some in longer if number(low, some) != number(high, some)), digits)
    between = " to " if low < 0 else "–"
    return f"{number(low, digits)}{between}{number(high, digits)}"


def count(value: int | None) -> str:
    return MISSING if value is None else f"{value:,}"


def percent(share: float | None) -> str:
    """A share 0-1 in percent, with more digits where it is small."""
    if share is None or share != share:
        return MISSING
    digits = 0 if share >= 0.1 or share == 0 else 1 if share >= 0.01 else 2 if share >= 0.001 else 3
    return f"{100 * share:.{digits}f} %"


def dollars(value: float | None) -> str:
    """US dollars; None is a price that is not known."""
    return MISSING if value is None else f"${value:,.2f}" if value >= 1 or value == 0 else f"${value:.4f}"


def seconds(value: float | None) -> str:
    if value is None:
        return MISSING
    if value < 90:
        return f"{value:.1f} s"
    return f"{value / 60:.1f} min" if value < 5400 else f"{value / 3600:.1f} h"


def plural(n: int, one: str, many: str | None = None) -> str:
    return f"{n:,} {one if n == 1 else many or one + 's'}"
