"""Formats without a library to compare with, against numbers computed by hand from the tensors in builders.py."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from labeling.dictionaries import Origin, load
from labeling.errors import FeatlasError, UsageError
from tests.labeling.dictionaries.builders import (
    B_DEC,
    B_ENC,
    W_DEC,
    W_ENC,
    Written,
    X,
    change,
    dictionary_learning,
    gemma_scope,
    llama_scope,
    openai_topk,
    sae_lens,
    sparsify,
    write_json,
    written,
)

Matrix = list[list[float]]


def check(dictionary: Written, codes: Matrix, *, rebuilt: Matrix | None = None, inputs: torch.Tensor = X) -> None:
    one = load(str(dictionary.path))
    found = one.encode(inputs)
    torch.testing.assert_close(found.dense(4), torch.tensor(codes, dtype=torch.float32), rtol=1e-5, atol=1e-6)
    if rebuilt is not None:
        torch.testing.assert_close(one.decode(found), torch.tensor(rebuilt), rtol=1e-5, atol=1e-6)


ABOVE_THRESHOLDS: Matrix = [[3, 0, 3, 0], [0, 0, 0, 0], [1.75, 0, 0, 0]]
"""Scores of x above THRESHOLD; 0.25 is not above 0.25."""


def test_sae_lens_jumprelu(tmp_path: Path) -> None:
    check(sae_lens(tmp_path), ABOVE_THRESHOLDS, rebuilt=[[10.0, 0], [1, 0], [4.5, 0]])
    origin = load(str(tmp_path)).origin
    assert origin == Origin(model="gpt2", hook="blocks.1.hook_resid_pre", prepend_bos=True, context_size=64)


def test_thresholds_are_sharp_and_negative_ones_are_zero(tmp_path: Path) -> None:
    dictionary = sae_lens(tmp_path)
    change(dictionary, "threshold", torch.tensor([2.999, -1.0, 3.0, 0.2499]))
    check(dictionary, [[3, 1.5, 0, 0], [0, 0, 0, 0.25], [0, 1.25, 0, 0]])


def test_sae_lens_configs_from_before_version_6_stand_flat(tmp_path: Path) -> None:
    flat = {"metadata": {}, "model_name": "gpt2-small", "hook_point": "blocks.8.hook_resid_pre", "context_size": 128}
    origin = load(str(sae_lens(tmp_path, **flat).path)).origin
    assert origin == Origin(model="gpt2-small", hook="blocks.8.hook_resid_pre", context_size=128)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "abstopk"}, "'architecture' is 'abstopk'; featlas reads .*jumprelu"),
        ({"d_in": 3}, r"'W_enc' has shape \[2, 4\], but cfg\.json says \[3, 4\]"),
        ({"d_sae": None}, "'d_sae' is None, expected a whole number above 0"),
        ({"architecture": "topk"}, "'k' is None, expected a whole number"),
        ({"architecture": "topk", "k": 5}, "'k' is 5, expected at most 'd_sae', which is 4"),
        ({"normalize_activations": "covariance_whitening"}, "'normalize_activations' is 'covariance_whitening'"),
        ({"apply_b_dec_to_input": "no"}, "'apply_b_dec_to_input' is 'no', expected true or false"),
        ({"activation_fn_str": "tanh-relu"}, "'activation_fn_str' is 'tanh-relu', which featlas can't use"),
    ],
)
def test_sae_lens_configs_that_cannot_be_used_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(FeatlasError, match=message):
        load(str(sae_lens(tmp_path, **changes).path))


def test_sae_lens_finetuned_scales_are_refused(tmp_path: Path) -> None:
    dictionary = sae_lens(tmp_path)
    change(dictionary, "scaling_factor", torch.ones(4))
    check(dictionary, ABOVE_THRESHOLDS)
    change(dictionary, "scaling_factor", torch.tensor([1.0, 1, 1, 2]))
    with pytest.raises(FeatlasError, match=r"sae_weights\.safetensors: 'scaling_factor' is not 1 everywhere"):
        load(str(tmp_path))


def test_a_factor_that_is_nowhere_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dictionary = sae_lens(tmp_path, normalize_activations="expected_average_only_in")
    check(dictionary, ABOVE_THRESHOLDS)
    assert "activations were scaled in training" in caplog.text
    caplog.clear()
    write_json(tmp_path / "activation_scaler.json", {"scaling_factor": 2.0})
    check(dictionary, [[6, 2.5, 7, 0], [0, 0, 0, 0], [3.5, 0, 4, 0]])
    assert not caplog.text


def test_gemma_scope(tmp_path: Path) -> None:
    dictionary = gemma_scope(tmp_path)
    check(dictionary, ABOVE_THRESHOLDS, rebuilt=[[10.0, 0], [1, 0], [4.5, 0]])
    expected = Origin("google/gemma-2-2b", "blocks.12.hook_resid_post", prepend_bos=True, context_size=1024)
    assert load(str(dictionary.path)).origin == expected
    assert load(str(dictionary.weights)).origin == expected


def test_gemma_scope_2(tmp_path: Path) -> None:
    tensors = {"w_enc": W_ENC.T, "b_enc": B_ENC, "w_dec": W_DEC, "b_dec": B_DEC, "threshold": torch.zeros(4)}
    config = {"architecture": "jump_relu", "model_name": "gemma-v3-1b-pt", "hf_hook_point_in": "model.layers.7.output"}
    write_json(tmp_path / "config.json", config)
    check(
        written(tmp_path, "params.safetensors", tensors, "w_enc"),
        [[3, 1.5, 3, 0], [0, 0, 0, 0.25], [1.75, 1.25, 1.5, 0]],
    )
    origin = load(str(tmp_path)).origin
    assert origin is not None
    assert (origin.model, origin.hook) == ("google/gemma-3-1b-pt", "model.layers.7")


@pytest.mark.parametrize(
    ("folder", "model", "hook"),
    [
        ("gemma-scope-2-1b-pt/resid_post/layer_7_width_16k_l0_small", "gemma-3-1b-pt", "model.layers.7"),
        (
            "gemma-scope-2-270m-pt/mlp_out/layer_5_width_16k",
            "gemma-3-270m",
            "model.layers.5.post_feedforward_layernorm",
        ),
        ("gemma-scope-2-4b-it/attn_out/layer_9_width_65k", "gemma-3-4b-it", "model.layers.9.self_attn.o_proj:input"),
        (
            "gemma-scope-2-4b-it/transcoder/layer_9_width_65k",
            "gemma-3-4b-it",
            "model.layers.9.pre_feedforward_layernorm",
        ),
    ],
)
def test_gemma_scope_2_without_a_config_is_known_by_its_path(
    tmp_path: Path, folder: str, model: str, hook: str
) -> None:
    tensors = {"w_enc": W_ENC.T, "b_enc": B_ENC, "w_dec": W_DEC, "b_dec": B_DEC, "threshold": torch.zeros(4)}
    origin = load(str(written(tmp_path / folder, "params.safetensors", tensors, "w_enc").path)).origin
    assert origin is not None
    assert (origin.model, origin.hook, origin.prepend_bos) == (f"google/{model}", hook, True)


def test_gemma_scopes_dictionaries_of_embeddings_read_them_as_the_model_scales_them(tmp_path: Path) -> None:
    tensors = {"W_enc": W_ENC.T, "W_dec": W_DEC, "b_enc": B_ENC, "b_dec": B_DEC, "threshold": torch.zeros(4)}
    folder = tmp_path / "gemma-scope-2b-pt-res" / "embedding" / "width_4k" / "average_l0_6"
    dictionary = load(str(written(folder, "params.npz", tensors, "W_enc").path))
    root = 2**0.5
    codes = dictionary.encode(X * root)
    assert codes.dense(4).tolist() == [
        pytest.approx(row) for row in [[3, 1.5, 3, 0], [0, 0, 0, 0.25], [1.75, 1.25, 1.5, 0]]
    ]
    assert dictionary.decode(codes)[0].tolist() == pytest.approx([10 * root, 1.5 * root])
    assert dictionary.origin == Origin("google/gemma-2-2b", "embed_tokens", prepend_bos=True, context_size=1024)


def test_gemma_scope_with_scales_of_features_is_refused(tmp_path: Path) -> None:
    dictionary = gemma_scope(tmp_path)
    change(dictionary, "scaling_factor", torch.ones(4))
    load(str(dictionary.path))
    change(dictionary, "scaling_factor", torch.full((4,), 1.1))
    with pytest.raises(FeatlasError, match=r"params\.npz: 'scaling_factor' is not 1 everywhere"):
        load(str(dictionary.path))


def test_pickled_arrays_in_an_npz_are_refused(tmp_path: Path) -> None:
    import numpy as np

    dictionary = gemma_scope(tmp_path)
    np.savez(dictionary.weights, W_enc=np.array([{"a": 1}], dtype=object))
    with pytest.raises(FeatlasError, match=r"params\.npz is not a readable npz file of plain arrays"):
        load(str(dictionary.path))


def test_sparsify_topk_and_groupmax(tmp_path: Path) -> None:
    check(
        sparsify(tmp_path / "a"),
        [[2, 0, 2, 0], [0, 0, 0, 1.25], [0.75, 1.25, 0, 0]],
        rebuilt=[[7.0, 0], [1, -1.25], [2.5, 1.25]],
    )
    check(sparsify(tmp_path / "b", activation="groupmax"), [[2, 0, 2, 0], [0, 0, 0, 1.25], [0, 1.25, 0.5, 0]])
    origin = load(str(tmp_path / "a" / "layers.3.mlp")).origin
    assert origin == Origin(model="EleutherAI/pythia-160m", hook="layers.3.mlp", context_size=2048)


def test_sparsify_transcoders_read_a_modules_input_as_it_is(tmp_path: Path) -> None:
    dictionary = sparsify(tmp_path, transcode=True, skip_connection=True)
    check(dictionary, [[3, 0, 3, 0], [0, 0, 0, 0.25], [1.75, 0, 1.5, 0]])
    origin = load(str(dictionary.path)).origin
    assert origin is not None
    assert origin.hook == "layers.3.mlp:input"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"signed": True}, "'signed' is True, which featlas can't use"),
        ({"gram_lookup": True}, "'gram_lookup' is True, which featlas can't use"),
        ({"activation": "relu"}, "'activation' is 'relu'; featlas reads groupmax, topk"),
        ({"k": 5}, "'k' is 5, expected at most 4"),
        ({"k": 3, "activation": "groupmax"}, "'k' is 3, expected a divisor of 4"),
        ({"num_latents": 8}, r"'W_dec' has shape \[4, 2\], but cfg\.json says \[8, any\]"),
    ],
)
def test_sparsify_configs_that_cannot_be_used_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(FeatlasError, match=message):
        load(str(sparsify(tmp_path, **changes).path))


@pytest.mark.parametrize(
    ("dict_class", "codes"),
    [
        ("AutoEncoder", [[2, 1.5, 2, 0], [0, 0, 0, 1.25], [0.75, 1.25, 0.5, 0]]),
        ("AutoEncoderNew", [[3, 1.5, 3, 0], [0, 0, 0, 0.25], [1.75, 1.25, 1.5, 0]]),
        ("AutoEncoderTopK", [[2, 0, 2, 0], [0, 0, 0, 1.25], [0.75, 1.25, 0, 0]]),
        ("BatchTopKSAE", [[2, 1.5, 2, 0], [0, 0, 0, 1.25], [0.75, 1.25, 0, 0]]),
        ("MatryoshkaBatchTopKSAE", [[2, 1.5, 2, 0], [0, 0, 0, 1.25], [0.75, 1.25, 0, 0]]),
        ("JumpReluAutoEncoder", ABOVE_THRESHOLDS),
        # without bias [2, 1, 3, -2], [-1, -2, -3, 1], [.75, .75, 1.5, -.75]; worth [s + .5, 2 s - 1, s, s] where the gate opens
        ("GatedAutoEncoder", [[2.5, 1, 3, 0], [0, 0, 0, 0], [0, 0.5, 0, 0]]),
    ],
)
def test_dictionary_learning(tmp_path: Path, dict_class: str, codes: Matrix) -> None:
    dictionary = dictionary_learning(tmp_path, dict_class)
    check(dictionary, codes)
    origin = load(str(dictionary.path)).origin
    assert origin == Origin(model="EleutherAI/pythia-70m", hook="blocks.3.hook_resid_post", context_size=128)


def test_dictionary_learning_refuses_what_does_not_agree(tmp_path: Path) -> None:
    dictionary = dictionary_learning(tmp_path)
    write_json(tmp_path / "config.json", {"trainer": {"dict_class": "CrossCoder"}})
    with pytest.raises(FeatlasError, match="'dict_class' is 'CrossCoder'; featlas reads AutoEncoder"):
        load(str(dictionary.path))
    with pytest.raises(FeatlasError, match=r"config\.json: 'k' is 3, but .*ae\.pt says 2 of 4 features"):
        load(str(dictionary_learning(tmp_path, "AutoEncoderTopK", k=3).path))


def test_openai_topk_normalizes_its_input(tmp_path: Path) -> None:
    # [3, 1] and [1, 3] are centered and divided by sqrt(2) + 1e-5: [n, -n] and [-n, n]
    n = 1 / (math.sqrt(2) + 1e-5)
    codes: Matrix = [[0, 0, 0, 1.25 - n], [0, n + 0.5, 0, n + 1.25]]
    rebuilt = [[2 + math.sqrt(2), 2 - math.sqrt(2) * (1.25 - n)], [2 + math.sqrt(2), 2 - math.sqrt(2) * 0.75]]
    dictionary = openai_topk(tmp_path)
    check(dictionary, codes, rebuilt=rebuilt, inputs=torch.tensor([[3.0, 1.0], [1.0, 3.0]]))
    assert load(str(dictionary.path)).origin == Origin(model="gpt2", hook="blocks.8.hook_resid_post")
    assert load(str(dictionary.path.parent)).n_features == 4


def test_openai_relu_does_not(tmp_path: Path) -> None:
    check(openai_topk(tmp_path, activation="ReLU"), [[2, 1.5, 2, 0], [0, 0, 0, 1.25], [0.75, 1.25, 0.5, 0]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activation": "Softmax"}, "'activation' is 'Softmax', expected 'TopK' or 'ReLU'"),
        ({"activation_state_dict": {"k": 9}}, "'k' is 9, expected at most 4"),
        ({"activation_state_dict": {"k": 2, "postact_fn": "Identity"}}, "'postact_fn' is 'Identity', expected 'ReLU'"),
        ({"activation_state_dict": {}}, "'k' is None, expected a whole number above 0"),
    ],
)
def test_openai_settings_that_cannot_be_used_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(FeatlasError, match=rf"8\.pt: {message}"):
        load(str(openai_topk(tmp_path, **changes).path))


def test_llama_scope(tmp_path: Path) -> None:
    # biases halved, decoder norms [2, 1, 1, 1] moved into the encoder: [2x, y + .25, x + y - .5, -x + .125], above 0.7
    norms = {"in": 2**0.5 / 2, "out": 2**0.5 / 2}
    dictionary = llama_scope(tmp_path, dataset_average_activation_norm=norms)
    check(dictionary, [[6, 1.25, 3.5, 0], [0, 0, 0, 0], [3.5, 1, 2, 0]], rebuilt=[[10.0, 1.25], [0.5, 0], [6, 1]])
    expected = Origin("meta-llama/Llama-3.1-8B", "blocks.3.hook_resid_post", prepend_bos=True, context_size=1024)
    assert load(str(dictionary.path)).origin == expected


def test_llama_scope_transcoders_have_two_scales(tmp_path: Path) -> None:
    # factors 2 and 4: decoder halved, its norms [1, .5, .5, .5] moved into the encoder, b_dec / 4
    dictionary = llama_scope(tmp_path, hook_point_out="blocks.3.hook_mlp_out")
    check(dictionary, [[3, 0, 1.75, 0], [0, 0, 0, 0], [1.75, 0, 1, 0]], rebuilt=[[5.0, 0], [0.25, 0], [3, 0]])


def test_llama_scope_refuses_other_activations(tmp_path: Path) -> None:
    with pytest.raises(FeatlasError, match="'act_fn' is 'topk'; featlas reads jumprelu"):
        load(str(llama_scope(tmp_path, act_fn="topk").path))


class Harmful:
    """Pickles as a call."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return Path.touch, (Path("harm"),)  # type: ignore[return-value]


def test_a_pickle_of_more_than_tensors_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for dictionary in (openai_topk(tmp_path / "a"), dictionary_learning(tmp_path / "b")):
        torch.save({"encoder.weight": W_ENC, "extra": Harmful()}, dictionary.weights)
        with pytest.raises(FeatlasError, match=rf"pickled checkpoint \({dictionary.weights.name}\).*save_file"):
            load(str(dictionary.path))
    assert not (tmp_path / "harm").exists()


def test_a_pickle_of_tensors_that_no_format_has_is_refused(tmp_path: Path) -> None:
    torch.save({"weight": W_ENC}, tmp_path / "a.pt")
    with pytest.raises(FeatlasError, match=r"pickled checkpoint \(a\.pt\).*it holds weight, which no known format"):
        load(str(tmp_path))
    torch.save([W_ENC], tmp_path / "a.pt")
    with pytest.raises(FeatlasError, match=r"a\.pt holds a list, expected the tensors"):
        load(str(tmp_path))


def test_a_folder_that_looks_like_two_formats_needs_the_format(tmp_path: Path) -> None:
    dictionary = sae_lens(tmp_path)
    written(tmp_path, "params.npz", {"W_enc": W_ENC.T}, "W_enc")
    with pytest.raises(UsageError, match=r"looks like gemma_scope and like sae_lens\. Set `format`"):
        load(str(tmp_path))
    assert load(str(dictionary.path), format="sae_lens").n_features == 4
