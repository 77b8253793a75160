"""A dictionary of any width for the embedded model, made from the model's own activations instead of trained.

Each feature points to what the model makes of one token of the embedded corpus, so it fires on tokens like that one, as
trained features do; random directions would fire on anything.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flows.benches._embedded_text import read_windows

if TYPE_CHECKING:
    from labeling.dictionaries.featlas import TopKDictionary
    from labeling.sources.torch import TorchSource

ACTIVE = 32
"""Features that are active on each token."""
SEQUENCE = 256


def open_embedded_model() -> TorchSource:
    """The demo's first feature set, with one thread."""
    from labeling.config_files import demo_config
    from labeling.sources.torch import create

    return create(feature_sets=demo_config(environment={}, overrides={}).features[:1], threads=1)


def write_dictionary(folder: Path, source: TorchSource, *, n_features: int) -> None:
    """Write a TopK dictionary in the project's own format. `source` as from `open_embedded_model`."""
    import torch

    from labeling.dictionaries.featlas import TopKDictionary, save

    trained: TopKDictionary = source.dictionaries[0]  # type: ignore[assignment]  # the demo's is a TopK
    info = source.feature_sets[0]
    windows = read_windows(source, 2 * n_features)
    seen = torch.cat([hidden[info.hook] for _, hidden in source.hidden(windows, sequence=SEQUENCE)]) - trained.b_dec
    chosen = torch.randperm(len(seen), generator=torch.Generator().manual_seed(0))[:n_features]
    unit = torch.nn.functional.normalize(seen[chosen], dim=1)
    made = TopKDictionary(w_enc=unit, b_enc=torch.zeros(len(unit)), w_dec=unit.clone(), b_dec=trained.b_dec, k=ACTIVE)
    save(made, folder, card={"model": info.model, "hook": info.hook, "sequence": SEQUENCE})
