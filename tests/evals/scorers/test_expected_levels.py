"""Expected levels are the known ones of known distributions, however the tokenizer cuts the numbers."""

from __future__ import annotations

import pytest

from evals.scorers._expected import expected_levels
from labeling.types import NumberToken

Choices = dict[str, float]


def tokens(*pieces: str | tuple[str, Choices]) -> tuple[str, list[NumberToken]]:
    """A text from its tokens; those with other choices or digits are kept, as by `labeling/number_tokens.py`."""
    text, kept = "", []
    for piece in pieces:
        token, others = piece if isinstance(piece, tuple) else (piece, {})
        start, text = len(text), text + token
        choices = {token: 1 - sum(others.values()), **others}
        if any(character.isdecimal() for choice in choices for character in choice):
            kept.append(NumberToken(start, len(text), tuple(choices.items())))
    return text, kept


def expected(*pieces: str | tuple[str, Choices], written: list[int], key: str = "1") -> list[float]:
    text, kept = tokens(*pieces)
    return list(expected_levels(text, kept, key, written))


def test_a_number_of_its_own_has_the_mean_of_its_distribution() -> None:
    found = expected('{"', "1", '": [', ("7", {"8": 0.3, "3": 0.1}), ",", " ", ("0", {}), "]}", written=[7, 0])
    assert found == pytest.approx([0.6 * 7 + 0.3 * 8 + 0.1 * 3, 0.0])


def test_shares_are_renormalised_over_the_levels_alone() -> None:
    found = expected('{"1": [', ("4", {"6": 0.3, "x1": 0.1, "11": 0.1, "07": 0.1, "-2": 0.1}), "]}", written=[4])
    assert found == pytest.approx([(0.3 * 4 + 0.3 * 6) / 0.6])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((" 2", {"2": 0.1, " 4": 0.3}), ("5", {})),
        (("2,", {"4,": 0.3, "2": 0.1}), ("5", {})),
        (("[2", {"[4": 0.3, "[ 2": 0.1}), ("5", {})),
        (("2,5", {"4,5": 0.2, "4,6": 0.1, "2]": 0.1}), ("]", {})),
    ],
    ids=["with its space", "with the comma", "with the bracket", "with another number"],
)
def test_a_number_may_share_its_token(first: tuple[str, Choices], second: tuple[str, Choices]) -> None:
    opening = () if first[0].startswith("[") else ("[",)
    between = () if "," in first[0] else (", ",)
    closing = () if second[0] == "]" else ("]",)
    found = expected('{"1":', *opening, first, *between, second, *closing, "}", written=[2, 5])
    assert found[0] == pytest.approx(0.7 * 2 + 0.3 * 4)
    assert found[1] == pytest.approx(5)


def test_a_ten_in_one_token_is_a_choice_like_the_others() -> None:
    assert expected('{"1":[', ("10", {"1": 0.2, "9": 0.3}), "]}", written=[10]) == pytest.approx([5 + 0.2 + 2.7])


def test_a_ten_in_two_tokens_shares_its_first_digit_with_one() -> None:
    found = expected('{"1":[', ("1", {"8": 0.4}), ("0", {",": 0.25}), "]}", written=[10])
    assert found == pytest.approx([0.4 * 8 + 0.6 * (0.75 * 10 + 0.25 * 1)])


def test_a_one_that_could_have_become_a_ten_is_partly_a_ten() -> None:
    found = expected('{"1":[', ("1", {}), (",", {"0": 0.2}), ("3", {}), "]}", written=[1, 3])
    assert found == pytest.approx([0.8 * 1 + 0.2 * 10, 3])


def test_lists_are_found_by_their_key_wherever_they_stand() -> None:
    pieces = ("thought: [", "4", "]</think>", '{"', "2", '": [', "9", '], "', "1", '": [', ("2", {"3": 0.5}), "]}")
    assert expected(*pieces, written=[2]) == pytest.approx([2.5])
    assert expected(*pieces, key="2", written=[9]) == pytest.approx([9])


@pytest.mark.parametrize("written", [[3], [2, 2], []])
def test_levels_that_are_not_those_of_the_text_have_no_expected_ones(written: list[int]) -> None:
    assert expected('{"1": [', ("2", {}), "]}", written=written) == []


def test_one_number_without_probabilities_leaves_its_list_without_expected_levels() -> None:
    text, kept = tokens('{"', "1", '": [', "2", ",", "3", "]}")
    assert expected_levels(text, kept, "1", [2, 3]) == (2.0, 3.0)
    assert expected_levels(text, kept[:-1], "1", [2, 3]) == ()
    assert expected_levels(text, [], "1", [2, 3]) == ()
    assert expected_levels(text, kept, "9", [2, 3]) == ()
