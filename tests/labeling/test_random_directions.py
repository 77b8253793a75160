"""Random directions that are as sparse as a dictionary."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from labeling.dictionaries import load
from labeling.dictionaries.featlas import RANDOM_DIRECTIONS, save
from labeling.random_directions import firing_rates, match_rates


def tokens(n: int, seed: int = 0) -> np.ndarray:
    """Activations [n, 32] that are no ball: some axes are much longer than others, and far from 0."""
    generator = np.random.default_rng(seed)
    return (generator.standard_normal((n, 32)) * np.linspace(0.2, 4, 32) + 3).astype(np.float16)


def test_each_direction_fires_as_often_as_it_was_asked_to() -> None:
    rates = torch.cat([torch.linspace(0.002, 0.2, 150), torch.zeros(1)])
    made = match_rates(rates, tokens(9000), tokens(3000, seed=1), generator=np.random.default_rng(0))
    found = firing_rates(made, tokens(9000), tokens(3000, seed=1))
    torch.testing.assert_close(found, rates, atol=0.003, rtol=0.1)
    assert found[-1] == 0


def test_directions_are_of_unit_length_and_follow_from_the_seed() -> None:
    rates = torch.full((20,), 0.05)
    first, again, other = (
        match_rates(rates, tokens(500), generator=np.random.default_rng(seed)).w_enc for seed in (0, 0, 1)
    )
    torch.testing.assert_close(first.norm(dim=1), torch.ones(20), atol=1e-3, rtol=0)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_it_is_read_back_as_what_it_is(tmp_path: Path) -> None:
    made = match_rates(torch.full((6,), 0.1), tokens(400), generator=np.random.default_rng(0))
    save(made, tmp_path / "random", card={"model": "m", "hook": "h", "sequence": 256})
    found = load(str(tmp_path / "random"))
    assert (found.architecture, found.n_features, found.d_model) == (RANDOM_DIRECTIONS, 6, 32)
    torch.testing.assert_close(firing_rates(found, tokens(400)), firing_rates(made, tokens(400)))


@pytest.mark.slow
def test_the_command_makes_a_control_of_the_embedded_dictionary(tmp_path: Path) -> None:
    from tests.flows.mini import featlas

    ran = featlas("random-directions", tmp_path / "control", "--max-tokens", "12000", "--threads", "1")
    assert ran.code == 0, ran.err
    assert "2,048 random directions" in ran.out
    assert load(str(tmp_path / "control")).architecture == RANDOM_DIRECTIONS
