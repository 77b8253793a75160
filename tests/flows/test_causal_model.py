"""A whole run on a causal language model with byte-level tokens, as a user would set it up."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from labeling.dictionaries.featlas import TopKDictionary, save
from tests.flows.mini import Mini, Ran
from tests.labeling.tiny_models import WIDTH, save_tiny

WORDS = ("the", "a", "dog", "日本", "🎉", "naïve", "runs", "over", "under", "<|endoftext|>", "fast,", "slow.", "and")
CONFIG = """
[[features]]
name = "tiny"
model = "{folder}/model"
hook = "{hook}"
dictionary = "{folder}/dictionary"
dtype = "{dtype}"

[corpus]
source = "files"
path = "{folder}/texts"

[sample]
window = 16
sequence = 48
threads = 1
panel = 40

[score]
scorers = ["pattern"]
bootstrap = 60
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("causal")
    save_tiny("gpt2", root / "model")
    w = torch.nn.functional.normalize(torch.randn(24, WIDTH, generator=torch.Generator().manual_seed(0)), dim=1)
    save(TopKDictionary(w, torch.zeros(24), w, torch.zeros(WIDTH), k=3), root / "dictionary", card={})
    texts, drawn = root / "texts", random.Random(0)
    texts.mkdir()
    for number in range(150):
        (texts / f"{number:03}.txt").write_text(" ".join(drawn.choices(WORDS, k=60)), encoding="utf-8")
    (texts / "tiny.txt").write_text("short", encoding="utf-8")
    return root


def run(folder: Path, workspace: Path, command: str, *, hook: str, dtype: str = "float32") -> tuple[Mini, Ran]:
    config = workspace.with_suffix(".toml")
    config.write_text(CONFIG.format(folder=folder, hook=hook, dtype=dtype), encoding="utf-8")
    mini = Mini(config, workspace)
    return mini, mini.featlas(command)


@pytest.mark.slow
def test_a_causal_model_is_labelled_at_a_name_of_transformer_lens(folder: Path, tmp_path: Path) -> None:
    mini, ran = run(folder, tmp_path / "w", "run", hook="blocks.2.hook_resid_pre")
    assert ran.code == 0, ran.err
    assert "151 documents, " in ran.err
    assert "left out or mended: too short 1 (table corpus_problems)" in ran.err
    assert mini.ask("SELECT problem, n, example FROM corpus_problems").rows() == [("too short", 1, "tiny.txt")]
    assert mini.ask("SELECT hook FROM feature_sets").item() == "blocks.2.hook_resid_pre"
    assert mini.ask("SELECT count(*) FROM labels WHERE label IS NOT NULL").item() > 0
    tokens = set(mini.ask("SELECT DISTINCT unnest(tokens) AS token FROM windows")["token"].to_list())
    assert {" ", "d", "<0xF0>"} <= tokens
    assert not any("Ġ" in token or token.startswith("<|") for token in tokens)


@pytest.mark.slow
def test_the_first_position_of_a_sequence_never_fires(folder: Path, tmp_path: Path) -> None:
    mini, ran = run(folder, tmp_path / "w", "sample", hook="transformer.h.1")
    assert ran.code == 0, ran.err
    sql = """
        SELECT count(*) FILTER (w.start % 48 = 0) AS first, count(*) AS others
        FROM contexts AS c JOIN windows AS w USING (window_id) WHERE list_contains(c.positions, 0)
    """
    first, others = mini.ask(sql).row(0)
    assert (first, others > 0) == (0, True)


def test_a_wrong_hook_of_a_config_is_one_paragraph(folder: Path, tmp_path: Path) -> None:
    _, ran = run(folder, tmp_path / "w", "sample", hook="transformer.h.5")
    assert (ran.code, "h.2" in ran.paragraph(), "blocks." in ran.paragraph()) == (2, True, True)
