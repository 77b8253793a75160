"""Cut a prompt into a template and the excerpts quoted in it, and join them again to the very same characters.

Requests of many features quote the same windows of a corpus, and differ in little else; kept apart, each excerpt and
each template is stored once. What counts as an excerpt is any JSON string on one line, as `labeling/prompts.py` writes
them; marks around tokens are lifted out, because the same window carries other marks for other features. Pure text: it
knows nothing of explainers, scorers or SQL.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain, pairwise, zip_longest

from labeling.prompts import CLOSE, OPEN

PLACE = "\x1a"
"""Stands in a template where an excerpt was. Inside excerpts it is escaped, like all control characters."""

_EXCERPT = re.compile(r'"([^"\\\n]*(?:\\.[^"\\\n]*)*)"')
_MARK = re.compile(f"({OPEN}|{CLOSE})")


@dataclass(frozen=True)
class Excerpt:
    text: str
    """Inside of a JSON string, without marks."""
    marks: tuple[int, ...] = ()
    """0-based character offsets in `text` at which a mark opens, closes, opens and so on."""


@dataclass(frozen=True)
class PromptParts:
    template: str
    """The prompt with PLACE instead of each excerpt; the whole prompt where there are no excerpts."""
    excerpts: tuple[Excerpt, ...] = ()


def split_prompt(prompt: str) -> PromptParts:
    """Cut a prompt so that `join_prompt` gives the same characters back, whatever it holds."""
    excerpts = tuple(_read_excerpt(found[1]) for found in _EXCERPT.finditer(prompt))
    parts = PromptParts(_EXCERPT.sub(PLACE, prompt), excerpts)
    # A prompt with a PLACE of its own cannot be cut: it is kept whole.
    return parts if excerpts and join_prompt(parts) == prompt else PromptParts(prompt)


def join_prompt(parts: PromptParts) -> str:
    """Write the prompt again."""
    if not parts.excerpts:
        return parts.template
    literals = parts.template.split(PLACE)
    quoted = [f'"{_write_excerpt(excerpt)}"' for excerpt in parts.excerpts]
    return "".join(chain.from_iterable(zip_longest(literals, quoted, fillvalue="")))


def _read_excerpt(text: str) -> Excerpt:
    pieces = _MARK.split(text)
    if pieces[1::2] != [OPEN, CLOSE] * (len(pieces) // 4):  # no marks, or none that we wrote
        return Excerpt(text)
    marks, offset = [], 0
    for piece in pieces[:-1:2]:
        offset += len(piece)
        marks.append(offset)
    return Excerpt("".join(pieces[::2]), tuple(marks))


def _write_excerpt(excerpt: Excerpt) -> str:
    cuts = pairwise([0, *excerpt.marks, len(excerpt.text)])
    marks = [OPEN, CLOSE] * (len(excerpt.marks) // 2)
    return "".join(excerpt.text[a:b] + mark for (a, b), mark in zip(cuts, [*marks, ""], strict=True))
