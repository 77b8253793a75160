"""The bench `delphi`: the stage sample beside EleutherAI's delphi on the same model, dictionary and tokens.

Both read the text once and make 100 features ready to be prompted: here sampler state, sparse codes, and contexts with hard
negatives; there `LatentCache` and `LatentDataset`. Model and dictionary have random weights, which cost the same. Each
runs in a process of its own, one thread; the clock starts when model and tokens are there. delphi needs other
versions of our packages, so it runs in the Python that `--python` names; without it there is nothing to compare with.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from flows.benches import BenchOptions, Row, at_most, plain
from flows.benches._processes import Finished, run_child
from labeling.errors import FeatlasError, UsageError

if TYPE_CHECKING:
    import torch

    from flows.shards import Job, Result
    from labeling.config import Config
    from labeling.types import JSON

HOOK, WIDTH, ACTIVE, SEQUENCE = "layers.2", 256, 32, 256
"""Where the model is read, numbers a token there, active features of a token, tokens of a sequence."""
NEOX = {"num_hidden_layers": 4, "hidden_size": WIDTH, "num_attention_heads": 4, "intermediate_size": 4 * WIDTH}
VOCABULARY = 8_192
TRAINING_CHARACTERS = 2_000_000
"""Of the text that the tokenizer is trained on."""
CENTERING_CHARACTERS = 20_000
FEATURES_READY = 100
BATCH_SEQUENCES = 32
"""delphi's default. It leaves out what does not fill a batch."""
OURS = "import sys; from flows.benches.delphi import sample_here; sample_here(sys.argv[1])"
THEIRS = Path(__file__).with_name("_delphi_side.py")
FIND = "import importlib.util, sys; sys.exit(importlib.util.find_spec('delphi') is None)"


@dataclass(frozen=True)
class Size:
    """One comparison."""

    features: int
    tokens: int
    target: float
    """Our CPU seconds over delphi's, at most."""


SIZES = (Size(4_096, 196_608, 0.7), Size(32_768, 65_536, 0.5))


@dataclass(frozen=True)
class DelphiBench:
    python: str
    """Interpreter of the environment where delphi is installed."""
    corpus: str | None
    """Text file or folder; None is the embedded corpus."""
    sizes: tuple[Size, ...] = SIZES

    def measure(self) -> list[Row]:
        if run_child([self.python, "-c", FIND]).exit_code:
            return [plain(f"eai-delphi is not installed for {self.python}: nothing to compare with", None, "")]
        return [row for size in self.sizes for row in self._compare(size)]

    def _compare(self, size: Size) -> list[Row]:
        with tempfile.TemporaryDirectory(prefix="featlas-bench-") as place:
            folder = Path(place)
            write_model(folder, corpus=self.corpus)
            write_dictionary(folder, features=size.features, center=_mean_activation(folder, corpus=self.corpus))
            _write_json(folder / "job.json", {"corpus": self.corpus, "max_tokens": size.tokens})
            ours_ran, ours = _run("featlas", [sys.executable, "-c", OURS, place])
            source = THEIRS.read_text(encoding="utf-8")
            theirs_ran, theirs = _run("delphi", [self.python, "-c", source, place])
        name = f"{size.features:,} features"
        seconds = [float(said["cpu_seconds"]) for said in (ours, theirs)]
        return [
            plain(f"{name}: tokens, ours", ours["tokens"], "tokens"),
            plain(f"{name}: tokens, delphi's", theirs["tokens"], "tokens"),
            plain(f"{name}: of {FEATURES_READY} features ready, delphi's", theirs["records"], "features"),
            plain(f"{name}: ours, CPU", seconds[0], "s"),
            plain(f"{name}: of it reading the text", ours["reading"], "s"),
            plain(f"{name}: delphi's, CPU", seconds[1], "s"),
            plain(f"{name}: of it reading the text", theirs["reading"], "s"),
            at_most(f"{name}: ours / delphi's", seconds[0] / seconds[1], size.target, "x"),
            plain(f"{name}: peak memory, ours", ours_ran.peak_mib, "MiB"),
            plain(f"{name}: peak memory, delphi's", theirs_ran.peak_mib, "MiB"),
        ]


def create(*, options: BenchOptions) -> DelphiBench:
    """Make the bench. Raise UsageError for options that it does not use, and for a Python that is not there."""
    options.only("delphi", "corpus", "python")
    if options.python is not None and shutil.which(options.python) is None:
        raise UsageError(
            f"--python is {options.python}, which can't be run. Give the Python of an environment with eai-delphi, such as "
            "/tmp/delphi/bin/python."
        )
    return DelphiBench(options.python or sys.executable, options.corpus)


def _run(name: str, arguments: Sequence[str]) -> tuple[Finished, dict[str, JSON]]:
    """Run one side, and read the JSON that is the last thing it prints."""
    ran = run_child(arguments, environment=_one_thread())
    if ran.exit_code:
        raise FeatlasError(f"The side of {name} failed with exit code {ran.exit_code}; what it said stands above.")
    said: dict[str, JSON] = json.loads(ran.stdout.splitlines()[-1])
    return ran, said


def _one_thread() -> dict[str, str]:
    quiet = {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1", "TOKENIZERS_PARALLELISM": "false"}
    return {**os.environ, **quiet, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def write_model(folder: Path, *, corpus: str | None) -> None:
    """A GPT-NeoX with random weights, and a byte-level tokenizer trained on the text."""
    import torch
    from transformers import GPTNeoXConfig, GPTNeoXModel, PreTrainedTokenizerFast

    from labeling.sources._models import draw_weights
    from labeling.sources._places import quiet

    sizes = {**NEOX, "vocab_size": VOCABULARY, "max_position_embeddings": 2 * SEQUENCE}
    with torch.random.fork_rng(devices=[]), quiet():
        model = GPTNeoXModel(GPTNeoXConfig(**sizes, bos_token_id=0, eos_token_id=0)).requires_grad_(False)
        draw_weights(model)
        model.save_pretrained(folder / "model")
    PreTrainedTokenizerFast(tokenizer_object=_trained_tokenizer(corpus)).save_pretrained(folder / "model")


def _trained_tokenizer(corpus: str | None) -> object:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, initial_alphabet=letters, show_progress=False)
    backend.train_from_iterator(_texts(corpus), trainer)
    return backend


def _texts(corpus: str | None) -> Iterator[str]:
    from labeling.corpora import embedded, files

    read = 0
    for document in (embedded.create(path=None) if corpus is None else files.create(path=corpus)).documents():
        yield document.text
        read += len(document.text)
        if read >= TRAINING_CHARACTERS:
            return


def _mean_activation(folder: Path, *, corpus: str | None) -> torch.Tensor:
    """Of some tokens at the hook. A dictionary that is not centered there fires with the same features everywhere."""
    import torch

    from labeling.sources._models import load_model
    from labeling.sources._tokenizers import load_tokenizer, tokenize
    from labeling.types import Document

    model = str(folder / "model")
    module = load_model(model, [HOOK]).module
    text = Document("0", "text", "".join(_texts(corpus))[:CENTERING_CHARACTERS])
    ids = torch.tensor(tokenize(load_tokenizer(model), [text])[0].token_ids)
    rows = ids[: len(ids) // SEQUENCE * SEQUENCE].view(-1, SEQUENCE)
    seen: list[torch.Tensor] = []

    def keep(_: object, __: object, output: torch.Tensor | tuple[torch.Tensor, ...]) -> None:
        seen.append(output if isinstance(output, torch.Tensor) else output[0])

    module.get_submodule(HOOK).register_forward_hook(keep)
    with torch.inference_mode():
        module(input_ids=rows)
    return seen[0].flatten(0, 1).mean(0)


def write_dictionary(folder: Path, *, features: int, center: torch.Tensor) -> None:
    """A TopK dictionary of random directions around `center` in sparsify's form, which both sides read."""
    import torch
    from safetensors.torch import save_file

    drawn = torch.randn(features, WIDTH, generator=torch.Generator().manual_seed(0))
    directions = torch.nn.functional.normalize(drawn, dim=1)
    place = folder / "dictionary" / HOOK
    place.mkdir(parents=True)
    tensors = {"encoder.weight": directions, "encoder.bias": torch.zeros(features), "W_dec": directions.clone()}
    save_file({**tensors, "b_dec": center.clone()}, place / "sae.safetensors")
    _write_json(place / "cfg.json", {"activation": "topk", "num_latents": features, "k": ACTIVE, "d_in": WIDTH})


def _write_json(file: Path, values: dict[str, JSON]) -> None:
    file.write_text(json.dumps(values), encoding="utf-8")


def sample_here(place: str) -> None:
    """What our side's process does: the stage sample with contexts of the first features; print its CPU seconds as JSON."""
    from flows.progress import silent_progress
    from flows.session import open_session
    from flows.shards import run_serially
    from flows.stages.sample import sample_all

    folder = Path(place)
    marks: dict[str, float] = {}

    def runner(
        work: Callable[[Job], Result], jobs: Sequence[Job], *, name: str, parallel: bool = False, overlap: int = 1
    ) -> Iterator[tuple[Job, Result]]:
        marks.setdefault(name, time.process_time())
        if name == "contexts":
            jobs = [replace(job, end=FEATURES_READY) for job in jobs[:1]]  # type: ignore[type-var]  # a ContextShard
        return run_serially(work, jobs, name=name, parallel=parallel, overlap=overlap)

    with open_session(
        folder / "workspace", _config(folder), command="bench", progress=silent_progress(), runner=runner
    ) as session:
        samples = sample_all(session)
    ended = time.process_time()
    _write_tokens(folder)
    said = {"cpu_seconds": ended - marks["sample"], "reading": marks["contexts"] - marks["sample"]}
    sys.stdout.write(json.dumps({**said, "tokens": samples[0].corpus.n_tokens}))


def _config(folder: Path) -> Config:
    from labeling.config import Config, CorpusConfig, FeatureSetConfig
    from labeling.config_files import demo_config

    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    plain_config = demo_config(environment={}, overrides={"sample.threads": 1, "sample.sequence": SEQUENCE})
    sections = {name: getattr(plain_config, name) for name in ("sample", "label", "score", "llm", "cluster")}
    features = FeatureSetConfig(
        name="random", model=str(folder / "model"), dictionary=str(folder / "dictionary" / HOOK), device="cpu"
    )
    source = "embedded" if job["corpus"] is None else "files"
    corpus = CorpusConfig(source=source, path=job["corpus"], max_tokens=job["max_tokens"])
    return Config(features=(features,), corpus=corpus, **sections)


def _write_tokens(folder: Path) -> None:
    """The tokens that were read, in sequences of one length as delphi wants them."""
    import polars as pl
    import torch
    from safetensors.torch import save_file

    windows = pl.read_parquet(folder / "workspace" / "evidence" / "windows" / "*.parquet").sort("window_id")
    tokens = torch.from_numpy(windows["token_ids"].explode().to_numpy().astype("int64"))
    batch = BATCH_SEQUENCES * SEQUENCE
    whole = tokens[: len(tokens) // batch * batch].view(-1, SEQUENCE)
    save_file({"tokens": whole.contiguous()}, folder / "tokens.safetensors")
