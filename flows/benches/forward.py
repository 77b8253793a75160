"""The bench `forward`: our reading of a model, forward and encode, beside a bare torch loop over the same model and tokens.

The bare loop is what one would write by hand for speed alone: batches made beforehand, a model cut after its hook, one
forward hook, one product and one topk. What ours does besides (joining windows to sequences, batching, special tokens,
events with window and position) is what the ratio shows. One thread; both loops in turn in one process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from flows.benches import BenchOptions, Row, at_least, plain
from flows.benches._embedded_text import read_windows

if TYPE_CHECKING:
    import polars as pl
    import torch

    from labeling.dictionaries.featlas import TopKDictionary
    from labeling.sources.torch import TorchSource

TARGET_RATIO = 0.9
SEQUENCE = 256
GPT2 = {
    "n_layer": 6,
    "n_embd": 384,
    "n_head": 6,
    "vocab_size": 8_192,
    "n_positions": 512,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
GPT2_HOOK, GPT2_FEATURES, GPT2_K = "transformer.h.3", 4_096, 32


@dataclass(frozen=True)
class Forward:
    """Medians of some passes over some tokens; one pass of each loop before them is not counted."""

    tokens: int = 20_000
    repeats: int = 3

    def measure(self) -> list[Row]:
        rows: list[Row] = []
        with _minilm() as source:
            rows += self._compare("MiniLM, layers 0-2", source)
        with _gpt2() as source:
            rows += self._compare("GPT-2 of 6 layers, 384 wide, layers 0-3", source)
        return rows

    def _compare(self, name: str, source: TorchSource) -> list[Row]:
        windows = read_windows(source, self.tokens)
        bare = _bare_loop(source, windows)
        pairs = [(_speed(lambda: _our_loop(source, windows)), _speed(bare)) for _ in range(self.repeats + 1)][1:]
        return [
            plain(f"{name}: ours, tokens a CPU second", median(ours for ours, _ in pairs), "1/s"),
            plain(f"{name}: bare torch loop, tokens a CPU second", median(bare for _, bare in pairs), "1/s"),
            at_least(f"{name}: ours / bare", median(ours / bare for ours, bare in pairs), TARGET_RATIO, "x"),
        ]


def create(*, options: BenchOptions) -> Forward:
    """Make the bench. Raise UsageError for options that it does not use."""
    options.only("forward")
    return Forward()


def _speed(loop: Callable[[], int]) -> float:
    """Tokens a CPU second."""
    started = time.process_time()
    n_tokens = loop()
    return n_tokens / (time.process_time() - started)


def _our_loop(source: TorchSource, windows: pl.DataFrame) -> int:
    return sum(events.n_tokens for events in source.events(windows, sequence=SEQUENCE))


def _bare_loop(source: TorchSource, windows: pl.DataFrame) -> Callable[[], int]:
    """A pass over batches that stand ready, in a model and a dictionary of its own."""
    import torch

    from labeling.sources._batches import batches
    from labeling.sources._models import load_model

    hook = source.model.hooks[0]
    loaded = load_model(source.model.name, [hook])
    dictionary: TopKDictionary = source.dictionaries[0]  # type: ignore[assignment]  # both benches load a TopK
    ready = [
        (batch.token_ids, batch.attention, batch.counted)
        for batch in batches(windows, sequence=SEQUENCE, tokenizer=source.model.tokenizer)
    ]
    seen: list[torch.Tensor] = []

    def keep(_: object, __: object, output: torch.Tensor | tuple[torch.Tensor, ...]) -> None:
        seen[:] = [output if isinstance(output, torch.Tensor) else output[0]]

    loaded.module.get_submodule(loaded.places[hook].module).register_forward_hook(keep)

    def loop() -> int:
        n_tokens = 0
        with torch.inference_mode():
            for token_ids, attention, counted in ready:
                loaded.module(input_ids=token_ids, attention_mask=attention)
                hidden = seen[0][counted]
                scores = torch.nn.functional.linear(hidden - dictionary.b_dec, dictionary.w_enc, dictionary.b_enc)
                value, _ = scores.topk(dictionary.k, dim=1)
                (value > 0).nonzero()
                n_tokens += len(hidden)
        return n_tokens

    return loop


@contextmanager
def _minilm() -> Iterator[TorchSource]:
    from labeling.config_files import demo_config
    from labeling.sources.torch import create as open_source

    yield open_source(feature_sets=demo_config(environment={}, overrides={}).features[:1], threads=1)


@contextmanager
def _gpt2() -> Iterator[TorchSource]:
    """A GPT-2 with random weights and byte-level tokens, loaded from a folder as a user's would be."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    from labeling.dictionaries.featlas import TopKDictionary
    from labeling.sources._models import draw_weights
    from labeling.sources._places import quiet
    from labeling.sources.torch import TorchFeatureSet, assemble

    with TemporaryDirectory() as folder:
        with torch.random.fork_rng(devices=[]), quiet():
            model = GPT2LMHeadModel(GPT2Config(**GPT2)).requires_grad_(False)
            draw_weights(model)
            model.save_pretrained(folder)
        drawn = torch.randn(GPT2_FEATURES, GPT2["n_embd"], generator=torch.Generator().manual_seed(0))
        w = torch.nn.functional.normalize(drawn, dim=1)
        save_byte_tokenizer(folder)
        dictionary = TopKDictionary(w, torch.zeros(GPT2_FEATURES), w, torch.zeros(GPT2["n_embd"]), k=GPT2_K)
        settings = TorchFeatureSet("gpt2", folder, GPT2_HOOK, "random", device="cpu")
        yield assemble([settings], [dictionary], threads=1)


def save_byte_tokenizer(folder: str) -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(letters)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=backend).save_pretrained(folder)
