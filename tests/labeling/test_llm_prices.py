"""Prices: known ones are added up by kind of token, unknown ones stay unknown."""

from __future__ import annotations

from pathlib import Path

import pytest

from labeling.assets import asset
from labeling.errors import FeatlasError
from labeling.llm._prices import ModelPrice, Prices, load_prices
from labeling.types import Completion

PRICES = Prices("2025-11-30", {"openai/tiny": ModelPrice(input=2.0, output=10.0, cached_input=1.0, cache_write=4.0)})
UNCOUNTED = Completion("", "stop", None, None, None, 0.0, cache_write_input_tokens=None)
ANSWER = Completion("", "stop", 1_000_000, 300_000, 50_000, 0.0, cache_write_input_tokens=200_000)


def test_each_kind_of_token_has_its_price() -> None:
    assert PRICES.cost_usd("openai/tiny", ANSWER) == pytest.approx(0.5 * 2.0 + 0.3 * 1.0 + 0.2 * 4.0 + 0.05 * 10.0)


def test_a_dated_name_has_the_price_of_the_name() -> None:
    assert PRICES.cost_usd("openai/tiny-2025-01-31", ANSWER) == PRICES.cost_usd("openai/tiny", ANSWER)


def test_a_price_that_is_not_known_is_not_zero() -> None:
    assert PRICES.cost_usd("openai/tiny-preview", ANSWER) is None


def test_an_answer_whose_tokens_the_server_did_not_count_has_no_known_cost() -> None:
    uncounted = Completion("yes", "stop", None, None, None, 0.0)
    free = Prices("2026-01-01", {"openai/mine": ModelPrice(0, 0, 0, 0)})
    assert PRICES.cost_usd("openai/tiny", uncounted) is None
    assert free.cost_usd("openai/mine", uncounted) == 0.0


def test_the_committed_table_is_readable_and_dated() -> None:
    prices = load_prices(asset("prices.json"))
    assert len(prices.as_of) == 10
    assert all(price.cached_input <= price.input <= price.output for price in prices.models.values())


def test_prices_of_the_user_s_own_win_and_add_models() -> None:
    own = Prices("2026-01-01", {"openai/mine": ModelPrice(0, 0, 0, 0), "openai/tiny": ModelPrice(1, 1, 1, 1)})
    both = PRICES.with_own(own)
    assert both.cost_usd("openai/mine", ANSWER) == 0.0
    assert both.cost_usd("openai/tiny", ANSWER) == pytest.approx(1.05)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '{"models": {}}',
        '{"as_of": "", "models": {"a/b": {"input": 1}}}',
        '{"as_of": "", "models": {"a/b": {"input": 1, "output": -1}}}',
        "[]",
    ],
)
def test_a_table_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_text(text)
    with pytest.raises(FeatlasError, match=r"prices\.json cannot be read"):
        load_prices(path)


def test_what_nobody_counted_has_no_known_cost_except_where_everything_is_free() -> None:
    table = Prices("2026-01-01", {"openai/own": ModelPrice(0, 0, 0, 0), "openai/paid": ModelPrice(0, 1, 0, 0)})
    assert table.cost_usd("openai/own", UNCOUNTED) == 0
    assert table.cost_usd("openai/paid", UNCOUNTED) is None
    assert table.cost_usd("openai/other", UNCOUNTED) is None
