"""Simulation correlates levels with activations over all tokens together, sign kept, lengths checked."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from evals.scorers._correlation import correlate, pearson
from evals.scorers.simulation import Simulation, create, token_pieces
from evals.trials import Asked, Judged
from flows.fake_provider.logprobs import unsure, write_logprobs
from labeling.llm.scripted import Script
from labeling.number_tokens import read_number_tokens
from labeling.types import Completion, Label, LLMRequest
from tests.builders import windows_of
from tests.contracts.small_subject import feature_subject, judge_subject

SCORER = create(model="scripted/x")
LINE = re.compile(r"^(\d+) \((\d+) tokens\) (\[.*\])$", re.MULTILINE)


def by_token(level_of: dict[str, int], *, otherwise: int = 0) -> Script:
    def answer(request: LLMRequest) -> str:
        excerpts = LINE.findall(request.user)
        return json.dumps(
            {n: [level_of.get(t.strip(), otherwise) for t in json.loads(tokens)] for n, _, tokens in excerpts}
        )

    return answer


def measure(judge: Script) -> dict[str, float]:
    subject, windows = feature_subject(Label("cats"))
    table = SCORER.measure([judge_subject(SCORER, subject, windows, judge)]).table
    return dict(zip(table.metric, table.value[:, 0].tolist(), strict=True))


def judged(levels: list[list[float]], activations: list[list[float]], variant: str = "q1") -> Judged:
    n = len(levels)
    return Judged(
        variant=np.array([variant] * n), truth=np.full(n, np.nan), grade=np.zeros(n), weight=np.ones(n),
        options=np.zeros(n, np.int64), document=np.arange(n), reason=(None,) * n,
        levels=tuple(map(tuple, levels)), activations=tuple(map(tuple, activations)),
    )  # fmt: skip


def test_the_correlation_is_over_all_tokens_together_not_the_mean_over_windows() -> None:
    levels, activations = [[0.0, 1.0], [5.0, 4.0], [0.0, 0.0]], [[0.0, 2.0], [9.0, 10.0], [0.0, 0.0]]
    found = correlate(judged(levels, activations))
    assert found.value == pytest.approx(np.corrcoef(np.ravel(levels), np.ravel(activations))[0, 1])
    assert found.low < found.value < found.high


def test_weights_stand_for_windows() -> None:
    x, y = np.array([0.0, 1.0, 2.0]), np.array([0.0, 3.0, 1.0])
    repeated = np.corrcoef([0, 1, 1, 1, 2], [0, 3, 3, 3, 1])[0, 1]
    assert pearson(x, y, np.array([1.0, 3.0, 1.0])) == pytest.approx(repeated)


def test_a_judge_who_knows_the_tokens_is_near_one_and_every_sampling_has_its_number() -> None:
    found = measure(by_token({"cat": 8, "s": 8}))
    assert 0.5 < found["correlation"] < 1
    assert found["correlation_top_and_random"] > found["correlation_q1"] - 0.3
    assert all(np.isfinite(value) for value in found.values())


def test_trap_4_of_methods_2_4_a_contrary_simulation_is_negative() -> None:
    known, contrary = measure(by_token({"cat": 8, "s": 8})), measure(by_token({"cat": 1, "s": 1}, otherwise=9))
    assert contrary["correlation"] == pytest.approx(-known["correlation"], abs=1e-6)
    assert contrary["correlation"] < -0.5


@pytest.mark.parametrize("change", [-1, 1, -17])
def test_trap_5_of_methods_2_4_a_list_of_another_length_is_lost_and_never_filled_with_zeros(change: int) -> None:
    subject, windows = feature_subject(Label("cats"))
    asked = (Asked(subject, SCORER.trials(subject, windows)),)
    request = SCORER.requests(asked, windows)[0]
    answer = json.loads(by_token({"cat": 8})(request))  # type: ignore[arg-type]
    answer["2"] = [0] * max(len(answer["2"]) + change, 0)
    assert SCORER.problem(request, json.dumps(answer)) == "wrong_length"
    results = [Completion(json.dumps(answer), "stop", 1, 0, 1, 0.0) for _ in SCORER.requests(asked, windows)]
    first = [one for one in SCORER.parse(asked, windows, results)[0] if one.request == 0]
    lost = [one for one in first if one.reason]
    assert [(one.reason, one.place, one.levels) for one in lost] == [("wrong_length", 2, ())]
    assert all(np.isnan(one.grade) for one in lost)


def test_constant_levels_have_no_correlation_but_a_reason() -> None:
    subject, windows = feature_subject(Label("cats"))
    table = SCORER.measure([judge_subject(SCORER, subject, windows, by_token({}))]).table
    assert np.isnan(table.value).all()
    assert set(table.reason.ravel()) == {"every predicted level was 0"}


def test_pieces_of_a_window_join_to_its_text_and_are_as_many_as_its_tokens() -> None:
    windows = windows_of(["cat", "##s", "sat", '"x"'], ["a"])
    assert token_pieces(windows, 0) == ["cat", "s", " sat", ' "x"']
    assert "".join(token_pieces(windows, 0)) == windows.text[0]
    assert token_pieces(windows, 1) == ["a"]


@pytest.mark.parametrize("bad", [[0, 11], [0, -1], [0, 2.5], [0, "3"], [0, True], "no list"])
def test_levels_out_of_range_or_of_another_kind_are_lost(bad: object) -> None:
    subject, windows = feature_subject(Label("cats"))
    asked = (Asked(subject, SCORER.trials(subject, windows)),)
    request = SCORER.requests(asked, windows)[0]
    answer = json.loads(by_token({})(request))  # type: ignore[arg-type]
    answer["1"] = answer["1"][:-2] + bad if isinstance(bad, list) else bad
    assert SCORER.problem(request, json.dumps(answer)) in {"not_an_option", "not_a_number", "not_a_list"}


OPENAI = create(model="openai/x")


def answered(judge: Script, *, logprobs: bool) -> Script:
    """The judge's answers with the log-probabilities that OpenAI's API would give."""

    def answer(request: LLMRequest) -> Completion:
        text = judge(request)
        assert isinstance(text, str)
        tokens = read_number_tokens(text, write_logprobs(text, request.top_logprobs, unsure)) if logprobs else None
        return Completion(text, "stop", 1, 0, 1, 0.0, number_tokens=tokens)

    return answer


def judged_by(*judges: Script) -> Judged:
    """Windows where each judge answers the requests in turn."""
    subject, windows = feature_subject(Label("cats"))
    turn = itertools.count()
    return judge_subject(OPENAI, subject, windows, lambda request: judges[next(turn) % len(judges)](request))


def values(scorer: Simulation, judged: Judged) -> dict[str, float]:
    table = scorer.measure([judged]).table
    return dict(zip(table.metric, table.value[:, 0].tolist(), strict=True))


def test_log_probabilities_are_asked_for_where_the_provider_gives_them_and_the_setting_allows_it() -> None:
    subject, windows = feature_subject(Label("cats"))
    judges = [OPENAI, create(model="openai/x", logprobs=False), create(model="anthropic/x"), SCORER]
    asked = [judge.requests((Asked(subject, judge.trials(subject, windows)),), windows)[0] for judge in judges]
    assert [request.top_logprobs for request in asked] == [20, 0, 0, 0]
    assert ["top_logprobs" in judge.parameters for judge in judges] == [True, False, False, False]


def test_the_headline_is_by_expected_levels_where_all_windows_have_them() -> None:
    judged = judged_by(answered(by_token({"cat": 10, "s": 3}), logprobs=True))
    found = values(OPENAI, judged)
    # 0.8 of a 0 and 0.2 of a 1; 0.8 of a 10 and 0.2 of a 9; a 3 is in the middle of what it could have been.
    moved = tuple(tuple({0: 0.2, 10: 9.8}.get(int(level), level) for level in levels) for levels in judged.levels)
    assert found["levels_expected"] == 1
    assert found["correlation"] == pytest.approx(values(SCORER, replace(judged, levels=moved))["correlation"])
    assert found["correlation_written"] == pytest.approx(values(SCORER, judged)["correlation"])
    assert found["correlation"] != pytest.approx(found["correlation_written"], abs=1e-9)


def test_without_log_probabilities_levels_are_the_written_ones_and_that_is_said() -> None:
    knowing = by_token({"cat": 8, "s": 3})
    found = values(OPENAI, judged_by(answered(knowing, logprobs=False)))
    assert found["levels_expected"] == 0
    assert found["correlation"] == found["correlation_written"] == measure(knowing)["correlation"]


def test_a_label_with_both_kinds_of_levels_is_measured_by_the_written_ones_alone() -> None:
    knowing = by_token({"cat": 8, "s": 3})
    found = values(OPENAI, judged_by(answered(knowing, logprobs=True), answered(knowing, logprobs=False)))
    assert 0 < found["levels_expected"] < 1
    assert found["correlation"] == found["correlation_written"]
