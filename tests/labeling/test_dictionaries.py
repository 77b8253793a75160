import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from labeling.assets import asset
from labeling.dictionaries import EMBEDDED, featlas, load
from labeling.dictionaries.featlas import TopKDictionary, rounded, save
from labeling.errors import FeatlasError, UsageError


def dictionary(*, n_features: int = 12, d_model: int = 4, k: int = 3) -> TopKDictionary:
    generator = torch.Generator().manual_seed(0)
    w_enc, w_dec = (torch.randn(n_features, d_model, generator=generator) for _ in range(2))
    b_enc, b_dec = (torch.randn(size, generator=generator) for size in (n_features, d_model))
    return rounded(TopKDictionary(w_enc=w_enc, b_enc=b_enc, w_dec=w_dec, b_dec=b_dec, k=k))


def saved(folder: Path) -> Path:
    save(dictionary(), folder, card={"model": "a model"})
    return folder


def spoil(folder: Path, name: str, tensor: torch.Tensor | None) -> None:
    tensors = load_file(folder / featlas.WEIGHTS)
    del tensors[name]
    save_file(tensors if tensor is None else {**tensors, name: tensor}, folder / featlas.WEIGHTS)


def rewrite_card(folder: Path, **values: Any) -> None:
    card = json.loads((folder / featlas.CARD).read_text())
    (folder / featlas.CARD).write_text(json.dumps({**card, **values}))


def test_codes_are_the_k_largest_positive_scores() -> None:
    one = TopKDictionary(
        w_enc=torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [-1.0, 0.0]]),
        b_enc=torch.tensor([0.0, 0.5, 0.0, 0.0]),
        w_dec=torch.eye(4, 2),
        b_dec=torch.tensor([1.0, 0.0]),
        k=2,
    )
    codes = one.encode(torch.tensor([[3.0, 1.0], [1.0, -1.0], [0.0, -9.0]]))
    # scores after taking off b_dec: [2, 1.5, 3, -2], [0, -0.5, -1, 0], [-1, -8.5, -10, 1]
    expected = torch.tensor([[2.0, 0, 3, 0], [0, 0, 0, 0], [0, 0, 0, 1]])
    assert torch.equal(codes.dense(4), expected)
    assert codes.row.tolist() == [0, 0, 2]
    assert torch.equal(one.decode(codes), torch.tensor([[3.0, 0.0], [1.0, 0.0], [1.0, 0.0]]))


def test_codes_equal_brute_force_whatever_the_grouping() -> None:
    one, x = dictionary(), torch.randn(50, 4, generator=torch.Generator().manual_seed(1))
    scores = torch.relu((x - one.b_dec) @ one.w_enc.T + one.b_enc)
    cut = scores.sort(dim=1, descending=True).values[:, 2:3]
    expected = torch.where(scores >= cut, scores, 0)
    torch.testing.assert_close(one.encode(x).dense(12), expected)
    parts = torch.cat([one.encode(x[:17]).dense(12), one.encode(x[17:]).dense(12)])
    torch.testing.assert_close(parts, expected)


def test_no_activations_give_no_codes() -> None:
    codes = dictionary().encode(torch.empty(0, 4))
    assert (len(codes.row), codes.n_rows) == (0, 0)


def test_a_saved_dictionary_reads_back_the_same(tmp_path: Path) -> None:
    read = load(str(saved(tmp_path)))
    assert read.fingerprint == dictionary().fingerprint
    assert (read.n_features, read.d_model, read.architecture) == (12, 4, "topk")
    np.testing.assert_array_equal(read.directions(), dictionary().w_dec.numpy())


def test_a_pair_of_files_is_a_dictionary_too(tmp_path: Path) -> None:
    save(dictionary(), tmp_path / "one.safetensors", card={})
    assert sorted(file.name for file in tmp_path.iterdir()) == ["one.json", "one.safetensors"]
    assert load(str(tmp_path / "one.safetensors")).fingerprint == dictionary().fingerprint


def test_the_fingerprint_follows_weights_and_k() -> None:
    prints = {dictionary(k=k).fingerprint for k in (2, 3)} | {dictionary(n_features=11).fingerprint}
    assert len(prints) == 3


def test_pickled_checkpoints_are_refused_with_a_way_to_convert(tmp_path: Path) -> None:
    (tmp_path / "sae.pt").touch()
    for place in (tmp_path, tmp_path / "sae.pt"):
        with pytest.raises(FeatlasError, match=r"pickled checkpoint \(sae\.pt\).*save_file"):
            load(str(place))


def test_a_folder_without_a_dictionary_says_what_was_seen(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(FeatlasError, match=r"Formats known: .*featlas.*Seen: notes\.txt"):
        load(str(tmp_path))


def test_a_path_or_name_that_does_not_exist_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere' does not exist"):
        load(str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match="Did you mean 'embedded/minilm-l2-2048'"):
        load("embedded/minilm-l2")


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("W_dec", None, r"has no tensor 'W_dec'; it holds W_enc, b_dec, b_enc"),
        ("W_enc", torch.zeros(12, 5), r"'W_enc' has shape \[12, 5\], but the card beside it says \[12, 4\]"),
        ("b_enc", torch.full((12,), float("nan")), r"'b_enc' has 12 values that are not finite"),
    ],
)
def test_wrong_weights_name_file_and_value(
    tmp_path: Path, name: str, tensor: torch.Tensor | None, message: str
) -> None:
    spoil(saved(tmp_path), name, tensor)
    with pytest.raises(FeatlasError, match=r"dictionary\.safetensors.*" + message):
        load(str(tmp_path))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"format": "other"}, "'format' is 'other', expected 'featlas-dictionary'"),
        ({"format_version": 2}, "'format_version' is 2, expected 1"),
        ({"k": 0}, "'k' is 0, expected a whole number above 0"),
        ({"k": 13}, "'k' is 13, expected at most 'n_features', which is 12"),
    ],
)
def test_a_wrong_card_names_file_key_and_value(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    rewrite_card(saved(tmp_path), **values)
    with pytest.raises(FeatlasError, match=rf"card\.json: {message}"):
        load(str(tmp_path))


def test_files_that_are_not_what_they_say_are_refused(tmp_path: Path) -> None:
    (saved(tmp_path) / featlas.WEIGHTS).write_bytes(b"nonsense")
    with pytest.raises(FeatlasError, match="not a readable safetensors file"):
        load(str(tmp_path))
    (tmp_path / featlas.CARD).write_text("{")
    with pytest.raises(FeatlasError, match="not readable JSON"):
        load(str(tmp_path))


@pytest.mark.parametrize("name", EMBEDDED)
def test_committed_dictionaries_load_and_have_unit_directions(name: str) -> None:
    directions = load(name).directions()
    assert directions is not None
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, atol=2e-3)


def test_the_committed_dictionary_keeps_its_promises() -> None:
    card = featlas.read_card(asset("minilm-l2-2048.json"))
    assert (card["n_features"], card["k"]) == (2048, 16)
    assert card["variance_explained_held_out"] >= 0.85
    assert card["dead_share"] <= 0.01
    assert card["dead_share_held_out"] <= 0.01
