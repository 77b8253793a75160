"""The whole run with a language model: both real SDKs against a server on 127.0.0.1, with and without faults."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import ClassVar

import pytest

from flows.fake_provider import Asked, Fault, LoopbackProvider
from labeling.ledger import Ledger
from labeling.workspace import Workspace
from tests.flows.mini import MODEL, Mini, Ran, judge

KEY = "sk-loopback-4f9a8b7c6d5e"
PRICED = {"openai": f"openai/{MODEL}", "anthropic": "anthropic/claude-haiku-4-5"}
N_FEATURES = 3


def url(provider: LoopbackProvider, name: str) -> str:
    return provider.url if name == "anthropic" else provider.openai_url


def run(mini: Mini, provider: LoopbackProvider, *arguments: object, name: str = "openai", command: str = "run") -> Ran:
    """Label and judge the first few features with a language model."""
    return mini.featlas(
        command,
        "--explainer",
        "top_and_random",
        "--scorer",
        "detection",
        "--model",
        PRICED[name],
        "--base-url",
        url(provider, name),
        "--features",
        mini.ok_features(N_FEATURES),
        *arguments,
    )


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, KEY)


@pytest.fixture(scope="module", params=sorted(PRICED))
def asked(
    mini: Mini, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Mini, Ran, LoopbackProvider]]:
    """A workspace that a provider's real SDK labeled and judged, for each provider."""
    copied = mini.copy(tmp_path_factory.mktemp(request.param))
    with pytest.MonkeyPatch.context() as patch, LoopbackProvider(judge, key=KEY) as provider:
        for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
            patch.setenv(name, KEY)
        yield copied, run(copied, provider, "--json", name=request.param), provider


Asking = tuple[Mini, Ran, LoopbackProvider]


def test_a_run_over_a_real_sdk_ends_well_and_every_control_is_on_the_scoreboard(asked: Asking) -> None:
    mini, ran, provider = asked
    assert ran.code == 0, ran.err
    assert provider.counts()["answered_twice"] == 0
    rows = mini.ask(
        "SELECT DISTINCT control FROM scoreboard WHERE scorer = 'detection' AND explainer = 'top_and_random'"
    )
    controls = set(rows["control"].to_list())
    assert {None, "shuffled", "generic", "no_label", "random_weights"} <= controls
    said = json.loads(ran.out)["llm"]
    assert said["requests"] == provider.counts()["requests"]
    assert said["cost_usd"] > 0


def test_every_label_leads_to_its_prompt_models_evidence_tokens_and_cost(asked: Asking) -> None:
    mini, _, _ = asked
    rows = mini.ask(
        "SELECT e.sample_id, e.feature, e.text, e.explainer_model, r.request_key, r.model, r.input_tokens, "
        "r.output_tokens, r.cost_usd, e.cost_usd AS cost, list(w.text) AS shown "
        "FROM explanations AS e JOIN samples AS s USING (sample_id), unnest(e.request_keys) AS k(request_key) "
        "JOIN llm_requests AS r ON r.request_key = k.request_key JOIN windows AS w ON w.corpus_id = s.corpus_id "
        "AND list_contains(e.evidence, w.window_id) WHERE e.explainer = 'top_and_random' GROUP BY ALL"
    )
    assert len(rows) == 2 * N_FEATURES  # the control set gets as many
    with Ledger(Workspace(mini.workspace).ledger) as ledger:
        for row in rows.iter_rows(named=True):
            assert row["model"] == row["explainer_model"]
            assert row["input_tokens"] > 0
            assert row["output_tokens"] > 0
            assert row["cost_usd"] == pytest.approx(row["cost"]) != 0
            prompt = bare(ledger.request(row["request_key"]).user)
            assert [
                text for text in row["shown"] if bare(json.dumps(text, ensure_ascii=False)[1:-1]) not in prompt
            ] == []


def bare(text: str) -> str:
    """JSON text without white space and marks, which prompts put in other places than documents."""
    return re.sub(r"\\[ntrf]|\s|<|>|\\u003[ce]", "", text)


def test_every_judgment_leads_to_the_request_that_asked(asked: Asking) -> None:
    mini, _, _ = asked
    rows = mini.ask(
        "SELECT count(*) AS n, count(r.request_key) AS found, count(DISTINCT r.request_key) AS requests, "
        "count(*) FILTER (r.model = j.judge_model AND r.purpose = 'score') AS same "
        "FROM judgments AS j LEFT JOIN llm_requests AS r USING (request_key) WHERE j.scorer = 'detection'"
    ).row(0, named=True)
    assert rows["n"] == rows["found"] == rows["same"] > 1000
    places = mini.ask(
        "SELECT sample_id, feature, control, request_key, list_sort(list(place)) AS places FROM judgments "
        "WHERE scorer = 'detection' GROUP BY ALL"
    )["places"].to_list()
    assert places == [list(range(1, len(each) + 1)) for each in places]
    wrong = mini.ask(
        "SELECT g.control, g.requests, j.n FROM (SELECT DISTINCT sample_id, control, requests FROM score_groups "
        "WHERE scorer = 'detection') AS g JOIN (SELECT sample_id, coalesce(control, '') AS control, "
        "count(DISTINCT request_key) AS n FROM judgments WHERE scorer = 'detection' GROUP BY ALL) AS j "
        "USING (sample_id, control) WHERE g.requests <> j.n"
    )
    assert wrong.is_empty()


def test_the_headline_of_the_judge_follows_from_its_judgments(asked: Asking) -> None:
    mini, _, _ = asked
    again = mini.ask(
        "WITH means AS (SELECT feature, stratum, any_value(c.population) AS size, avg(j.grade) AS mean FROM judgments "
        "AS j JOIN contexts AS c USING (sample_id, feature, window_id) WHERE j.scorer = 'detection' "
        "AND j.control IS NULL AND c.split = 'score' AND c.sample_id = (SELECT sample_id FROM samples WHERE "
        "feature_set = 'mini') GROUP BY ALL), sides AS (SELECT feature, "
        "sum(mean * size) FILTER (stratum[1] = 'q') / sum(size) FILTER (stratum[1] = 'q') AS fires, "
        "avg(mean) FILTER (stratum LIKE 'hard%') AS hard, "  # its sources count alike
        "any_value(mean) FILTER (stratum = 'random') AS random FROM means GROUP BY feature) "
        "SELECT feature, least(fires + 1 - hard, fires + 1 - random) / 2 FROM sides ORDER BY feature"
    )
    stored = mini.ask(
        "SELECT feature, value FROM scores JOIN samples USING (sample_id) WHERE feature_set = 'mini' "
        "AND scorer = 'detection' AND metric = 'headline' AND tau = 0.01 AND control IS NULL ORDER BY feature"
    )
    assert len(stored) == N_FEATURES
    assert dict(again.iter_rows()) == pytest.approx(dict(stored.iter_rows()), abs=1e-6)


def test_no_key_stands_in_any_file_of_the_workspace_or_in_what_was_printed(asked: Asking) -> None:
    mini, ran, _ = asked
    files = [file for file in mini.workspace.rglob("*") if file.is_file()]
    assert len(files) > 20
    assert [file.name for file in files if KEY.encode() in file.read_bytes()] == []
    assert KEY not in ran.out + ran.err
    config = mini.ask("SELECT config FROM runs").to_series()
    assert not [text for text in config if KEY in text or "api_key" in text.lower()]


def test_a_key_that_a_server_repeats_in_its_error_is_stored_and_said_nowhere(
    mini: Mini, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copied = mini.copy(tmp_path)
    caplog.set_level("DEBUG")
    with LoopbackProvider(judge, key="another") as provider:  # its 401 repeats all headers
        ran = run(copied, provider)
    assert (ran.code, provider.asked) == (1, [])
    assert "refused the key" in ran.paragraph()
    assert KEY not in ran.out + ran.err + caplog.text
    files = [file for file in copied.workspace.rglob("*") if file.is_file()]
    assert [file.name for file in files if KEY.encode() in file.read_bytes()] == []


def test_running_again_sends_nothing(asked: Asking) -> None:
    mini, _, provider = asked
    before = len(provider.asked)
    name = "anthropic" if provider.asked[0].api == "anthropic" else "openai"
    again = run(mini, provider, name=name)
    assert (again.code, len(provider.asked)) == (0, before)


def test_show_prompt_prints_the_exact_request_and_sends_nothing(mini: Mini, tmp_path: Path) -> None:
    copied = mini.copy(tmp_path)
    with LoopbackProvider(judge) as provider:
        shown = copied.featlas(
            "label", "--explainer", "top_and_random", "--model", f"openai/{MODEL}", "--base-url", provider.openai_url,
            "--features", copied.ok_features(1), "--show-prompt", "--json",
        )  # fmt: skip
        assert shown.code == 0, shown.err
        assert provider.asked == []
        assert not Workspace(copied.workspace).ledger.exists()
        arguments = ("--set", "score.controls=false", "--features", copied.ok_features(1))
        assert run(copied, provider, *arguments, command="label").code == 0
        request = json.loads(shown.out.splitlines()[0])
        sent = provider.asked[0]
        assert (request["system"], request["user"], request["schema"]) == (sent.system, sent.user, sent.schema)


class Faulty:
    """Goes wrong in every way, one question after the other, until it is `well`."""

    labels: ClassVar[list[Fault | None]] = ["400", None, None, "truncated", None, None]
    grades: ClassVar[list[Fault | None]] = ["400", "truncated", "filtered", "empty", "500", None, None, None]

    def __init__(self) -> None:
        self.well = False
        self.kinds: dict[str, Fault | None] = {}
        self.wrong: set[str] = set()
        """Bodies that got no usable answer."""
        self.turns = {"label": cycle(self.labels), "score": cycle(self.grades)}

    def fault(self, asked: Asked) -> Fault | None:
        if self.well:
            return None
        purpose = "label" if "label" in asked.schema["properties"] else "score"
        if asked.user not in self.kinds:  # more room does not help a question that is cut off
            self.kinds[asked.user] = next(self.turns[purpose])
        kind = self.kinds[asked.user]
        if kind == "500":
            return None if asked.seen_before else kind  # asked again at once, then answered
        if kind is not None:
            self.wrong.add(asked.digest)
        return kind


@pytest.mark.slow
def test_failed_requests_are_counted_with_reasons_and_asked_again_by_the_next_run(mini: Mini, tmp_path: Path) -> None:
    copied, faulty = mini.copy(tmp_path), Faulty()
    with LoopbackProvider(judge, faults=faulty.fault) as provider:
        first = run(copied, provider)
        assert first.code == 3, first.err
        assert "Not complete" in first.out
        failed = copied.ask("SELECT state, reason, text FROM explanations WHERE explainer = 'top_and_random'")
        bad = failed.filter(failed["state"] == "failed")
        assert (len(bad), len(failed)) == (2, 2 * N_FEATURES)
        assert set(bad["reason"]) == {"context_too_long", "truncated"}
        assert bad["text"].null_count() == len(bad)
        judged = copied.ask("SELECT state, reason, grade, probability FROM judgments WHERE scorer = 'detection'")
        lost = judged.filter(judged["state"] == "lost")
        assert set(lost["reason"]) == {"context_too_long", "truncated", "content_filter", "empty"}
        assert lost["grade"].null_count() == lost["probability"].null_count() == lost["reason"].count() == len(lost)
        assert copied.ask("SELECT state FROM runs ORDER BY started_at DESC LIMIT 1").item() == "partial"

        sent, faulty.well = len(provider.asked), True
        unhelped = run(copied, provider)
        assert unhelped.code == 3  # what was cut off twice is asked for again only if the user says so
        assert not [a for a in provider.asked[sent:] if faulty.kinds.get(a.user) == "truncated"]
        second = run(copied, provider, "--retry-failed")
        assert second.code == 0, second.err
        again = provider.asked[sent:]
        known = [asked for asked in again if asked.seen_before]
        assert {asked.digest for asked in known} <= faulty.wrong  # else only new questions, about labels that are new
        assert provider.counts()["answered_twice"] == 0
        assert copied.ask("SELECT * FROM explanations WHERE state = 'failed'").is_empty()
        # what the first run lost stays, because its scores rest on it; each label has been judged again without loss
        unanswered = """
            SELECT * FROM judgments AS lost WHERE state = 'lost' AND control IS NULL AND NOT EXISTS (
                SELECT 1 FROM judgments AS a WHERE a.state = 'answered' AND a.explanation_id = lost.explanation_id
                AND a.scorer = lost.scorer AND a.window_id = lost.window_id AND a.control IS NULL)
        """
        assert copied.ask(unanswered).is_empty()


def test_answers_that_cannot_be_read_are_counted_and_never_become_numbers(mini: Mini, tmp_path: Path) -> None:
    copied = mini.copy(tmp_path)

    def answer(asked: Asked) -> str:
        if "label" in asked.schema["properties"]:
            return judge(asked)
        grades = dict.fromkeys(asked.schema["properties"], 50)
        kind = len(asked.user.partition("\n\nYou have answered this before")[0]) % 5
        if kind == 0:
            return "I'd rather not say."
        bad = {1: {**grades, "2": "high"}, 2: {"1": 5}, 3: {**grades, "1": 900}}
        return json.dumps(bad.get(kind, grades))

    with LoopbackProvider(answer) as provider:
        ran = run(copied, provider, "--json")
    assert ran.code == 3
    lost = copied.ask(
        "SELECT reason, count(*) AS n, count(grade) + count(probability) AS known FROM judgments "
        "WHERE scorer = 'detection' AND state = 'lost' GROUP BY reason"
    )
    assert {"not_json", "missing", "not_a_number", "out_of_range"} == set(lost["reason"])
    assert lost["known"].sum() == 0
    counted = {f"score: {reason}": n for reason, n, _ in lost.iter_rows()}
    assert json.loads(ran.out)["failures"] == counted
    n_lost = copied.ask("SELECT max(n_lost) FROM scores WHERE scorer = 'detection'").item()
    assert n_lost > 0


def test_a_judge_that_never_answers_leaves_scores_empty_with_a_reason(mini: Mini, tmp_path: Path) -> None:
    copied = mini.copy(tmp_path)
    with LoopbackProvider(lambda asked: judge(asked) if "label" in asked.schema["properties"] else "no") as provider:
        assert run(copied, provider).code == 3
    scores = copied.ask("SELECT value, low, reason FROM scores WHERE scorer = 'detection'")
    assert len(scores) > 0
    assert scores["value"].null_count() == scores["low"].null_count() == scores["reason"].count() == len(scores)
    board = copied.ask("SELECT mean, n_unscored, n_features FROM scoreboard WHERE scorer = 'detection'")
    assert board["mean"].null_count() == len(board)
    assert min(board["n_unscored"].to_list()) > 0
    assert copied.ask("SELECT count(*) FROM labels WHERE scorer = 'detection' AND score IS NOT NULL").item() == 0
