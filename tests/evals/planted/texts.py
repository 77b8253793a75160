"""Documents cut at spaces, for tests that number tokens through. The same word has the same id everywhere."""

from __future__ import annotations

import re
from zlib import crc32

from evals.planted.extents import PlantedText, number_tokens
from labeling.identity import text_id
from labeling.types import Document, TokenizedDocument


def tokenized(text: str) -> TokenizedDocument:
    """A document whose tokens are what stands between white space."""
    spans = [match.span() for match in re.finditer(r"\S+", text)]
    tokens = [text[start:end] for start, end in spans]
    return TokenizedDocument(
        document=Document(text_id(text), "test", text),
        token_ids=tuple(crc32(token.encode()) % 5000 for token in tokens),
        tokens=tuple(tokens),
        starts=tuple(start for start, _ in spans),
        ends=tuple(end for _, end in spans),
    )


def planted_text(*texts: str) -> PlantedText:
    return number_tokens([tokenized(text) for text in texts])
