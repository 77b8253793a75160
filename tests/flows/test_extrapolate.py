"""Totals and their errors, against numbers computed by hand."""

from __future__ import annotations

import math

import pytest

from flows.budgets import prices
from flows.stages.billed import Billed
from flows.stages.extrapolate import Figure, LabelLength, Question, add, extrapolate, label_length, price_of_tokens

CENT_A_TOKEN = 0.01


def dollars(read: float, written: float) -> float:
    return CENT_A_TOKEN * read + 2 * CENT_A_TOKEN * written


def test_the_mean_of_the_drawn_features_stands_for_all_and_its_spread_for_the_error() -> None:
    exact = Billed(9, ratio=1.0, ratio_error=0.0, output_tokens=10.0, output_error=0.0)
    rendered = [[Question(400, 99.0)], [Question(400, 99.0, times=3)]]
    totals = extrapolate(rendered, n_features=10, seen=exact, label=None, cost_usd=dollars)
    # 1 and 3 requests: mean 2, standard deviation sqrt 2, 2 of 10 drawn
    error = 10 * math.sqrt(2) * math.sqrt(0.8 / 2)
    assert (totals.requests.value, totals.requests.error) == pytest.approx((20, error))
    assert (totals.prompt_tokens.value, totals.prompt_tokens.error) == pytest.approx((2_000, 100 * error))
    assert (totals.output_tokens.value, totals.cost_usd.value) == pytest.approx((200, 24.0))
    assert totals.cost_usd.error == pytest.approx(1.2 * error)


def test_before_any_bill_tokens_and_answers_are_guesses_that_say_so() -> None:
    totals = extrapolate([[Question(400, 50.0)]], n_features=1, seen=Billed(), label=None, cost_usd=dollars)
    assert totals.requests == Figure(1, 0.0)
    assert totals.prompt_tokens == Figure(100, 20.0, 20.0)
    assert totals.output_tokens == Figure(50, 25.0, 25.0)
    assert totals.cost_usd.error == pytest.approx(math.hypot(0.2, 0.5))


def test_bills_correct_the_tokens_and_bring_their_own_error() -> None:
    seen = Billed(4, ratio=1.5, ratio_error=0.15, output_tokens=20.0, output_error=1.0)
    totals = extrapolate([[Question(400, 99.0)]], n_features=1, seen=seen, label=None, cost_usd=dollars)
    prompt, output = totals.prompt_tokens, totals.output_tokens
    assert (prompt.value, prompt.error, prompt.of_guesses) == pytest.approx((150, 15, 15))
    assert (output.value, output.error, output.of_guesses) == pytest.approx((20, 1, 1))


def test_the_length_of_labels_that_are_not_written_is_an_error_of_every_question_that_holds_one() -> None:
    exact = Billed(9, ratio=2.0, ratio_error=0.0, output_tokens=10.0, output_error=0.0)
    questions = [Question(400, 0.0), Question(400, 0.0, times=5, label_guessed=True)]
    totals = extrapolate([questions], n_features=1, seen=exact, label=LabelLength(60.0, 20.0), cost_usd=dollars)
    assert totals.prompt_tokens.of_guesses == pytest.approx(5 * 20 / 4 * 2)


def test_nothing_rendered_is_nothing_asked() -> None:
    totals = extrapolate([], n_features=0, seen=Billed(), label=LabelLength(), cost_usd=dollars)
    assert (totals.requests, totals.cost_usd) == (Figure(0, 0), Figure(0, 0))


def test_errors_of_draws_average_out_in_a_sum_and_those_of_guesses_do_not() -> None:
    draws = add([Figure(1, 3.0), Figure(2, 4.0)])
    guesses = add([Figure(1, 3.0, 3.0), Figure(2, 4.0, 4.0)])
    assert (draws.value, draws.error, guesses.error) == (3, 5.0, 7.0)


def test_labels_that_are_written_say_how_long_the_others_will_be() -> None:
    assert label_length(["one"]) == LabelLength()
    length = label_length(["x" * 10, "x" * 20, "x" * 30, "x" * 40])
    assert (length.characters, length.error) == pytest.approx((25, math.sqrt(500 / 3) / 2))


def test_tokens_cost_what_the_table_says_cached_and_in_batches() -> None:
    plain = price_of_tokens(prices(), "openai/gpt-4o-mini", 0.0, in_batch=False)
    batch = price_of_tokens(prices(), "openai/gpt-4o-mini", 0.0, in_batch=True)
    cached = price_of_tokens(prices(), "openai/gpt-4o-mini", 1.0, in_batch=False)
    assert 0 < cached(100, 0) < plain(100, 0)
    assert batch(100, 10) == pytest.approx(plain(100, 10) / 2)
    assert plain(100, 10) == pytest.approx(100 * plain(1, 0) + 10 * plain(0, 1))
    assert price_of_tokens(prices(), "openai/unheard-of", 0.0, in_batch=False)(100, 10) == 0.0
