"""Prompts are cut into templates and excerpts, stored once each, and come back character by character."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.scorers.detection import SYSTEM
from labeling.errors import FeatlasError
from labeling.ledger import Ledger
from labeling.ledger_prompts import PLACE, Excerpt, PromptParts, join_prompt, split_prompt
from labeling.prompts import quote, quote_marked, strict_object
from labeling.types import Completion, LLMRequest
from tests.labeling.llm_builders import request

MOST_BYTES = 2000
"""Of a request besides its answer."""
ANSWER = "{" + ", ".join(f'"{n}": {7 * n % 100}' for n in range(1, 21)) + "}"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite") as opened:
        yield opened


def test_excerpts_are_cut_out_and_marks_lifted_out_of_them() -> None:
    prompt = f'Label: "x"\n7 {quote_marked("the cat sat", [(4, 7)])}\n{quote("say " + chr(34) + "hi" + chr(34))}'
    assert split_prompt(prompt) == PromptParts(
        f"Label: {PLACE}\n7 {PLACE}\n{PLACE}",
        (Excerpt("x"), Excerpt("the cat sat", (4, 7)), Excerpt('say \\"hi\\"')),
    )


@given(st.text(st.sampled_from('a"\\\n<> ' + PLACE + "\ud800é"), max_size=40) | st.text(max_size=40))
def test_any_prompt_comes_back_character_by_character(prompt: str) -> None:
    assert join_prompt(split_prompt(prompt)) == prompt


@given(st.lists(st.text(max_size=20), max_size=5))
def test_every_quoted_text_is_found_whatever_it_holds(texts: list[str]) -> None:
    parts = split_prompt("\n".join(f"{n} {quote(text)}" for n, text in enumerate(texts)))
    assert len(parts.excerpts) == len(texts)


def test_requests_that_quote_the_same_text_share_it(ledger: Ledger) -> None:
    window = "a window of the corpus " * 8
    one = request(f'1 {quote(window)}\n2 "one"')
    other = request(f'1 "two"\n2 {quote_marked(window, [(2, 8)])}', repeat=1)
    keys = ledger.register([one, other])
    assert [ledger.request(key) for key in keys] == [one, other]
    with closing(sqlite3.connect(ledger.path)) as connection:
        # System, schema, one template, the window, "one" and "two".
        assert connection.execute("SELECT count(*) FROM texts").fetchone() == (6,)


def test_a_prompt_that_no_longer_matches_its_hash_is_an_error(ledger: Ledger) -> None:
    (key,) = ledger.register([request('1 "the window"')])
    with closing(sqlite3.connect(ledger.path)) as connection:
        connection.execute("UPDATE texts SET text = 'another' WHERE text = 'the window'")
        connection.commit()
    with pytest.raises(FeatlasError, match=f"{key} .*the prompt does not match its hash"):
        ledger.request(key)


@pytest.mark.parametrize(
    "damage", ["DELETE FROM texts", "UPDATE texts SET text = x'00'", "UPDATE requests SET excerpts = '['"]
)
def test_a_prompt_whose_texts_are_damaged_is_an_error(ledger: Ledger, damage: str) -> None:
    (key,) = ledger.register([request('1 "the window"')])
    with closing(sqlite3.connect(ledger.path)) as connection:
        connection.execute(damage)
        connection.commit()
    with pytest.raises(FeatlasError, match="cannot be rendered again"):
        ledger.request(key)


def test_texts_whose_short_hashes_are_equal_are_kept_apart(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labeling.ledger_texts._hash", lambda text: 1)
    asked = [request(f'{n} "{n} window"') for n in range(5)]
    assert [ledger.request(key) for key in ledger.register(asked)] == asked
    assert [ledger.request(key) for key in ledger.register(asked)] == asked


def test_a_judged_request_takes_less_than_two_kilobytes_besides_its_answer(ledger: Ledger) -> None:
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 10))) for _ in range(5000)]
    windows = [" ".join(rng.choices(words, k=24)) for _ in range(6000)]  # about 32 tokens each
    keys = ledger.register([_judge(windows, words, number) for number in range(2000)])
    for key in keys:
        ledger.claim(key)
    ledger.finish_many([(key, Completion(ANSWER, "stop", 1300, 0, 130, 1.2)) for key in keys])
    ledger.close()
    assert ledger.path.stat().st_size / len(keys) - len(ANSWER) < MOST_BYTES


def _judge(windows: list[str], words: list[str], number: int) -> LLMRequest:
    """One of five requests about a feature's hundred windows, which its own label and three controls share."""
    feature, part = random.Random(number // 20), number % 5
    chosen = feature.sample(windows, 100)[20 * part : 20 * part + 20]
    label = " ".join(random.Random(f"label {number // 5}").choices(words, k=8))
    lines = [f"Description: {quote(label)}", "", "Excerpts:", *(f"{n} {quote(w)}" for n, w in enumerate(chosen, 1))]
    schema = strict_object({str(n): {"type": "integer"} for n in range(1, 21)})
    return LLMRequest("openai/gpt-5-mini", SYSTEM, "\n".join(lines), schema, 700, "score")
