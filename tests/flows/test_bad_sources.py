"""Models, dictionaries and texts that can't be used: one paragraph each, and a workspace with nothing half-written.

A tiny GPT-2 with a SAELens dictionary, as a user would bring them.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from labeling.workspace import Workspace
from tests.flows.mini import Mini, featlas
from tests.labeling.tiny_models import VOCABULARY, WIDTH, save_tiny

FEATURES = 24
WORDS = ("the", "a", "dog", "naïve", "runs", "over", "under", "fast,", "slow.", "and")
CONFIG = """
[[features]]
name = "tiny"
model = "{model}"
dictionary = "{dictionary}"
{line}

[corpus]
source = "files"
path = "{texts}"

[sample]
window = 16
sequence = 48
threads = 1
panel = 40
"""


@dataclass(frozen=True)
class Parts:
    """What a config names; a test spoils one of them."""

    root: Path
    model: Path
    dictionary: Path
    texts: Path

    def mini(self, line: str = "") -> Mini:
        config = self.root / "featlas.toml"
        places = {"model": self.model, "dictionary": self.dictionary, "texts": self.texts}
        config.write_text(CONFIG.format(**places, line=line), encoding="utf-8")
        return Mini(config, self.root / "workspace")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(save_tiny("gpt2", tmp_path_factory.mktemp("models") / "gpt2"))


@pytest.fixture
def parts(tmp_path: Path, model: Path) -> Parts:
    made = Parts(tmp_path, model, tmp_path / "dictionary", tmp_path / "texts")
    write_dictionary(made.dictionary)
    made.texts.mkdir()
    drawn = random.Random(0)
    for number in range(60):
        (made.texts / f"{number:03}.txt").write_text(" ".join(drawn.choices(WORDS, k=60)), encoding="utf-8")
    return made


def write_dictionary(
    folder: Path, *, n_features: int = FEATURES, width: int = WIDTH, threshold: float = 0.5, **metadata: Any
) -> None:
    """A SAELens folder; JumpReLU."""
    folder.mkdir(exist_ok=True)
    w = torch.randn(n_features, width, generator=torch.Generator().manual_seed(0))
    tensors = {"W_enc": w.T, "W_dec": w, "b_enc": torch.zeros(n_features), "b_dec": torch.zeros(width)}
    tensors |= {"threshold": torch.full((n_features,), threshold)}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "sae_weights.safetensors")
    facts = {"model_name": "gpt2", "hook_name": "blocks.1.hook_resid_post", "prepend_bos": True, **metadata}
    config = {"architecture": "jumprelu", "d_in": width, "d_sae": n_features, "metadata": facts}
    (folder / "cfg.json").write_text(json.dumps(config))


def another_width(parts: Parts) -> None:
    write_dictionary(parts.dictionary, width=WIDTH + 4)


def another_model(parts: Parts) -> None:
    write_dictionary(parts.dictionary, model_name="gemma-2-2b")


def no_features(parts: Parts) -> None:
    write_dictionary(parts.dictionary, n_features=0)


def all_dead(parts: Parts) -> None:
    write_dictionary(parts.dictionary, threshold=1e9)


def not_a_number(parts: Parts) -> None:
    write_dictionary(parts.dictionary, threshold=float("nan"))


def cut_off(parts: Parts) -> None:
    file = parts.dictionary / "sae_weights.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def short_documents(parts: Parts) -> None:
    for file in parts.texts.iterdir():
        file.write_text("the dog")


def nothing(parts: Parts) -> None:
    pass


@pytest.mark.parametrize(
    ("spoil", "line", "code", "said"),
    [
        (nothing, 'hook = "blocks.7.hook_resid_post"', 2, ["3 layers", "blocks.2.hook_resid_post", "'blocks.1.hook"]),
        (nothing, 'hook = "transformer.g.1"', 2, ["transformer.g.1", "h.1", "where its dictionary was trained"]),
        (nothing, 'hook = "transformer.h.2"', 2, ["blocks.1.hook_resid_post", "--force"]),
        (nothing, 'hook = "h.1.mlp.c_fc"\nforce = true', 1, [f"{WIDTH} wide", "h.1.mlp.c_fc"]),
        (another_width, "", 1, [f"{WIDTH + 4} wide", str(WIDTH), "blocks.1.hook_resid_post"]),
        (another_model, "", 2, ["gemma-2-2b", "gpt2", "--force"]),
        (no_features, "", 1, ["d_sae", "0"]),
        (all_dead, "", 1, ["dead", str(FEATURES), "dictionary"]),
        (not_a_number, "", 1, ["sae_weights.safetensors", "threshold", "NaN"]),
        (cut_off, "", 1, ["sae_weights.safetensors"]),
        (short_documents, "", 1, ["no text", "8 tokens", "window"]),
        (nothing, 'device = "cuda:77"', 2, ["cuda:77", "'cpu'"]),
    ],
)
def test_it_is_refused_in_one_paragraph_and_nothing_is_half_written(
    parts: Parts, spoil: Callable[[Parts], None], line: str, code: int, said: list[str]
) -> None:
    spoil(parts)
    mini = parts.mini(line)
    ran = mini.featlas("sample")
    assert (ran.code, [text for text in said if text not in ran.paragraph()]) == (code, [])
    check_that_nothing_is_half_written(mini)


def check_that_nothing_is_half_written(mini: Mini) -> None:
    """No sample, no row of one, no file with a temporary name; and the workspace is sound."""
    workspace = Workspace(mini.workspace)
    assert [file.name for file in mini.workspace.rglob("*") if file.suffix in (".new", ".tmp", ".part")] == []
    assert [file.name for file in (mini.workspace / "evidence").rglob("contexts*/*.parquet")] == []
    if workspace.snapshot.exists():
        assert mini.ask("SELECT count(*) FROM samples").item() == 0
        assert mini.ask("SELECT count(*) FROM features").item() == 0
    checked = featlas("doctor", "--workspace", mini.workspace)
    assert checked.code == 0, checked.out + checked.err


def test_what_was_refused_runs_once_it_is_mended(parts: Parts) -> None:
    all_dead(parts)
    assert parts.mini().featlas("sample").code == 1
    write_dictionary(parts.dictionary)
    mini = parts.mini()
    ran = mini.featlas("sample")
    assert ran.code == 0, ran.err
    assert mini.ask("SELECT count(*) FROM samples").item() == 1
    assert featlas("doctor", "--workspace", mini.workspace).code == 0


def test_force_goes_on_with_a_dictionary_of_another_model(parts: Parts) -> None:
    another_model(parts)
    mini = parts.mini()
    assert mini.featlas("sample").code == 2
    ran = mini.featlas("sample", "--force")
    assert ran.code == 0, ran.err


def test_a_tokenizer_without_a_beginning_is_told_of_with_what_to_set(parts: Parts) -> None:
    model = Path(save_tiny("gpt2", parts.root / "gpt2", special={"pad_token": "<pad>"}))
    without = Parts(parts.root, model, parts.dictionary, parts.texts)
    mini = without.mini()
    ran = mini.featlas("sample")
    assert ran.code == 2
    assert all(text in ran.paragraph() for text in ("BOS", "prepend_bos"))
    check_that_nothing_is_half_written(mini)
    ran = without.mini("prepend_bos = false").featlas("sample")
    assert ran.code == 0, ran.err


@contextmanager
def counted_passes() -> Iterator[list[int]]:
    """Tokens of each forward pass: of what is given to the embedding of tokens, by torch's own hook on all modules."""
    passes: list[int] = []

    def count(module: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        if isinstance(module, torch.nn.Embedding) and module.num_embeddings == VOCABULARY:
            passes.append(given[0].numel())

    handle = torch.nn.modules.module.register_module_forward_pre_hook(count)
    try:
        yield passes
    finally:
        handle.remove()


def test_all_layers_of_a_release_are_sampled_in_one_pass(parts: Parts) -> None:
    one = parts.mini()
    with counted_passes() as alone:
        assert one.featlas("sample").code == 0
    text = one.config.read_text()
    section = text[text.index("[[features]]") : text.index("[corpus]")]
    for layer in (0, 2):
        folder = parts.root / f"layer-{layer}"
        write_dictionary(folder, hook_name=f"blocks.{layer}.hook_resid_post")
        text = section.replace('"tiny"', f'"layer-{layer}"').replace(str(parts.dictionary), str(folder)) + text
    config = parts.root / "layers.toml"
    config.write_text(text, encoding="utf-8")
    layers = Mini(config, parts.root / "layers")
    with counted_passes() as together:
        ran = layers.featlas("sample")
    assert ran.code == 0, ran.err
    assert layers.ask("SELECT count(*) FROM samples").item() == 3
    assert len(alone) > 3
    assert together == alone
    maxima = (
        "SELECT feature, max_activation FROM features AS f JOIN samples USING (sample_id) WHERE feature_set = 'tiny'"
    )
    assert layers.ask(f"{maxima} ORDER BY feature").equals(one.ask(f"{maxima} ORDER BY feature"))
