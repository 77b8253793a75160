"""Tokenizers of language models: from documents to token ids, readable token strings and their places in the text.

Text is data: what looks like a special token in a document is cut into ordinary tokens. Knows nothing of models beyond
the folder or hub id they come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

from labeling.errors import FeatlasError, UsageError
from labeling.sources._places import explained, folder, origin, quiet
from labeling.sources._spelling import SPELLING, Spelling, alphabet, spans, trimming_off
from labeling.types import Document, TokenizedDocument


@dataclass(frozen=True, eq=False)
class Tokenizer:
    """A fast tokenizer without truncation and padding, and the special ids that go around a sequence."""

    backend: Any  # tokenizers.Tokenizer
    spelling: Spelling
    before: tuple[int, ...]
    after: tuple[int, ...]
    padding: int
    bos: int | None
    """What can stand at the start of a sequence: the BOS token, or EOS where there is none, as TransformerLens does."""
    never: tuple[int, ...]
    """Ids that never count wherever they stand: every special token but the one for unknown words."""
    tokenizer_id: str
    sink: bool = False
    """Whether the first position of a sequence is left out too: it is where a causal model without BOS parks attention."""


def load_tokenizer(model: str) -> Tokenizer:
    """Load the tokenizer of a model. Raise FeatlasError when there is none, or none with character offsets."""
    from transformers import AutoTokenizer

    with quiet(), explained(model, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(folder(model), **origin(model))
    if not tokenizer.is_fast:
        raise FeatlasError(
            f"The model {model!r} has no fast tokenizer, so tokens can't be found in the text. Use another."
        )
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    ends = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}
    bos = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    return wrap(
        tokenizer.backend_tokenizer,
        padding=tokenizer.pad_token_id or 0,
        bos=bos,
        never=tuple(sorted((special | ends) - {None})),
    )


def wrap(backend: Any, *, padding: int = 0, bos: int | None = None, never: tuple[int, ...] = ()) -> Tokenizer:
    """A tokenizer of the `tokenizers` library, made ready to read documents. It is changed in place."""
    backend.no_truncation()
    backend.no_padding()
    serialized = backend.to_str()
    kind = alphabet(serialized)
    digest = blake2b(serialized.encode(), digest_size=8)
    if kind != "plain":
        digest.update(f"spelling {SPELLING}".encode())
    wrapped = backend.encode("a", add_special_tokens=True)
    inside = [i for i, special in enumerate(wrapped.special_tokens_mask) if not special]
    backend.encode_special_tokens = True
    if kind == "bytes":
        trimming_off(backend)
    return Tokenizer(
        backend=backend,
        spelling=Spelling(kind),
        before=tuple(wrapped.ids[: inside[0]]),
        after=tuple(wrapped.ids[inside[-1] + 1 :]),
        padding=padding,
        bos=bos,
        never=never,
        tokenizer_id=digest.hexdigest(),
    )


def starting_with(tokenizer: Tokenizer, *, model: str, causal: bool, prepend_bos: bool | None) -> Tokenizer:
    """The tokenizer with the start of sequence that is asked for; None keeps what the tokenizer does by itself.

    Without anything at the start of a sequence, a causal model's first position does not count. Raise UsageError when
    the tokenizer has nothing that could stand there.
    """
    before = tokenizer.before
    if prepend_bos and not before:
        if tokenizer.bos is None:
            raise UsageError(
                f"The dictionary or `prepend_bos = true` asks for a BOS token at the start of every sequence, but the "
                f"tokenizer of {model!r} has neither BOS nor EOS. Set `prepend_bos = false`: then the first position of a "
                "sequence is not counted instead."
            )
        before = (tokenizer.bos,)
    if prepend_bos is False:
        before = ()
    return replace(tokenizer, before=before, sink=causal and not before)


def tokenize(tokenizer: Tokenizer, documents: Sequence[Document]) -> list[TokenizedDocument]:
    """Cut documents into tokens, special tokens left out. The spans of a document never overlap."""
    encodings = tokenizer.backend.encode_batch([document.text for document in documents], add_special_tokens=False)
    return [
        _tokenized(tokenizer.spelling, document, encoding)
        for document, encoding in zip(documents, encodings, strict=True)
    ]


def _tokenized(spelling: Spelling, document: Document, encoding: Any) -> TokenizedDocument:
    tokens = tuple(spelling[token] for token in encoding.tokens)
    starts, ends = spans(document.text, tokens, encoding.offsets, spelling.kind)
    return TokenizedDocument(document, tuple(encoding.ids), tokens, tuple(starts), tuple(ends))
