"""A model that is read at some of its modules: batches in, activations at each hook out.

The model stops after the last hooked module. Knows nothing of dictionaries.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal, get_args

import torch

from labeling.allocator import keep_freed_memory
from labeling.cores import idle_cores
from labeling.errors import UsageError
from labeling.sources._batches import Batch
from labeling.sources._models import load_model, weights_hash
from labeling.sources._tokenizers import Tokenizer, load_tokenizer

Precision = Literal["float32", "bfloat16"]
CPU_TOKENS = 1_024
"""Of the tokens of a batch, what a CPU reads at once: as fast as all together, in a quarter of the memory."""


def open_model(
    model: str,
    hooks: Sequence[str],
    *,
    device: str = "auto",
    threads: int | None = None,
    precision: Precision = "float32",
) -> TorchModel:
    """Load a model to be read at `hooks`, with the errors of `create`."""
    if precision not in get_args(Precision):
        raise UsageError(f"`precision` is {precision!r}; allowed: {', '.join(get_args(Precision))}.")
    torch.set_num_threads(_threads(threads))
    keep_freed_memory()
    return TorchModel(model, hooks, device=_device(device), precision=precision)


class _AllHooksRead(Exception):
    """Raised inside the forward pass when nothing after this point is needed."""


class TorchModel:
    """A model that is read at some of its modules."""

    def __init__(self, model: str, hooks: Sequence[str], *, device: str, precision: Precision) -> None:
        self.name = model
        self.hooks = tuple(dict.fromkeys(hooks))
        self.tokenizer: Tokenizer = load_tokenizer(model)
        self._module = load_model(model, self.hooks)
        self.device = device
        self.weights = weights_hash(self._module)
        self._module = self._module.to(device=device, dtype=getattr(torch, precision))
        self._read: dict[str, torch.Tensor] = {}
        for hook in self.hooks:
            self._module.get_submodule(hook).register_forward_hook(self._reader(hook))

    def _reader(self, hook: str) -> Any:
        def read(module: torch.nn.Module, inputs: object, output: Any) -> None:  # noqa: ARG001
            self._read[hook] = output if isinstance(output, torch.Tensor) else output[0]
            if len(self._read) == len(self.hooks):
                raise _AllHooksRead

        return read

    @cached_property
    def widths(self) -> dict[str, int]:
        """Width of the output at each hook, found by running one token."""
        ids = torch.tensor([[*self.tokenizer.before, self.tokenizer.padding, *self.tokenizer.after]])
        read = self._forward(ids, torch.ones_like(ids))
        for hook in self.hooks:
            if read[hook].shape[:-1] != ids.shape:
                raise UsageError(
                    f"The module {hook!r} of {self.name!r} gives {tuple(read[hook].shape)} numbers for {ids.shape[1]} tokens, not "
                    "a row for each token. Hook a module that does, such as a whole layer."
                )
        return {hook: int(read[hook].shape[-1]) for hook in self.hooks}

    @property
    def n_bytes(self) -> int:
        """Memory of the parameters."""
        return sum(parameter.numel() * parameter.element_size() for parameter in self._module.parameters())

    def check_length(self, sequence: int) -> None:
        """Raise UsageError when sequences of so many tokens do not fit the model."""
        most = getattr(self._module.config, "max_position_embeddings", None)
        special = len(self.tokenizer.before) + len(self.tokenizer.after)
        if isinstance(most, int) and sequence + special > most:
            raise UsageError(
                f"`sequence` is {sequence} tokens, but the model {self.name!r} reads at most {most}, {special} of them "
                f"special. Set `sequence` to {most - special} or less."
            )

    def activations(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Output at each hook for the counted tokens: float32 [n, width], on the model's device."""
        rows, length = batch.token_ids.shape
        step = max(1, CPU_TOKENS // length) if self.device == "cpu" else rows
        parts: dict[str, list[torch.Tensor]] = {hook: [] for hook in self.hooks}
        for i in range(0, rows, step):
            read = self._forward(batch.token_ids[i : i + step], batch.attention[i : i + step])
            counted = batch.counted[i : i + step].to(self.device)
            for hook in self.hooks:
                parts[hook].append(read[hook][counted].float())
        return {hook: torch.cat(outputs) for hook, outputs in parts.items()}

    def _forward(self, token_ids: torch.Tensor, attention: torch.Tensor) -> dict[str, torch.Tensor]:
        self._read = {}
        with torch.inference_mode():
            try:
                self._module(input_ids=token_ids.to(self.device), attention_mask=attention.to(self.device))
            except _AllHooksRead:
                return self._read
        missing = ", ".join(hook for hook in self.hooks if hook not in self._read)
        raise UsageError(f"The module {missing} of {self.name!r} takes no part in reading text. Hook another module.")


def _threads(wanted: int | None) -> int:
    if wanted is not None and wanted < 1:
        raise UsageError(f"`threads` is {wanted}; expected a whole number above 0.")
    # two threads on busy cores are far slower than one
    return wanted or min(2, idle_cores(), torch.get_num_threads())


def _device(wanted: str) -> str:
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=wanted)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"`device` is {wanted!r}, which can't be used here ({error}). Use 'auto' or 'cpu'.") from error
    return wanted
