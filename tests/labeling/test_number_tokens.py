"""What is kept of an answer's log-probabilities: tokens with digits, at their places in the text, and nothing guessed."""

from __future__ import annotations

from math import log
from typing import Any

import pytest

from flows.fake_provider.logprobs import tokens_of, unsure, write_logprobs
from labeling.number_tokens import MOST_TOKENS, pack, read_number_tokens, unpack
from labeling.types import NumberToken

TEXT = '{"1": [0, 10]}'


def place(token: str, share: float = 1.0, **others: float) -> dict[str, Any]:
    listed = [{"token": other, "logprob": log(of)} for other, of in {token: share, **others}.items()]
    return {**listed[0], "top_logprobs": listed}


def test_numbers_are_kept_with_their_alternatives_and_words_are_not() -> None:
    found = read_number_tokens(TEXT, write_logprobs(TEXT, 20, unsure))
    assert found == (
        NumberToken(2, 3, (("1", 0.8), ("0", 0.1), ("2", 0.1))),
        NumberToken(7, 8, (("0", 0.8), ("1", 0.2))),
        NumberToken(10, 12, (("10", 0.8), ("9", 0.2))),
    )
    assert "".join(tokens_of(TEXT)) == TEXT


def test_a_token_that_could_have_been_a_digit_is_kept_and_unlikely_ones_are_not() -> None:
    logprobs = {"content": [place("[", **{"(": 0.1}), place("1", 0.5, **{"2": 1e-5}), place(",", 0.7, **{"0": 0.3})]}
    assert read_number_tokens("[1,", logprobs) == (
        NumberToken(1, 2, (("1", 0.5),)),
        NumberToken(2, 3, ((",", 0.7), ("0", 0.3))),
    )


def test_tokens_around_the_text_are_passed_over() -> None:
    logprobs = {"content": [place("<think>4</think>"), place("7"), place("<|im_end|>")]}
    assert read_number_tokens("7", logprobs) == (NumberToken(0, 1, (("7", 1.0),)),)


@pytest.mark.parametrize(
    "logprobs",
    [
        None, {}, [], "x", {"content": None}, {"content": []}, {"content": [{"token": "7"}]}, {"content": [place("8")]},
        {"content": [{"token": "7", "logprob": 3.0}]}, {"content": [{"token": "7", "logprob": None}]},
        {"content": [{"token": "7", "logprob": float("nan")}]}, {"content": [{"token": 7, "logprob": 0.0}]},
        {"tokens": ["7"], "token_logprobs": [0.0]},
    ],
)  # fmt: skip
def test_what_can_not_be_read_or_is_of_another_text_is_not_known(logprobs: Any) -> None:
    assert read_number_tokens("7", logprobs) is None


def test_an_answer_of_too_many_numbers_is_not_kept() -> None:
    n = MOST_TOKENS + 1
    assert read_number_tokens("7" * n, {"content": [place("7")] * n}) is None


def test_what_is_packed_is_unpacked_and_small() -> None:
    text = '{"1": [' + ", ".join(["0"] * 320) + "]}"
    found = read_number_tokens(text, write_logprobs(text, 20, unsure))
    packed = pack(found)
    assert packed is not None
    assert unpack(packed) == found
    assert len(packed) < 4_000
    assert (pack(None), unpack(None), unpack(pack(()))) == (None, None, ())
