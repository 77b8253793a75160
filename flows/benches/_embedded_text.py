"""Text to measure on that every machine has: windows of the embedded corpus."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

    from labeling.sources.torch import TorchSource


def read_windows(source: TorchSource, tokens: int) -> pl.DataFrame:
    """Windows of the embedded corpus with so many tokens, columns as in the table `windows`."""
    from labeling.corpora import embedded
    from labeling.windows import cut_windows

    documents = embedded.create(path=None).documents()
    read, size = [], 0
    while size < tokens and (some := list(islice(documents, 64))):
        tokenized = source.tokenize(some)
        size += sum(len(document.token_ids) for document in tokenized)
        read.extend(tokenized)
    windows = cut_windows(read, corpus_id="bench", width=32, seed=0)
    return windows.filter(windows["n_tokens"].cum_sum() <= tokens)
