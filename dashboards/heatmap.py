"""One window as words and pieces with their activation, ready to be drawn: the pieces that fire are shaded.

A word is drawn whole even where only a piece of it fires (`un|believ|able`), and the piece is what is shaded. It knows
nothing of HTML; the template escapes and draws what this returns.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dashboards.text import JOINERS, shorten, visible
from labeling.windows import token_of_character

LONGEST_PIECE = 160
"""Characters of one token that are shown; some tokens of generated text are thousands long."""


class Piece(NamedTuple):
    """A run of text with one shade."""

    text: str
    level: int = 0
    """Shade 0-10: the activation over the feature's largest, rounded up, so that all that is active is seen."""
    activation: float | None = None
    """Raw activation; None where the token is silent."""


class Word(NamedTuple):
    """Pieces drawn together. `split` says that only a part of a longer word is active."""

    pieces: tuple[Piece, ...]
    split: bool = False


def words(
    text: str,
    *,
    starts: Sequence[int],
    ends: Sequence[int],
    positions: Sequence[int],
    activations: Sequence[float],
    largest: float,
) -> tuple[Word, ...]:
    """Cut a window into words. `starts` and `ends` are the character offsets of its tokens in `text`.

    `activations` are the raw values at the token `positions`; `largest` is the raw activation of the darkest shade.
    Characters between tokens are kept. Neighboring silent words are joined.
    """
    active: dict[int, float] = {}
    for position, value in zip(positions, activations, strict=True):
        holder = token_of_character(starts, ends, position)
        active[holder] = max(value, active.get(holder, value))
    window = _Window(text, starts, ends, active, largest)
    return tuple(_join_silent(_words(window.pieces())))


def level(activation: float, largest: float) -> int:
    """Shade 0-10 of a raw activation."""
    if not activation > 0 or not largest > 0:
        return 0
    return min(10, max(1, math.ceil(10 * activation / largest - 1e-6)))


@dataclass
class _Window:
    """A window on its way into pieces. `active` has the activation of each token that fires."""

    text: str
    starts: Sequence[int]
    ends: Sequence[int]
    active: Mapping[int, float]
    largest: float
    done: int = 0
    """Characters that are in pieces."""

    def pieces(self) -> Iterator[Piece]:
        """Every token as a piece, but for silent ones far from any that fires: most of them, which take most of the time.

        From the first word after a firing token to the last one before the next, they are one piece.
        """
        n, place, odd = len(self.starts), 0, self._has_long_or_joined()
        for firing in (*sorted(self.active), n):
            words = [token for token in range(place, firing) if token == 0 or self._begins_word(token)]
            last = firing if firing == n else words[-1] if words else place
            if words and last > words[0] and not odd:
                yield from self._tokens(place, words[0])
                end = self.starts[last] if last < n else len(self.text)
                yield Piece(self.text[self.done : end])
                self.done, place = end, last
            yield from self._tokens(place, min(firing + 1, n))
            place = firing + 1
        if self.done < len(self.text):
            yield Piece(shorten(self.text[self.done :], LONGEST_PIECE))

    def _begins_word(self, token: int) -> bool:
        start = self.starts[token]
        return start > self.ends[token - 1] or self.text[start : start + 1] == " "

    def _has_long_or_joined(self) -> bool:
        """Whether something is to be shortened, or signs depend on what stands beside them in their token."""
        tokens = zip(self.starts, self.ends, strict=True)
        gaps = zip((0, *self.ends), (*self.starts, len(self.text)), strict=True)
        longest = max(end - start for runs in (tokens, gaps) for start, end in runs)
        return longest > LONGEST_PIECE or any(sign in self.text for sign in JOINERS)

    def _tokens(self, first: int, last: int) -> Iterator[Piece]:
        """Tokens from the first to before the last, with the characters before each."""
        for position in range(first, last):
            start = max(self.starts[position], self.done)  # tokens of one character's bytes share its offsets
            end = max(self.ends[position], self.done)
            if start > self.done:
                yield Piece(shorten(self.text[self.done : start], LONGEST_PIECE))
            value = self.active.get(position)
            shade = level(value, self.largest) if value is not None else 0
            if end > start:
                yield from _without_outer_space(Piece(self.text[start:end], shade, value if shade else None))
            self.done = end


def _without_outer_space(piece: Piece) -> Iterator[Piece]:
    """Take leading blanks off a token (` the` in byte-pair vocabularies), so that it starts where its word does.

    A token that is too long is shortened.
    """
    bare = piece.text.lstrip(" ")
    if not bare:
        yield piece._replace(text=shorten(piece.text, LONGEST_PIECE))
        return
    if len(bare) < len(piece.text):
        yield Piece(shorten(piece.text[: -len(bare)], LONGEST_PIECE))
    yield piece._replace(text=shorten(bare, LONGEST_PIECE))


def _words(pieces: Iterable[Piece]) -> Iterator[Word]:
    """Group neighboring pieces that are letters or digits throughout; anything else stands alone.

    Scripts that write no spaces between words are not grouped: a sentence is no word. A mark that belongs to the letter
    before it (an accent, a vowel sign) stays with it in any script.
    """
    group: list[Piece] = []
    for piece in pieces:
        if group and not piece.level and not piece.text.strip(JOINERS):
            group[-1] = group[-1]._replace(text=group[-1].text + piece.text)
            continue
        letters = _is_word_part(piece.text)
        unspaced = letters and bool(group) and bool(_UNSPACED.search(group[-1].text + piece.text))
        if group and not (letters and (not unspaced or _is_mark(piece.text[0]))):
            yield _word(group)
            group = []
        if letters:
            group.append(piece)
        else:
            yield _word([piece])
    if group:
        yield _word(group)


_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Thai, Lao, Burmese, Khmer, Japanese and Chinese characters."""


def _is_word_part(text: str) -> bool:
    if text.isascii():
        return text.replace("_", "a").isalnum()
    return all(c.isalnum() or c == "_" or _is_mark(c) or c in JOINERS for c in text)


def _is_mark(character: str) -> bool:
    return not character.isascii() and unicodedata.category(character)[0] == "M"


def _word(group: Sequence[Piece]) -> Word:
    shown = tuple(Piece(_shown(p.text), p.level, p.activation) for p in group)
    firing = sum(piece.level > 0 for piece in shown)
    return Word(shown, split=0 < firing < len(shown))


def _shown(text: str) -> str:
    return visible(text).replace("↵", "↵ ")  # a line may break where one ended


def _join_silent(found: Iterable[Word]) -> Iterator[Word]:
    silent = ""
    for word in found:
        if any(piece.level for piece in word.pieces):
            if silent:
                yield Word((Piece(silent),))
                silent = ""
            yield word
        else:
            silent += "".join(piece.text for piece in word.pieces)
    if silent:
        yield Word((Piece(silent),))
