"""A dictionary that says where it was trained: what is taken from that, and what is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from labeling.dictionaries import Origin
from labeling.dictionaries.featlas import TopKDictionary
from labeling.errors import UsageError
from labeling.identity import text_id
from labeling.sources._origins import same_model
from labeling.sources.torch import TorchFeatureSet, TorchSource, assemble
from labeling.types import Document
from labeling.windows import cut_windows
from tests.labeling.tiny_models import WIDTH, save_tiny


def dictionary(origin: Origin | None = None, n_features: int = 32) -> TopKDictionary:
    w = torch.randn(n_features, WIDTH, generator=torch.Generator().manual_seed(0))
    return TopKDictionary(w, torch.zeros(n_features), w, torch.zeros(WIDTH), k=4, origin=origin)


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_tiny("gpt2", tmp_path_factory.mktemp("models") / "gpt2")


def feature_set(model: str, hook: str | None = "transformer.h.1", **others: Any) -> TorchFeatureSet:
    return TorchFeatureSet("small", model, hook, "folder", device="cpu", **others)


def opened(settings: TorchFeatureSet, origin: Origin | None) -> TorchSource:
    return assemble([settings], [dictionary(origin)], threads=1)


def test_a_hook_that_is_left_out_is_taken_from_the_dictionary(gpt2: str) -> None:
    source = opened(feature_set(gpt2, None), Origin(hook="blocks.1.hook_resid_post"))
    assert source.feature_sets[0].hook == "blocks.1.hook_resid_post"
    with pytest.raises(UsageError, match=r"does not say its hook.*does not say where"):
        opened(feature_set(gpt2, None), Origin(model="gpt2"))


def test_two_spellings_of_a_place_have_one_fingerprint(gpt2: str) -> None:
    hooks = ("transformer.h.1", "h.1", "blocks.1.hook_resid_post", "blocks.2.hook_resid_pre")
    assert len({opened(feature_set(gpt2, hook), None).feature_sets[0].fingerprint for hook in hooks[:3]}) == 1
    assert opened(feature_set(gpt2, "h.0"), None).feature_sets[0].fingerprint not in {
        opened(feature_set(gpt2, hook), None).feature_sets[0].fingerprint for hook in hooks
    }


@pytest.mark.parametrize("said", ["blocks.1.hook_resid_post", "blocks.2.hook_resid_pre", "h.1", "transformer.h.1"])
def test_the_same_place_by_another_name_is_no_mismatch(gpt2: str, said: str) -> None:
    opened(feature_set(gpt2), Origin(model="gpt2-small", hook=said))


@pytest.mark.parametrize("said", ["blocks.1.hook_mlp_out", "blocks.11.hook_resid_post", "anything"])
def test_another_place_is_refused_with_both_names_unless_forced(gpt2: str, said: str) -> None:
    with pytest.raises(UsageError, match=rf"trained at '{said}'.*'transformer\.h\.1'.*force = true"):
        opened(feature_set(gpt2), Origin(hook=said))
    opened(feature_set(gpt2, force=True), Origin(hook=said))


def test_another_model_is_refused_with_both_names_unless_forced(gpt2: str) -> None:
    with pytest.raises(UsageError, match=r"trained on the model 'google/gemma-2-2b'.*gpt2.*force = true"):
        opened(feature_set(gpt2), Origin(model="google/gemma-2-2b"))
    opened(feature_set(gpt2, force=True), Origin(model="google/gemma-2-2b"))


@pytest.mark.parametrize(
    ("trained", "used", "same"),
    [
        ("gpt2-small", "openai-community/gpt2", True),
        ("gpt2", "hf://openai-community/gpt2@main", True),
        ("google/gemma-2-2b", "gemma-2-2b", True),
        ("google/gemma-2-2b", "google/gemma-2-2b-it", False),
        ("pythia-70m-deduped", "EleutherAI/pythia-70m", False),
        ("embedded/minilm", "embedded/minilm", True),
    ],
)
def test_owners_and_revisions_do_not_make_another_model(trained: str, used: str, same: bool) -> None:
    assert same_model(trained, used) is same


def test_a_folder_is_known_by_its_name_or_its_place_in_the_hubs_cache(tmp_path: Path) -> None:
    cached = tmp_path / "models--google--gemma-2-2b" / "snapshots" / "0a1b"
    cached.mkdir(parents=True)
    assert same_model("gemma-2-2b", str(cached))
    assert not same_model("gemma-2-9b", str(cached))


def firsts(source: TorchSource) -> set[int]:
    """Positions in the first window on which something fires."""
    text = "one two three four five six seven"
    windows = cut_windows(source.tokenize([Document(text_id(text), "t", text)]), corpus_id="c", width=8, seed=0)
    found: list[pl.DataFrame] = [
        pl.DataFrame({"window": batch.window.numpy(), "position": batch.position.numpy()})
        for batch in source.events(windows, sequence=32)
    ]
    return set(pl.concat(found).filter(pl.col("window") == 0)["position"].to_list())


def test_sequences_start_as_the_dictionary_was_trained(gpt2: str) -> None:
    with_bos = opened(feature_set(gpt2), Origin(prepend_bos=True))
    without = opened(feature_set(gpt2), Origin(prepend_bos=False))
    assert with_bos.model.tokenizer.before == (0,)
    assert firsts(with_bos) == set(range(8))
    assert firsts(without) == set(range(1, 8))
    prints = [source.feature_sets[0].fingerprint for source in (with_bos, without)]
    assert prints[0] != prints[1]
    assert opened(feature_set(gpt2), None).feature_sets[0].fingerprint == prints[1]


def test_the_users_word_on_bos_stands_above_the_dictionarys(gpt2: str) -> None:
    assert opened(feature_set(gpt2, prepend_bos=False), Origin(prepend_bos=True)).model.tokenizer.sink


def test_dictionaries_that_want_other_starts_do_not_share_a_pass(gpt2: str) -> None:
    sets = [feature_set(gpt2), replace(feature_set(gpt2), name="other")]
    both = [dictionary(Origin(prepend_bos=True)), dictionary(None)]
    with pytest.raises(UsageError, match=r"small: with BOS, other: not known.*`prepend_bos` on each"):
        assemble(sets, both, threads=1)


def test_special_tokens_count_towards_what_the_model_reads(gpt2: str) -> None:
    opened(feature_set(gpt2), Origin(prepend_bos=False)).model.check_length(64)
    with pytest.raises(UsageError, match="at most 64, 1 of them special"):
        opened(feature_set(gpt2), Origin(prepend_bos=True)).model.check_length(64)
