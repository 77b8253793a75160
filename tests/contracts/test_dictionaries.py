"""What every dictionary format does, whatever its files look like."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import labeling.dictionaries
from labeling import registry
from labeling.dictionaries import Dictionary, fitted, load
from labeling.errors import FeatlasError, UsageError
from tests.labeling.dictionaries.builders import BUILDERS, Written, X, change, read_tensors

FORMATS = registry.names(labeling.dictionaries)


@pytest.fixture(params=FORMATS)
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Written:
    return BUILDERS[request.param](tmp_path)


@pytest.fixture
def dictionary(written: Written) -> Dictionary:
    return load(str(written.path))


def test_every_format_has_a_builder() -> None:
    assert set(FORMATS) == set(BUILDERS)


def test_it_says_its_size_and_what_it_was_trained_on(dictionary: Dictionary) -> None:
    assert (dictionary.n_features, dictionary.d_model) == (4, 2)
    assert dictionary.architecture
    assert dictionary.origin is not None
    assert dictionary.origin.model
    assert dictionary.origin.hook
    directions = dictionary.directions()
    assert directions is not None
    assert directions.shape == (4, 2)
    assert directions.dtype == np.float32


@pytest.mark.parametrize("format", FORMATS)
def test_the_format_can_be_named(tmp_path: Path, format: str) -> None:
    path = str(BUILDERS[format](tmp_path).path)
    assert load(path, format=format).fingerprint == load(path).fingerprint
    with pytest.raises(UsageError, match=r"no dictionary format named 'sae_lenz'\. Did you mean 'sae_lens'"):
        load(path, format="sae_lenz")


def test_codes_are_positive_sorted_and_the_same_in_any_grouping(dictionary: Dictionary) -> None:
    inputs = torch.cat([X, 3 * torch.randn(40, 2, generator=torch.Generator().manual_seed(0))])
    codes = dictionary.encode(inputs)
    assert (codes.row.dtype, codes.feature.dtype, codes.value.dtype) == (torch.int64, torch.int64, torch.float32)
    assert codes.n_rows == len(inputs)
    assert len(codes.value) > 0
    assert float(codes.value.min()) > 0
    assert codes.row.tolist() == sorted(codes.row.tolist())
    parts = torch.cat([dictionary.encode(part).dense(4) for part in (inputs[:7], inputs[7:])])
    torch.testing.assert_close(parts, codes.dense(4))
    assert torch.equal(dictionary.to("cpu").encode(inputs).dense(4), codes.dense(4))


def test_no_activations_give_no_codes(dictionary: Dictionary) -> None:
    codes = dictionary.encode(torch.empty(0, 2))
    assert (len(codes.row), codes.n_rows, dictionary.decode(codes).shape) == (0, 0, (0, 2))


def test_decoding_is_affine_in_the_codes(dictionary: Dictionary) -> None:
    codes, directions = dictionary.encode(X), dictionary.directions()
    assert directions is not None
    rebuilt = dictionary.decode(codes)
    nothing = dictionary.decode(
        type(codes)(codes.row[:0], codes.feature[:0], codes.value[:0], 3, codes.scale, codes.shift)
    )
    scale = 1 if codes.scale is None else codes.scale
    torch.testing.assert_close(rebuilt - nothing, codes.dense(4) @ torch.from_numpy(directions) * scale)


def test_the_fingerprint_follows_the_weights(written: Written) -> None:
    before = load(str(written.path)).fingerprint
    assert load(str(written.path)).fingerprint == before
    encoder = read_tensors(written.weights)[written.encoder]
    change(written, written.encoder, encoder + 1)
    assert load(str(written.path)).fingerprint != before


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda encoder: None, "has no tensor '{}'; it holds .*"),
        (lambda encoder: encoder * float("nan"), "'{}' has 8 values that are not finite"),
        (lambda encoder: encoder.clone().fill_(float("inf")), "'{}' has 8 values that are not finite"),
        (lambda encoder: encoder.to(torch.int8), "'{}' holds int8 numbers, expected floating point"),
        (lambda encoder: encoder[0], r"'{}' has shape \[\d\]"),
        (lambda encoder: encoder[:, :0], r"'{}' (is empty|has shape \[\d, 0\])"),
    ],
    ids=["missing", "nan", "infinite", "quantized", "one row", "no column"],
)
def test_wrong_tensors_are_refused_by_file_and_name(
    written: Written, spoil: Callable[[torch.Tensor], torch.Tensor | None], message: str
) -> None:
    change(written, written.encoder, spoil(read_tensors(written.weights)[written.encoder]))
    with pytest.raises(FeatlasError, match=rf"{written.weights.name}.*{message.format(written.encoder)}"):
        load(str(written.path))


def test_weights_of_another_size_are_refused(written: Written) -> None:
    encoder = read_tensors(written.weights)[written.encoder]
    change(written, written.encoder, torch.cat([encoder, encoder], dim=int(encoder.shape[0] == 2)))
    with pytest.raises(FeatlasError, match=rf"{written.weights.name}.*has shape"):
        load(str(written.path))


@pytest.mark.parametrize("content", [b"", b"nonsense"], ids=["empty", "nonsense"])
def test_files_that_are_not_what_they_say_are_refused(written: Written, content: bytes) -> None:
    written.weights.write_bytes(content)
    with pytest.raises(FeatlasError, match=written.weights.name):
        load(str(written.path))


def test_half_precision_weights_are_read_as_32_bit(written: Written) -> None:
    encoder = read_tensors(written.weights)[written.encoder]
    exact = load(str(written.path)).encode(X).dense(4)
    change(written, written.encoder, encoder.half())
    torch.testing.assert_close(load(str(written.path)).encode(X).dense(4), exact)


@pytest.mark.parametrize(
    ("name", "expected"), [("neurons", [[3, 0], [0, 0]]), ("directions", [[3, 0, 0, 1], [0, 0, 0, 2]])]
)
def test_units_of_the_model_are_a_dictionary_too(name: str, expected: list[list[float]]) -> None:
    one, inputs = fitted(load(name), width=2), torch.tensor([[3.0, -1.0], [0.0, -2.0]])
    codes = one.encode(inputs)
    assert codes.dense(one.n_features).tolist() == expected
    assert (one.architecture, one.d_model, one.directions()) == (name, 2, None)
    assert one.fingerprint != fitted(load(name), width=3).fingerprint
    if name == "directions":
        assert torch.equal(one.decode(codes), inputs)
    with pytest.raises(UsageError, match=r"'neuron' does not exist.* or neurons or directions"):
        load("neuron")
