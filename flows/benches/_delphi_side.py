"""delphi's side of the bench `delphi`: cache the latents of a text, load 100 of them, print the CPU seconds as JSON.

Run by the Python that has delphi, with the job's folder as its argument; so nothing of ours is imported here.
"""

import json
import logging
import sys
import time
from pathlib import Path

HOOK, SEQUENCE, BATCH_SEQUENCES, SPLITS, LATENTS = "layers.2", 256, 32, 5, 100
FEWEST_EXAMPLES = 20
"""delphi drops latents with fewer windows; its default of 200 would drop most of a wide dictionary's on a short text."""


def main(folder: Path) -> None:
    import torch
    from delphi.config import CacheConfig, ConstructorConfig, SamplerConfig
    from delphi.latents import LatentCache, LatentDataset
    from delphi.sparse_coders.load_sparsify import load_sparsify_hooks
    from safetensors.torch import load_file
    from transformers import AutoModel, PreTrainedTokenizerFast

    torch.set_num_threads(1)
    logging.getLogger("delphi").setLevel(logging.ERROR)  # it says of every latent what it could not draw
    model = AutoModel.from_pretrained(folder / "model").eval()
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "model" / "tokenizer.json"))
    encoders, transcode = load_sparsify_hooks(model, str(folder / "dictionary"), [HOOK])
    tokens = load_file(folder / "tokens.safetensors")["tokens"]
    latents = folder / "delphi" / "latents"
    latents.mkdir(parents=True)

    started = time.process_time()
    cache = LatentCache(model, encoders, batch_size=BATCH_SEQUENCES, transcode=transcode)
    cache.run(tokens.numel(), tokens)
    cache.save_splits(n_splits=SPLITS, save_dir=latents)
    config = CacheConfig(cache_ctx_len=SEQUENCE, batch_size=BATCH_SEQUENCES, n_tokens=tokens.numel(), n_splits=SPLITS)
    cache.save_config(latents, config, str(folder / "model"))
    read = time.process_time()
    dataset = LatentDataset(
        latents,
        SamplerConfig(),
        ConstructorConfig(min_examples=FEWEST_EXAMPLES),
        tokenizer=tokenizer,
        modules=[HOOK],
        latents={HOOK: torch.arange(LATENTS)},
    )
    records = sum(1 for record in dataset if record is not None)
    ended = time.process_time()
    said = {"cpu_seconds": ended - started, "reading": read - started, "tokens": tokens.numel(), "records": records}
    sys.stdout.write("\n" + json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
