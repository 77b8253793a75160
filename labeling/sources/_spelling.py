"""How a tokenizer writes its tokens, and how people read them: token strings as text, and spans that never overlap.

Byte-level vocabularies write a space as `Ġ` and a letter of another alphabet as several odd signs; metaspace
vocabularies write it as `▁` and unknown letters as `<0xE6>`. Here both become plain text; a byte that is no character of
its own stays visible as `<0xE6>`. WordPiece keeps its `##`: the mark says that the token goes on with a word. What a
library says of offsets is mended so that no character belongs to two tokens. Knows no files and no models.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

SPELLING = 1
"""Raise it when the same token is written in another way, or stands at another place: it is part of a tokenizer's id."""
Alphabet = Literal["bytes", "metaspace", "plain"]
METASPACE = "\u2581"

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_ESCAPED = re.compile("[\udc80-\udcff]")


def alphabet(serialized: str) -> Alphabet:
    """Which alphabet a tokenizer writes in, by the decoder of its serialized form (`Tokenizer.to_str()`)."""
    decoder = json.dumps(json.loads(serialized).get("decoder"), ensure_ascii=False)
    if '"ByteLevel"' in decoder:
        return "bytes"
    return "metaspace" if METASPACE in decoder else "plain"


class Spelling(dict[str, str]):
    """Token as the vocabulary writes it to token as people read it; grows as tokens are asked for."""

    def __init__(self, kind: Alphabet) -> None:
        super().__init__()
        self.kind = kind

    def __missing__(self, token: str) -> str:
        self[token] = READERS[self.kind](token)
        return self[token]


def spans(text: str, tokens: Sequence[str], offsets: Sequence[tuple[int, int]], kind: Alphabet) -> list[list[int]]:
    """Starts and ends of tokens, given as people read them, in `text`: ascending, apart from each other, inside the text.

    A character of several tokens belongs to the first of them; the others are empty and stand behind it. White space
    before a token is left out, unless the token is nothing else.
    """
    if not tokens:
        return [[], []]
    table = np.array(offsets, dtype=np.int64).clip(0, len(text))
    starts, ends = table[:, 0].tolist(), table[:, 1].tolist()
    if kind == "metaspace":  # a space put before the text is no character of it
        for i, token in enumerate(tokens):
            if token == " " and not text[starts[i] : ends[i]].strip(METASPACE).isspace():
                ends[i] = ends[i] if text[starts[i] : ends[i]] == METASPACE else starts[i]
    reached = np.maximum.accumulate(np.array(ends))
    before = np.append(0, reached[:-1])
    starts = np.maximum(np.minimum(starts, reached), before).tolist()
    ends = reached.tolist()
    if kind != "plain":
        starts = [_without_space(text, start, end) for start, end in zip(starts, ends, strict=True)]
    return [starts, ends]


def _without_space(text: str, start: int, end: int) -> int:
    bare = text[start:end].lstrip()
    return end - len(bare) if bare else start


def _byte_letters() -> dict[str, int]:
    """The letter that stands for each byte in byte-level vocabularies (Radford et al. 2019, GPT-2's encoder)."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + i): byte for i, byte in enumerate(others)}


_BYTE_LETTERS = _byte_letters()


def _from_bytes(token: str) -> str:
    if any(letter not in _BYTE_LETTERS for letter in token):
        return token  # an added token, which is written as it is
    return _readable(bytes(_BYTE_LETTERS[letter] for letter in token))


def _from_metaspace(token: str) -> str:
    byte = _BYTE.fullmatch(token)
    return _readable(bytes.fromhex(byte[1])) if byte else token.replace(METASPACE, " ")


def _readable(raw: bytes) -> str:
    """UTF-8 as text, every byte that is no part of a whole character as `<0xE6>`."""

    def name(match: re.Match[str]) -> str:
        return f"<0x{ord(match[0]) - 0xDC00:02X}>"

    return _ESCAPED.sub(name, raw.decode("utf-8", "surrogateescape"))


READERS: dict[Alphabet, Callable[[str], str]] = {"bytes": _from_bytes, "metaspace": _from_metaspace, "plain": str}


def trimming_off(backend: Any) -> None:
    """Let byte-level tokens keep the place of their leading space, which the library would leave out.

    A token that is a space alone would otherwise stand nowhere.
    """
    from tokenizers import processors

    backend.post_processor = processors.ByteLevel(trim_offsets=False)
