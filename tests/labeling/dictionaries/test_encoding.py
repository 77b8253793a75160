from collections.abc import Iterator

import pytest
import torch

from labeling.dictionaries import _encoding
from labeling.dictionaries._encoding import (
    SCORES_AT_ONCE,
    AboveZero,
    Block,
    Encoder,
    Found,
    GroupMax,
    Rule,
    TopK,
    block_shape,
    encode,
    largest,
)


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def encoder(n_features: int, d_model: int = 6) -> Encoder:
    return Encoder(drawn(n_features, d_model), drawn(n_features, seed=1) - 1)


def dense(one: Encoder, inputs: torch.Tensor) -> torch.Tensor:
    return torch.addmm(one.bias, inputs, one.weight.T)


@pytest.fixture(params=["one block", "many blocks"])
def _blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they come, and blocks of 5 rows and 48 features."""
    if request.param == "many blocks":
        monkeypatch.setattr(_encoding, "FEATURES_AT_ONCE", 48)
        monkeypatch.setattr(_encoding, "SCORES_AT_ONCE", 5 * 48)
        monkeypatch.setattr(_encoding, "PIECES_FROM", 16)


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize("k", [1, 5, 60])
def test_topk_over_blocks_is_the_topk_of_all(k: int) -> None:
    one, inputs = encoder(200), drawn(23, 6, seed=2)
    scores = dense(one, inputs)
    cut = scores.topk(k, dim=1).values[:, -1:]
    expected = torch.where((scores >= cut) & (scores > 0), scores, 0)
    codes = encode(one, TopK(k), inputs)
    torch.testing.assert_close(codes.dense(200), expected)
    assert codes.row.tolist() == sorted(codes.row.tolist())


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize("n_features", [200, 192])
def test_thresholds_over_blocks_keep_what_is_above_them(n_features: int) -> None:
    one, inputs = encoder(n_features), drawn(23, 6, seed=2)
    gain, offset = drawn(n_features, seed=3).exp(), drawn(n_features, seed=4)
    scores = dense(one, inputs)
    codes = encode(one, AboveZero(), inputs)
    torch.testing.assert_close(codes.dense(n_features), scores.clamp(min=0))
    assert codes.row.tolist() == sorted(codes.row.tolist())
    worth = torch.where(scores > 0, (gain * scores + offset).clamp(min=0), 0)
    codes = encode(one, AboveZero(gain=gain, offset=offset), inputs)
    torch.testing.assert_close(codes.dense(n_features), worth)
    assert float(codes.value.min()) > 0


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize("group", [1, 10, 50, 200])
def test_group_maxima_over_blocks_are_those_of_whole_groups(group: int) -> None:
    one, inputs = encoder(200), drawn(23, 6, seed=2)
    groups = dense(one, inputs).view(23, -1, group)
    best = groups.max(dim=2, keepdim=True)
    expected = torch.zeros_like(groups).scatter(2, best.indices, best.values.clamp(min=0)).view(23, 200)
    torch.testing.assert_close(encode(one, GroupMax(group), inputs).dense(200), expected)


@pytest.mark.parametrize("rule", [TopK(2), AboveZero(), GroupMax(5)], ids=lambda rule: type(rule).__name__)
def test_nothing_gives_nothing(rule: Rule) -> None:
    codes = encode(encoder(10), rule, torch.empty(0, 6))
    assert (len(codes.row), codes.n_rows) == (0, 0)
    silent = Encoder(torch.zeros(10, 6), -torch.ones(10))
    assert len(encode(silent, rule, torch.ones(3, 6)).row) == 0


def test_a_block_never_holds_more_scores_than_stated() -> None:
    for n_features in (1, 2_048, 65_536, 1_048_576, 3_000_000):
        rows, features = block_shape(n_features)
        assert 1 <= rows * features <= SCORES_AT_ONCE
    rows, features = block_shape(1_048_576, group=4_096 * 3)
    assert (features % (4_096 * 3), rows * features <= SCORES_AT_ONCE) == (0, True)


def test_only_one_block_of_scores_exists_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[int] = set()

    def watched(blocks: Iterator[Block]) -> Iterator[Block]:
        for first, scores in blocks:
            seen.add(scores.untyped_storage().data_ptr())
            yield first, scores

    class Watching(TopK):
        def find(self, blocks: Iterator[Block]) -> Found:
            return super().find(watched(blocks))

    monkeypatch.setattr(_encoding, "FEATURES_AT_ONCE", 16)
    encode(encoder(200), Watching(3), drawn(40, 6))
    assert len(seen) == 1


@pytest.mark.parametrize("width", [4_096, 4_104, 5_000, 9_001])
@pytest.mark.parametrize("k", [1, 32, 100])
def test_looking_through_pieces_finds_the_largest(width: int, k: int) -> None:
    scores = drawn(30, width)
    value, column = largest(scores, k)
    torch.testing.assert_close(value.sort(dim=1).values, scores.topk(k, dim=1).values.flip(1), rtol=0, atol=0)
    torch.testing.assert_close(scores.gather(1, column), value, rtol=0, atol=0)
    assert all(len(set(row)) == k for row in column.tolist())


def test_equal_scores_do_not_hide_larger_ones() -> None:
    scores = torch.ones(2, 4_096)
    scores[:, [0, 512, 1024, 7]] = torch.tensor([3.0, 4.0, 5.0, 2.0])  # three of them in one piece
    value, _ = largest(scores, 6)
    assert value.sort(dim=1, descending=True).values.tolist() == [[5, 4, 3, 2, 1, 1]] * 2
