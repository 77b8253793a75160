import numpy as np
import pytest
import torch

from labeling.topk_trainer import (
    TrainingSettings,
    _auxiliary,
    _first_weights,
    _Kept,
    _Order,
    geometric_median,
    rate_share,
    train,
)
from labeling.training import Halves, measure

SMALL = TrainingSettings(n_features=24, k=2, steps=400, batch=256, learning_rate=1e-2, auxiliary_k=8)


def planted(n: int = 6_000, *, n_directions: int = 16, d_model: int = 12, seed: int = 0) -> Halves:
    """Activations that are sums of two of `n_directions` directions, off a far center."""
    generator = np.random.default_rng(seed)
    directions = generator.standard_normal((n_directions, d_model))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    chosen = np.argsort(generator.random((n, n_directions)), axis=1)[:, :2]
    strength = generator.uniform(1, 2, size=(n, 2, 1))
    activations: Halves = ((directions[chosen] * strength).sum(1) + 5).astype(np.float16)
    return activations


def test_planted_directions_are_found() -> None:
    dictionary = train(planted(), settings=SMALL)
    quality = measure(dictionary, planted()[:1_000])
    assert quality.variance_explained > 0.9
    assert quality.n_tokens == 1_000


def test_the_same_seed_gives_the_same_bits_and_another_does_not() -> None:
    short = TrainingSettings(n_features=24, k=2, steps=5, batch=64)
    other = TrainingSettings(n_features=24, k=2, steps=5, batch=64, seed=1)
    prints = [train(planted(), settings=settings).fingerprint for settings in (short, short, other)]
    assert prints[0] == prints[1] != prints[2]


def test_training_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    train(planted(500), settings=TrainingSettings(n_features=24, k=2, steps=2, batch=64))
    assert torch.equal(torch.rand(1), expected)


def test_directions_have_length_one() -> None:
    dictionary = train(planted(), settings=TrainingSettings(n_features=24, k=2, steps=20, batch=64))
    torch.testing.assert_close(dictionary.w_dec.norm(dim=1), torch.ones(24))


def test_the_sparse_gradient_equals_the_dense_one() -> None:
    generator = torch.Generator().manual_seed(0)
    x, w, b = (torch.randn(*shape, generator=generator) for shape in ((7, 5), (9, 5), (9,)))
    scores = torch.addmm(b, x, w.T)
    kept = scores.topk(3, dim=1).indices
    ours, dense = ([w.clone().requires_grad_(True), b.clone().requires_grad_(True)] for _ in range(2))
    ours_loss = _Kept.apply(*ours, x, scores, kept).pow(2).sum()  # type: ignore[no-untyped-call]
    dense_loss = torch.addmm(dense[1], x, dense[0].T).gather(1, kept).pow(2).sum()
    gradients = torch.autograd.grad(ours_loss, ours), torch.autograd.grad(dense_loss, dense)
    for mine, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, expected)


def test_features_that_pay_for_being_on_fire_less() -> None:
    activations = planted()
    rates = [
        measure(
            train(activations, settings=TrainingSettings(24, 2, 300, 256, 3e-3, dense_rate=0.05, dense_weight=weight)),
            activations,
        ).rates.max()
        for weight in (0.0, 1.0)
    ]
    assert rates[1] < rates[0]


def test_the_auxiliary_loss_reaches_rare_features_only() -> None:
    sample = torch.from_numpy(planted(64).astype(np.float32))
    weights = _first_weights(sample, sample.mean(0), n_features=24, generator=np.random.default_rng(0))
    centered = sample - sample.mean(0)
    scores = (centered @ weights.w_enc.T).detach()
    loss = _auxiliary(weights, centered, centered, scores, torch.tensor([3, 5]), SMALL)
    (gradient,) = torch.autograd.grad(loss, [weights.w_dec])
    assert gradient.abs().sum(1).nonzero().flatten().tolist() == [3, 5]


def test_the_center_is_not_moved_by_outliers() -> None:
    points = torch.cat([torch.randn(99, 3, generator=torch.Generator().manual_seed(0)), torch.full((1, 3), 1e4)])
    assert float(geometric_median(points).norm()) < 0.5
    assert float(points.mean(0).norm()) > 100


def test_the_learning_rate_rises_stays_and_falls() -> None:
    shares = [rate_share(step, 100) for step in (0, 1, 40, 75, 99)]
    assert shares == pytest.approx([0.5, 1, 1, 0.5, 0.02])


def test_each_row_comes_once_in_a_pass() -> None:
    order = _Order(10, 4, np.random.default_rng(0))
    rows = np.concatenate([next(order) for _ in range(5)])
    assert sorted(rows[:10].tolist()) == sorted(rows[10:].tolist()) == list(range(10))
