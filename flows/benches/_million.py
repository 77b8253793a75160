"""A dictionary of 1,048,576 features on a toy model of 256 numbers a token, in a process of its own with one thread.

Forward, encode, sorting, codes and sampler state, as a shard of documents goes through them; no contexts are chosen.
Weights are random. Bytes are tokens.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.benches._embedded_text import read_windows
from flows.benches._processes import run_child
from flows.benches._whole_stage import peak_mib
from flows.worker_processes import ONE_THREAD
from labeling.errors import FeatlasError

if TYPE_CHECKING:
    from labeling.sources.torch import TorchSource

CHILD = "import sys; from flows.benches._million import measure_here; measure_here(*sys.argv[1:])"
WIDTH, ACTIVE, SEQUENCE = 256, 32, 256
GPT2 = {
    "n_layer": 2,
    "n_embd": WIDTH,
    "n_head": 4,
    "vocab_size": 512,
    "n_positions": 512,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
HOOK = "transformer.h.1"


@dataclass(frozen=True)
class WideCost:
    """CPU seconds of one shard of documents."""

    tokens: int
    reading: float
    """Forward and encode."""
    sampling: float
    state_bytes: int
    """Of the sampler's state, as it is on disk and in memory."""
    peak_mib: float


def measure(*, n_features: int, tokens: int) -> WideCost:
    """Run in a new process. Raise FeatlasError when it fails."""
    with tempfile.TemporaryDirectory(prefix="featlas-bench-") as folder:
        arguments = [sys.executable, "-c", CHILD, folder, str(n_features), str(tokens)]
        ran = run_child(arguments, environment={**os.environ, **dict.fromkeys(ONE_THREAD, "1")})
    if ran.exit_code:
        raise FeatlasError(f"Sampling {n_features:,} features failed; what it said stands above.")
    return WideCost(**json.loads(ran.stdout))


def measure_here(folder: str, n_features: str, tokens: str) -> None:
    """What the measured process does: read, sort and keep, and print the cost as JSON."""
    import torch

    from labeling.codes import save_codes
    from labeling.config import SampleConfig
    from labeling.events import EventCollector
    from labeling.sampler import Sizes, summarize
    from labeling.types import SPLITS

    settings, place = SampleConfig(), Path(folder)
    source = _toy_source(place / "model", n_features=int(n_features))
    windows = read_windows(source, int(tokens))
    split = torch.tensor([SPLITS.index(name) for name in windows["split"].to_list()])
    ids = torch.from_numpy(windows["window_id"].to_numpy().copy())
    collector = EventCollector(ids, split=split, width=settings.window)
    started, reading = time.process_time(), 0.0
    batches = source.events(windows, sequence=SEQUENCE)
    while True:
        asked = time.process_time()
        batch = next(batches, None)
        reading += time.process_time() - asked
        if batch is None:
            break
        collector.add(batch.feature, window=batch.window, position=batch.position, value=batch.value)
    events = collector.sorted()
    save_codes(place / "codes.safetensors", events, n_features=int(n_features))
    sizes = Sizes(int(n_features), top=settings.top, reservoir=settings.reservoir, seed=settings.seed)
    state = summarize(events, sizes)
    whole = time.process_time() - started
    n_bytes = sum(tensor.nbytes for tensor in state.tensors().values())
    cost = WideCost(int(windows["n_tokens"].sum()), reading, whole - reading, n_bytes, peak_mib())
    sys.stdout.write(json.dumps(asdict(cost)))


def _toy_source(folder: Path, *, n_features: int) -> TorchSource:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    from flows.benches.forward import save_byte_tokenizer
    from labeling.dictionaries.featlas import TopKDictionary
    from labeling.sources._models import draw_weights
    from labeling.sources._places import quiet
    from labeling.sources.torch import TorchFeatureSet, assemble

    with torch.random.fork_rng(devices=[]), quiet():
        model = GPT2LMHeadModel(GPT2Config(**GPT2)).requires_grad_(False)
        draw_weights(model)
        model.save_pretrained(folder)
    save_byte_tokenizer(str(folder))
    rows = torch.randn(n_features, WIDTH, generator=torch.Generator().manual_seed(0))
    rows /= rows.norm(dim=1, keepdim=True)
    dictionary = TopKDictionary(rows, torch.zeros(n_features), rows, torch.zeros(WIDTH), k=ACTIVE)
    settings = TorchFeatureSet("toy", str(folder), HOOK, "random", device="cpu")
    return assemble([settings], [dictionary], threads=1)
