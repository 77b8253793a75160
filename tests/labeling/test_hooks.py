from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch

from labeling.errors import UsageError
from labeling.sources._batches import Batch
from labeling.sources._hooks import find_place
from labeling.sources._torch_model import TorchModel, open_model
from tests.labeling.tiny_models import CONFIGS, LAYERS, WIDTH, save_tiny, tiny

LAYER = 1
IDS = torch.randint(3, 259, (1, 11), generator=torch.Generator().manual_seed(1))
NAMES = ("hook_resid_pre", "hook_resid_mid", "hook_resid_post", "hook_attn_out", "hook_mlp_out", "mlp.hook_in",
         "mlp.hook_post", "attn.hook_z", "ln1.hook_normalized", "ln2.hook_normalized")  # fmt: skip
Values = dict[str, torch.Tensor]
LayerOf = Callable[[str], Any]


of_family = lru_cache(tiny)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("families")
    return {name: save_tiny(name, root / name) for name in CONFIGS}


def opened(folder: str, hooks: Sequence[str]) -> TorchModel:
    return open_model(folder, hooks, device="cpu", threads=1)


def values(model: TorchModel) -> Values:
    """What is read at every hook for all of IDS: [tokens, width]."""
    everything = torch.ones_like(IDS, dtype=torch.bool)
    none = torch.zeros(IDS.shape[1], dtype=torch.int64)
    return model.activations(Batch(IDS, torch.ones_like(IDS), everything, none, none))


def hidden_states(name: str) -> list[torch.Tensor]:
    """The library's own: before each layer, and after the last one's norm."""
    with torch.inference_mode():
        states = of_family(name)(IDS, output_hidden_states=True).hidden_states
    return [state[0] for state in states]


def layer_of(name: str) -> Any:
    model = of_family(name)
    base = getattr(model, model.base_model_prefix)
    return (base.h if name == "gpt2" else base.layers)[LAYER]


def read_names(folder: str, name: str) -> Values:
    names = [each for each in NAMES if not (name == "pythia" and each == "hook_resid_mid")]
    read = values(opened(folder, [f"blocks.{LAYER}.{each}" for each in names]))
    return {each: read[f"blocks.{LAYER}.{each}"] for each in names}


def norms(name: str) -> tuple[Any, Any]:
    layer = layer_of(name)
    if name == "gpt2":
        return layer.ln_1, layer.ln_2
    second = layer.pre_feedforward_layernorm if name in ("gemma2", "gemma3") else layer.post_attention_layernorm
    return layer.input_layernorm, second


def added(name: str, part: str, output: torch.Tensor) -> torch.Tensor:
    """What a layer adds to the stream for the output of its attention or MLP."""
    layer = layer_of(name)
    if name not in ("gemma2", "gemma3"):
        return output
    norm: Any = layer.post_attention_layernorm if part == "attention" else layer.post_feedforward_layernorm
    after: torch.Tensor = norm(output)
    return after


def last_product(name: str, part: str) -> Any:
    layer = layer_of(name)
    if name == "gpt2":
        return layer.attn.c_proj if part == "attention" else layer.mlp.c_proj
    if name in ("pythia", "neox-serial"):
        return layer.attention.dense if part == "attention" else layer.mlp.dense_4h_to_h
    return layer.self_attn.o_proj if part == "attention" else layer.mlp.down_proj


def close(seen: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(seen, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_stream_around_a_layer_is_the_librarys_hidden_states(folders: dict[str, str], name: str) -> None:
    read, states = read_names(folders[name], name), hidden_states(name)
    close(read["hook_resid_pre"], states[LAYER])
    close(read["hook_resid_post"], states[LAYER + 1])


@pytest.mark.parametrize("name", CONFIGS)
def test_attention_and_mlp_out_are_what_is_added_to_the_stream(folders: dict[str, str], name: str) -> None:
    read, states = read_names(folders[name], name), hidden_states(name)
    close(states[LAYER] + read["hook_attn_out"] + read["hook_mlp_out"], states[LAYER + 1])
    if name != "pythia":
        close(states[LAYER] + read["hook_attn_out"], read["hook_resid_mid"])
    with torch.inference_mode():
        by_hand = added(name, "mlp", layer_of(name).mlp(norms(name)[1](read.get("hook_resid_mid", states[LAYER]))))
    close(read["hook_mlp_out"], by_hand)


@pytest.mark.parametrize("name", CONFIGS)
def test_heads_and_neurons_go_through_the_last_product_into_the_stream(folders: dict[str, str], name: str) -> None:
    read = read_names(folders[name], name)
    with torch.inference_mode():
        close(added(name, "attention", last_product(name, "attention")(read["attn.hook_z"])), read["hook_attn_out"])
        close(added(name, "mlp", last_product(name, "mlp")(read["mlp.hook_post"])), read["hook_mlp_out"])


@pytest.mark.parametrize("name", CONFIGS)
def test_normalized_values_come_before_the_learned_scale(folders: dict[str, str], name: str) -> None:
    read, states = read_names(folders[name], name), hidden_states(name)
    first, second = norms(name)
    inputs = {"ln1": states[LAYER], "ln2": read.get("hook_resid_mid", states[LAYER])}
    for norm, key in ((first, "ln1"), (second, "ln2")):
        seen = read[f"{key}.hook_normalized"]
        scale = norm.weight + 1 if name.startswith("gemma") else norm.weight
        shift = getattr(norm, "bias", None)
        with torch.inference_mode():
            close(seen * scale + (0 if shift is None else shift), norm(inputs[key]))
        close(seen.pow(2).mean(-1), torch.ones(len(seen)))
        assert not torch.allclose(seen, norm(inputs[key]), atol=1e-2)
    with torch.inference_mode():
        close(read["mlp.hook_in"], second(inputs["ln2"]))


def test_parallel_attention_and_mlp_leave_no_stream_between_them(folders: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="Attention and MLP read the same input"):
        opened(folders["pythia"], ["blocks.1.hook_resid_mid"])


SAME = [
    ("gpt2", "transformer.h.1", "h.1"),
    ("gpt2", "transformer.h.1", "blocks.1.hook_resid_post"),
    ("gpt2", "blocks.2.hook_resid_pre", "blocks.1.hook_resid_post"),
    ("gpt2", "transformer.h.2:input", "h.1"),
    ("gpt2", "transformer.h.1.ln_2:normalized", "blocks.1.ln2.hook_normalized"),
    ("gpt2", "transformer.h.1.mlp:output", "blocks.1.hook_mlp_out"),
    ("pythia", "gpt_neox.layers.1", "layers.1"),
    ("llama", "model.layers.1.mlp:input", "blocks.1.mlp.hook_in"),
    ("gemma2", "model.layers.1.post_feedforward_layernorm", "blocks.1.hook_mlp_out"),
]


@pytest.mark.parametrize(("name", "one", "other"), SAME)
def test_names_with_and_without_the_head_and_those_of_transformer_lens_are_one_place(
    folders: dict[str, str], name: str, one: str, other: str
) -> None:
    model = opened(folders[name], [one, other])
    assert model.places[one] == model.places[other]
    read = values(model)
    assert torch.equal(read[one], read[other])


def test_the_first_layers_input_is_what_the_embedding_gives(folders: dict[str, str]) -> None:
    model = opened(folders["gemma2"], ["blocks.0.hook_resid_pre"])
    close(values(model)["blocks.0.hook_resid_pre"], hidden_states("gemma2")[0])


@pytest.mark.parametrize(("hook", "kept"), [("h.1", 2), ("h.1:input", 1), ("blocks.0.hook_mlp_out", 1), ("h.2.mlp", 3)])
def test_layers_after_the_hook_are_neither_kept_nor_run(folders: dict[str, str], hook: str, kept: int) -> None:
    model = opened(folders["gpt2"], [hook])
    assert len(model._module.get_submodule("h")) == kept  # type: ignore[arg-type]
    ran: list[str] = []
    model._module.get_submodule("ln_f").register_forward_hook(lambda *_: ran.append("ln_f"))
    values(model)
    assert ran == []


def test_nothing_after_an_input_is_run(folders: dict[str, str]) -> None:
    model = opened(folders["llama"], ["model.layers.1.mlp:input"])
    ran: list[str] = []
    model._module.get_submodule("layers.1.mlp.down_proj").register_forward_hook(lambda *_: ran.append("mlp"))
    values(model)
    assert ran == []


def test_several_hooks_are_read_in_one_pass(folders: dict[str, str]) -> None:
    hooks = [f"blocks.{layer}.hook_resid_post" for layer in range(LAYERS - 1)] + ["blocks.1.mlp.hook_post"]
    model = opened(folders["qwen3"], hooks)
    passes: list[int] = []
    model._module.get_submodule("embed_tokens").register_forward_hook(lambda *_: passes.append(1))
    read, states = values(model), hidden_states("qwen3")
    assert passes == [1]
    for layer in range(LAYERS - 1):
        close(read[hooks[layer]], states[layer + 1])
    assert model.widths == dict(zip(hooks, (WIDTH, WIDTH, 24), strict=True))


@pytest.mark.parametrize(
    ("name", "hook", "said"),
    [
        ("gpt2", "transformer.h.9", ["h.2", "blocks."]),
        ("gpt2", "blocks.1.hook_resid_psot", ["blocks.1.hook_resid_post"]),
        ("llama", "model.layer.1", ["layers.1"]),
        ("llama", "blocks.7.hook_resid_post", ["3 layers", "blocks.2.hook_resid_post"]),
        ("gpt2", "encoder.layer.2", ["h.2", "blocks.2.hook_resid_pre"]),
        ("gpt2", "h.1:outptu", ["output, input, normalized"]),
        ("gpt2", "h.1.mlp:normalized", ["no layer norm"]),
    ],
)
def test_a_wrong_hook_is_answered_with_the_nearest_names(
    folders: dict[str, str], name: str, hook: str, said: list[str]
) -> None:
    with pytest.raises(UsageError) as refused:
        opened(folders[name], [hook])
    assert [word for word in [hook, *said] if word not in str(refused.value)] == []


def test_names_of_transformer_lens_are_not_guessed_for_other_families() -> None:
    with pytest.raises(UsageError, match=r"not known for models of the kind 'bert'.*module path"):
        open_model("embedded/minilm", ["blocks.1.hook_resid_post"], device="cpu", threads=1)


def test_gemma_3_with_images_is_read_in_its_language_model() -> None:
    from transformers import AutoConfig, AutoModel

    text = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24}
    vision = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28, "patch_size": 14}
    with torch.device("meta"):
        module = AutoModel.from_config(AutoConfig.for_model("gemma3", text_config=text, vision_config=vision))
    layer = "language_model.layers.1"
    assert str(find_place(module, "blocks.1.hook_mlp_out", model="m")) == f"{layer}.post_feedforward_layernorm"
    assert str(find_place(module, "blocks.2.hook_resid_pre", model="m")) == layer
    assert str(find_place(module, f"model.{layer}", model="m")) == layer
    assert str(find_place(module, "model.layers.1", model="m")) == layer  # as dictionaries of its text call it


def test_a_model_without_a_family_is_found_by_module_paths() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.LayerNorm(2))
    assert str(find_place(module, "1:normalized", model="m")) == "1:normalized"


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_other_numbers_are_used_inside_and_32_bits_come_out(folders: dict[str, str], dtype: Any) -> None:
    hook = "blocks.1.hook_resid_post"
    model = open_model(folders["llama"], [hook], device="cpu", threads=1, dtype=dtype)
    exact = opened(folders["llama"], [hook])
    assert {parameter.dtype for parameter in model._module.parameters()} == {getattr(torch, dtype)}
    assert values(model)[hook].dtype == torch.float32
    torch.testing.assert_close(values(model)[hook], values(exact)[hook], atol=0.1, rtol=0.1)
    assert model.weights != exact.weights


def test_weights_that_the_files_lack_are_not_made_up(folders: dict[str, str], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    from labeling.errors import FeatlasError

    folder = Path(save_tiny("gpt2", tmp_path / "holes"))
    tensors = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if "h.1.mlp.c_fc" not in name}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(FeatlasError, match=r"lack 2 of the weights.*h\.1\.mlp\.c_fc\.bias"):
        opened(str(folder), ["h.1"])
    assert opened(str(folder), ["h.0"]).widths == {"h.0": WIDTH}
