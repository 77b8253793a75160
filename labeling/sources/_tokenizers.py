"""Tokenizers of language models: from documents to token ids, token strings and their places in the text.

Knows nothing of models beyond the folder or hub id they come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from labeling.errors import FeatlasError
from labeling.sources._places import explained, folder, from_disk, quiet
from labeling.types import Document, TokenizedDocument


@dataclass(frozen=True, eq=False)
class Tokenizer:
    """A fast tokenizer without truncation and padding, and the special ids that go around a sequence."""

    backend: Any  # tokenizers.Tokenizer
    before: tuple[int, ...]
    after: tuple[int, ...]
    padding: int
    tokenizer_id: str


def load_tokenizer(model: str) -> Tokenizer:
    """Load the tokenizer of a model. Raise FeatlasError when there is none, or none with character offsets."""
    from transformers import AutoTokenizer

    with quiet(), explained(model, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(folder(model), **from_disk(model))
    if not tokenizer.is_fast:
        raise FeatlasError(
            f"The model {model!r} has no fast tokenizer, so tokens can't be found in the text. Use another."
        )
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    plain, wrapped = (backend.encode("a", add_special_tokens=special).ids for special in (False, True))
    start = next(i for i in range(len(wrapped)) if wrapped[i : i + len(plain)] == plain)
    return Tokenizer(
        backend=backend,
        before=tuple(wrapped[:start]),
        after=tuple(wrapped[start + len(plain) :]),
        padding=tokenizer.pad_token_id or 0,
        tokenizer_id=blake2b(backend.to_str().encode(), digest_size=8).hexdigest(),
    )


def tokenize(tokenizer: Tokenizer, documents: Sequence[Document]) -> list[TokenizedDocument]:
    """Cut documents into tokens, special tokens left out."""
    encodings = tokenizer.backend.encode_batch([document.text for document in documents], add_special_tokens=False)
    return [
        TokenizedDocument(
            document=document,
            token_ids=tuple(encoding.ids),
            tokens=tuple(encoding.tokens),
            starts=tuple(start for start, _ in encoding.offsets),
            ends=tuple(end for _, end in encoding.offsets),
        )
        for document, encoding in zip(documents, encodings, strict=True)
    ]
