"""A model that is read at some of its modules: batches in, activations at each hook out.

The model stops after the last hooked module. Knows nothing of dictionaries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, get_args

import torch

from labeling.allocator import keep_freed_memory
from labeling.cores import idle_cores
from labeling.errors import UsageError
from labeling.sources._batches import Batch
from labeling.sources._hooks import Place, normalize
from labeling.sources._models import LoadedModel, Precision, load_model, weights_hash
from labeling.sources._tokenizers import Tokenizer, load_tokenizer, starting_with

CPU_TOKENS = 1_024
"""Of the tokens of a batch, what a CPU reads at once: as fast as all together, in a quarter of the memory."""


def open_model(
    model: str,
    hooks: Sequence[str],
    *,
    device: str = "auto",
    threads: int | None = None,
    dtype: Precision = "float32",
    prepend_bos: bool | None = None,
) -> TorchModel:
    """Load a model to be read at `hooks`, with the errors of `create`.

    `prepend_bos` None starts sequences as the tokenizer does by itself.
    """
    if dtype not in get_args(Precision):
        raise UsageError(f"`dtype` is {dtype!r}; allowed: {', '.join(get_args(Precision))}.")
    torch.set_num_threads(_threads(threads))
    keep_freed_memory()
    place = _device(device)
    own, loaded = load_tokenizer(model), load_model(model, hooks, dtype=dtype)
    tokenizer = starting_with(own, model=model, causal=loaded.causal, prepend_bos=prepend_bos)
    return TorchModel(model, loaded, tokenizer, device=place, restarted=tokenizer.before != own.before)


class _AllHooksRead(Exception):
    """Raised inside the forward pass when nothing after this point is needed."""


class TorchModel:
    """A model that is read at some of its modules."""

    def __init__(self, model: str, loaded: LoadedModel, tokenizer: Tokenizer, *, device: str, restarted: bool) -> None:
        self.name = model
        self.restarted = restarted
        """Whether sequences start otherwise than the tokenizer starts them by itself."""
        self.places = loaded.places
        self.hooks = tuple(loaded.places)
        self.tokenizer = tokenizer
        self.device = device
        self.weights = weights_hash(loaded.module)
        self._module = loaded.module.to(device=device)
        self._read: dict[Place, torch.Tensor] = {}
        self._wanted = tuple(dict.fromkeys(loaded.places.values()))
        for place in self._wanted:
            self._listen(place)

    def _listen(self, place: Place) -> None:
        module = self._module.get_submodule(place.module)
        if place.side == "output":
            module.register_forward_hook(lambda _, __, output: self._keep(place, output))
        else:
            module.register_forward_pre_hook(
                lambda norm, args, named: self._keep(place, _input_side(place, norm, args, named)), with_kwargs=True
            )

    def _keep(self, place: Place, value: Any) -> None:
        self._read[place] = value if isinstance(value, torch.Tensor) else value[0]
        if len(self._read) == len(self._wanted):
            raise _AllHooksRead

    @cached_property
    def widths(self) -> dict[str, int]:
        """Width of what is read at each hook, found by running one token."""
        ids = torch.tensor([[*self.tokenizer.before, self.tokenizer.padding, *self.tokenizer.after]])
        read = self._forward(ids, torch.ones_like(ids))
        for hook, place in self.places.items():
            if read[place].shape[:-1] != ids.shape:
                raise UsageError(
                    f"The module {hook!r} of {self.name!r} gives {tuple(read[place].shape)} numbers for {ids.shape[1]} tokens, "
                    "not a row for each token. Hook a module that does, such as a whole layer."
                )
        return {hook: int(read[place].shape[-1]) for hook, place in self.places.items()}

    @property
    def n_bytes(self) -> int:
        """Memory of the parameters."""
        return sum(parameter.numel() * parameter.element_size() for parameter in self._module.parameters())

    def check_length(self, sequence: int) -> None:
        """Raise UsageError when sequences of so many tokens do not fit the model."""
        config: Any = self._module.config
        most = getattr(config.get_text_config(), "max_position_embeddings", None)
        special = len(self.tokenizer.before) + len(self.tokenizer.after)
        if isinstance(most, int) and sequence + special > most:
            raise UsageError(
                f"`sequence` is {sequence} tokens, but the model {self.name!r} reads at most {most}, {special} of them "
                f"special. Set `sequence` to {most - special} or less."
            )

    def activations(self, batch: Batch) -> dict[str, torch.Tensor]:
        """What is read at each hook for the counted tokens: float32 [n, width], on the model's device."""
        rows, length = batch.token_ids.shape
        step = max(1, CPU_TOKENS // length) if self.device == "cpu" else rows
        parts: dict[Place, list[torch.Tensor]] = {place: [] for place in self._wanted}
        for i in range(0, rows, step):
            read = self._forward(batch.token_ids[i : i + step], batch.attention[i : i + step])
            # by number, not by mask: a mask on a GPU makes the CPU wait for it
            counted = batch.counted[i : i + step].flatten().nonzero().squeeze(1).to(self.device)
            for place in self._wanted:
                parts[place].append(read[place].flatten(0, 1)[counted].float())
        joined = {place: torch.cat(pieces) for place, pieces in parts.items()}
        return {hook: joined[place] for hook, place in self.places.items()}

    def _forward(self, token_ids: torch.Tensor, attention: torch.Tensor) -> dict[Place, torch.Tensor]:
        self._read = {}
        with torch.inference_mode():
            try:
                self._module(input_ids=token_ids.to(self.device), attention_mask=attention.to(self.device))
            except _AllHooksRead:
                return self._read
        missing = ", ".join(hook for hook, place in self.places.items() if place not in self._read)
        raise UsageError(f"The module {missing} of {self.name!r} takes no part in reading text. Hook another module.")


def _input_side(place: Place, norm: torch.nn.Module, args: tuple[Any, ...], named: Mapping[str, Any]) -> torch.Tensor:
    """The first tensor that a module is given, normalized where the place asks for it."""
    given: torch.Tensor = next(value for value in (*args, *named.values()) if isinstance(value, torch.Tensor))
    return normalize(norm, given) if place.side == "normalized" else given


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
