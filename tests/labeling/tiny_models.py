"""Tiny models with random weights, one for each family whose places have names, saved as a user's folder would be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

VOCABULARY, WIDTH, LAYERS = 300, 16, 3
_SMALL = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 64,
}
_GROUPED = {**_SMALL, "num_key_value_heads": 2, "head_dim": 6}
_GPT2 = {"vocab_size": VOCABULARY, "n_embd": WIDTH, "n_layer": LAYERS, "n_head": 4, "n_positions": 64}
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("gpt2", _GPT2),
    "pythia": ("gpt_neox", _SMALL),
    "neox-serial": ("gpt_neox", {**_SMALL, "use_parallel_residual": False}),
    "llama": ("llama", {**_SMALL, "num_key_value_heads": 2}),
    "mistral": ("mistral", {**_SMALL, "num_key_value_heads": 2, "sliding_window": 8}),
    "qwen2": ("qwen2", {**_SMALL, "num_key_value_heads": 2}),
    "qwen3": ("qwen3", _GROUPED),
    "gemma": ("gemma", _GROUPED),
    "gemma2": ("gemma2", {**_GROUPED, "query_pre_attn_scalar": 6, "sliding_window": 8}),
    "gemma3": ("gemma3_text", {**_GROUPED, "query_pre_attn_scalar": 6, "sliding_window": 8}),
}
"""Name in tests to `model_type` and the settings of its config."""


def tiny(name: str) -> Any:
    """A model with its output head. Norms too are random, so that a value before and after their scale differ."""
    from transformers import AutoConfig, AutoModelForCausalLM

    kind, settings = CONFIGS[name]
    config = AutoConfig.for_model(kind, **settings, bos_token_id=0, eos_token_id=1, pad_token_id=2)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(7)
        model = AutoModelForCausalLM.from_config(config)
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval().requires_grad_(False)


def byte_level_tokenizer(**special: str) -> Any:
    """A tokenizer of the 256 bytes alone, without anything that it adds by itself."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(["<bos>", "<eos>", "<pad>", *letters])}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=backend, **special)


def save_tiny(name: str, folder: Path, *, special: dict[str, str] | None = None) -> str:
    """Write model and tokenizer to `folder`. `special` are the tokens that the tokenizer knows, all three by default."""
    tiny(name).save_pretrained(folder)
    names = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"} if special is None else special
    byte_level_tokenizer(**names).save_pretrained(folder)
    return str(folder)
