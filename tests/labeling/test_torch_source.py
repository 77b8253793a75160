from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from labeling.dictionaries.featlas import TopKDictionary, save
from labeling.errors import FeatlasError, UsageError
from labeling.identity import text_id
from labeling.sources._batches import BATCH_TOKENS, batches, grouped, sequences
from labeling.sources._models import draw_weights, load_model, outline, weights_hash
from labeling.sources._tokenizers import load_tokenizer
from labeling.sources._torch_model import open_model
from labeling.sources.torch import TorchFeatureSet, TorchSource, create
from labeling.types import Document
from labeling.windows import cut_windows

TEXTS = (
    "Sub-processing an unbelievably long documentstring returns the Größe of a file. " * 4,
    "If the argument is missing, a ValueError is raised; otherwise the function returns None. " * 8,
    "A short text with enough words to make one window of sixteen tokens or a few more.",
)
FIRST_DRAWN = -0.00349096
"""First random weight of the word embeddings: numpy must draw it on every machine."""
DOCUMENTS = [Document(document_id=text_id(text), name=f"text {i}", text=text) for i, text in enumerate(TEXTS)]


def dictionary(folder: Path, *, d_model: int = 384, n_features: int = 64, k: int = 4) -> str:
    generator = torch.Generator().manual_seed(0)
    w = torch.nn.functional.normalize(torch.randn(n_features, d_model, generator=generator), dim=1)
    made = TopKDictionary(w_enc=w, b_enc=torch.zeros(n_features), w_dec=w, b_dec=torch.zeros(d_model), k=k)
    save(made, folder, card={})
    return str(folder)


def feature_set(folder: Path, hook: str = "encoder.layer.1") -> TorchFeatureSet:
    return TorchFeatureSet("small", "embedded/minilm", hook, dictionary(folder), device="cpu")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> TorchSource:
    first = feature_set(tmp_path_factory.mktemp("first"))
    second = replace(feature_set(tmp_path_factory.mktemp("second"), "encoder.layer.0"), name="lower")
    return create(feature_sets=[first, second], threads=1)


@pytest.fixture(scope="module")
def windows(source: TorchSource) -> pl.DataFrame:
    return cut_windows(source.tokenize(DOCUMENTS), corpus_id="c", width=32, seed=0)


def events(source: TorchSource, windows: pl.DataFrame, sequence: int = 128) -> dict[tuple[int, int, int, int], float]:
    found: dict[tuple[int, int, int, int], float] = {}
    for batch in source.events(windows, sequence=sequence):
        rows = zip(
            batch.feature.tolist(), batch.window.tolist(), batch.position.tolist(), batch.value.tolist(), strict=True
        )
        found |= {(batch.feature_set, feature, window, at): value for feature, window, at, value in rows}
    return found


def reference(text: str, layer: int) -> torch.Tensor:
    """Hidden states of one text by the plain library call, special tokens taken off: [tokens, 384]."""
    from transformers import AutoModel, AutoTokenizer

    from labeling.sources._places import folder, quiet

    with quiet():
        model = AutoModel.from_pretrained(folder("embedded/minilm"), local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(folder("embedded/minilm"), local_files_only=True)
    with torch.inference_mode():
        output = model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True)
    hidden: torch.Tensor = output.hidden_states[layer + 1][0, 1:-1]
    return hidden


def test_tokens_carry_the_tokenizers_spelling_and_their_place_in_the_text(source: TorchSource) -> None:
    one = source.tokenize(DOCUMENTS)[0]
    assert one.tokens[:7] == ("sub", "-", "processing", "an", "un", "##bel", "##ie")
    text = one.document.text
    cut = [text[start:end].lower() for start, end in zip(one.starts, one.ends, strict=True)]
    assert cut[:4] == ["sub", "-", "processing", "an"]
    assert "[CLS]" not in one.tokens
    assert text[one.starts[one.tokens.index("file")] :].startswith("file.")


def test_long_documents_are_not_cut_short(source: TorchSource) -> None:
    text = "word " * 2_000
    assert len(source.tokenize([Document(text_id(text), "long", text)])[0].tokens) == 2_000


def test_activations_equal_the_plain_model_whatever_the_padding(source: TorchSource, windows: pl.DataFrame) -> None:
    seen = {}
    for batch, activations in source.hidden(windows, sequence=256):
        for row in range(len(batch.window)):
            place = int(batch.window[row]), int(batch.position[row])
            seen[place] = activations["encoder.layer.1"][row]
    first = windows.filter(pl.col("document_id") == DOCUMENTS[0].document_id)
    expected = reference(TEXTS[0], 1)
    places = [(w, p) for w, n in first.select("window_id", "n_tokens").iter_rows() for p in range(n)]
    assert len(places) == len(expected)
    torch.testing.assert_close(torch.stack([seen[place] for place in places]), expected, atol=2e-5, rtol=1e-4)


def test_every_counted_token_has_its_k_events_and_no_special_token_has_any(
    source: TorchSource, windows: pl.DataFrame
) -> None:
    found = events(source, windows)
    counted = {(window, at) for window, n in windows.select("window_id", "n_tokens").iter_rows() for at in range(n)}
    for index in (0, 1):
        places = [(window, at) for number, _, window, at in found if number == index]
        assert set(places) == counted
        assert len(places) == 4 * len(counted)
    assert min(found.values()) > 0


def test_the_number_of_tokens_read_is_exact(source: TorchSource, windows: pl.DataFrame) -> None:
    read = [batch.n_tokens for batch in source.events(windows, sequence=64) if batch.feature_set == 0]
    assert sum(read) == windows["n_tokens"].sum()


def test_a_second_run_gives_the_same_bits(source: TorchSource, windows: pl.DataFrame) -> None:
    assert events(source, windows) == events(source, windows)


def test_the_context_of_a_window_is_its_document_alone(source: TorchSource, windows: pl.DataFrame) -> None:
    alone = windows.filter(pl.col("document_id") == DOCUMENTS[1].document_id)
    together = {key: value for key, value in events(source, windows).items() if key[2] in alone["window_id"].to_list()}
    apart = events(source, alone)
    assert together.keys() == apart.keys()
    assert max(abs(together[key] - apart[key]) for key in apart) < 1e-4


def test_sequences_join_windows_of_one_document_up_to_a_length() -> None:
    documents, lengths = np.array([0, 0, 0, 0, 1, 2]), np.array([32, 32, 32, 20, 32, 16])
    assert sequences(documents, lengths, sequence=64).tolist() == [0, 2, 4, 5]
    assert sequences(documents, lengths, sequence=60).tolist() == [0, 1, 2, 4, 5]
    assert sequences(documents, lengths, sequence=10).tolist() == [0, 1, 2, 3, 4, 5]


def test_batches_hold_similar_lengths_within_the_token_budget() -> None:
    sizes = np.array([20, 256] * 60)
    groups = list(grouped(sizes, special=2))
    assert sorted(np.concatenate(groups).tolist()) == list(range(120))
    assert [len(group) * (int(sizes[group].max()) + 2) <= BATCH_TOKENS for group in groups] == [True] * len(groups)
    assert len(groups) == 5


def test_special_tokens_stand_around_each_sequence(source: TorchSource, windows: pl.DataFrame) -> None:
    tokenizer = source.model.tokenizer
    (batch,) = batches(windows, sequence=256, tokenizer=tokenizer)
    assert (tokenizer.before, tokenizer.after, tokenizer.padding) == ((101,), (102,), 0)
    assert batch.token_ids[:, 0].tolist() == [101] * 3
    assert not batch.counted[:, 0].any()
    last = batch.attention.sum(1) - 1
    assert batch.token_ids[torch.arange(3), last].tolist() == [102] * 3
    assert not batch.counted[torch.arange(3), last].any()


def test_layers_after_the_hook_are_not_kept(source: TorchSource) -> None:
    assert len(source.model._module.get_submodule("encoder.layer")) == 2  # type: ignore[arg-type]


def test_identities_follow_model_hook_and_dictionary(source: TorchSource, tmp_path: Path) -> None:
    first, second = source.feature_sets
    assert first.fingerprint != second.fingerprint
    assert (first.architecture, first.n_features, first.d_model) == ("topk", 64, 384)
    again = create(feature_sets=[feature_set(tmp_path)], threads=1)
    assert again.tokenizer_id == source.tokenizer_id
    assert again.feature_sets[0].fingerprint == first.fingerprint
    directions = source.directions(0)
    assert directions is not None
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, atol=2e-3)


def test_random_weights_are_the_same_however_many_layers_are_kept() -> None:
    short, long = (load_model("embedded/minilm-random", [f"encoder.layer.{i}"]).module for i in (0, 1))
    name = "encoder.layer.0.attention.self.query.weight"
    assert torch.equal(short.get_parameter(name), long.get_parameter(name))
    assert float(short.get_parameter(name).std()) == pytest.approx(0.02, rel=0.02)
    assert float(short.get_parameter("embeddings.word_embeddings.weight")[0, 0]) == pytest.approx(FIRST_DRAWN)
    assert weights_hash(short) != weights_hash(load_model("embedded/minilm", ["encoder.layer.0"]).module)


def test_random_weights_leave_biases_at_zero_and_norms_at_one() -> None:
    linear, norm = torch.nn.Linear(3, 3), torch.nn.LayerNorm(3)
    module = torch.nn.Sequential(linear, norm).requires_grad_(False)
    norm.weight.fill_(5)
    draw_weights(module)
    assert linear.bias.tolist() == [0, 0, 0]
    assert norm.weight.tolist() == [1, 1, 1]


def test_loading_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    load_model("embedded/minilm-random", ["encoder.layer.0"])
    outline("embedded/minilm")
    assert torch.equal(torch.rand(1), expected)


def test_an_unknown_hook_lists_the_nearest_modules() -> None:
    with pytest.raises(UsageError, match=r"no module named 'encoder\.layers\.2'.*encoder\.layer\.2"):
        load_model("embedded/minilm", ["encoder.layers.2"])


def test_a_module_that_reading_text_does_not_use_is_refused() -> None:
    model = open_model("embedded/minilm", ["encoder.layer"], device="cpu", threads=1)
    with pytest.raises(UsageError, match=r"encoder\.layer of 'embedded/minilm' takes no part"):
        _ = model.widths


def test_a_dictionary_of_another_width_is_refused_with_both_numbers(tmp_path: Path) -> None:
    wrong = replace(feature_set(tmp_path), dictionary=dictionary(tmp_path / "narrow", d_model=100))
    with pytest.raises(FeatlasError, match=r"is 100 wide, but 'encoder\.layer\.1' .* gives 384 numbers"):
        create(feature_sets=[wrong], threads=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "embedded/minilm-l6"}, "Did you mean"),
        ({"model": "no/such/folder/anywhere"}, "can't be loaded"),
        ({"hook": None}, "does not say its hook.* Set `hook`"),
        ({"device": "cuda:99"}, "`device` is 'cuda:99'"),
    ],
)
def test_settings_that_can_not_be_right_are_explained(
    tmp_path: Path, changes: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(FeatlasError, match=message):
        create(feature_sets=[replace(feature_set(tmp_path), **changes)], threads=1)


def test_one_source_reads_one_model(tmp_path: Path) -> None:
    sets: Sequence[TorchFeatureSet] = [
        feature_set(tmp_path),
        replace(feature_set(tmp_path), model="embedded/minilm-random"),
    ]
    with pytest.raises(UsageError, match="embedded/minilm on cpu in float32, embedded/minilm-random on cpu"):
        create(feature_sets=sets, threads=1)


def test_sequences_longer_than_the_model_reads_are_refused(source: TorchSource, windows: pl.DataFrame) -> None:
    with pytest.raises(UsageError, match=r"reads at most 512, 2 of them special\. Set `sequence` to 510"):
        next(source.events(windows, sequence=511))


def test_threads_and_dtype_are_checked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="`threads` is -1"):
        create(feature_sets=[feature_set(tmp_path)], threads=-1)
    with pytest.raises(UsageError, match="`dtype` is 'float8'; allowed: float32, bfloat16, float16"):
        create(feature_sets=[replace(feature_set(tmp_path), dtype="float8")], threads=1)  # type: ignore[arg-type]


def test_the_tokenizer_neither_pads_nor_cuts() -> None:
    backend = load_tokenizer("embedded/minilm").backend
    assert (backend.padding, backend.truncation) == (None, None)
