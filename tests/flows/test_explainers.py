"""Explainers in whole runs: several at once, labels from files, labels chosen in several steps, at once and in batches."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from flows.fake_provider import Asked, LoopbackProvider
from labeling.ledger import Ledger
from labeling.workspace import Workspace
from tests.flows.mini import MODEL, Mini, Ran, featlas, judge

N_FEATURES = 2
STEPPED = ("best_of_k", "revise")


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-loopback-4f9a8b7c6d5e")


@pytest.fixture
def own(mini: Mini, tmp_path: Path) -> Mini:
    """A sampled workspace to change."""
    return mini.copy(tmp_path)


def ask(mini: Mini, provider: LoopbackProvider, explainer: str, *arguments: object, command: str = "run") -> Ran:
    return mini.featlas(
        command,
        "--explainer",
        explainer,
        "--scorer",
        "detection",
        "--model",
        f"openai/{MODEL}",
        "--base-url",
        provider.openai_url,
        "--features",
        mini.ok_features(N_FEATURES),
        *arguments,
    )


def varied(asked: Asked) -> str:
    """Answers that follow from the question: no two labels alike, grades all over."""
    return judge(asked)


@pytest.fixture
def provider() -> Iterator[LoopbackProvider]:
    with LoopbackProvider(varied) as running:
        yield running


@pytest.mark.slow
def test_several_offline_explainers_are_scored_side_by_side(own: Mini) -> None:
    ran = own.featlas("run", "--explainer", "token_pattern,ngram", "--scorer", "pattern", "--json")
    assert ran.code == 0, ran.err
    rows = own.ask(
        "SELECT explainer, count(*) AS n FROM scoreboard WHERE scorer = 'pattern' AND metric = 'headline' "
        "AND control IS NULL AND tau = 0.01 GROUP BY ALL ORDER BY ALL"
    )
    assert rows["explainer"].to_list() == ["ngram", "token_pattern"]
    both = own.ask("SELECT feature, count(DISTINCT explainer) AS n FROM explanations GROUP BY ALL")
    assert set(both["n"]) == {2}


@pytest.mark.parametrize("explainer", ["contrastive", "token_activation_pairs", *STEPPED])
@pytest.mark.slow
def test_an_explainer_that_asks_ends_well_and_its_labels_are_scored(
    own: Mini, provider: LoopbackProvider, explainer: str
) -> None:
    ran = ask(own, provider, explainer, "--set", "score.controls=false")
    assert ran.code == 0, ran.err
    rows = own.ask(f"SELECT * FROM explanations WHERE explainer = '{explainer}'")
    assert len(rows) == 2 * N_FEATURES  # the control set gets as many
    assert set(rows["state"]) == {"labeled"}
    scored = own.ask(
        f"SELECT count(*) FROM scores WHERE explainer = '{explainer}' AND metric = 'headline' AND value IS NOT NULL"
    )
    assert scored.item() >= 2 * N_FEATURES
    sent = len(provider.asked)
    assert ask(own, provider, explainer, "--set", "score.controls=false").code == 0
    assert len(provider.asked) == sent


@pytest.mark.parametrize("explainer", STEPPED)
def test_every_request_of_every_round_is_traced_counted_and_of_its_purpose(
    own: Mini, provider: LoopbackProvider, explainer: str
) -> None:
    ran = ask(own, provider, explainer, "--json", command="label")
    assert ran.code == 0, ran.err
    rows = own.ask(
        "SELECT e.explanation_id, len(e.request_keys) AS n, e.cost_usd, e.input_tokens, count(r.request_key) AS found, "
        "count(*) FILTER (r.purpose = 'label') AS labels, count(*) FILTER (r.purpose = 'select') AS judged, "
        "sum(r.cost_usd) AS cost, sum(r.input_tokens) AS tokens FROM explanations AS e, unnest(e.request_keys) AS k(key) "
        f"JOIN llm_requests AS r ON r.request_key = k.key WHERE explainer = '{explainer}' GROUP BY ALL"
    )
    assert len(rows) == 2 * N_FEATURES
    for row in rows.iter_rows(named=True):
        assert row["n"] == row["found"] == row["labels"] + row["judged"]
        assert row["labels"] == (5 if explainer == "best_of_k" else 2)
        assert row["judged"] > 0
        assert (row["cost_usd"], row["input_tokens"]) == (pytest.approx(row["cost"]), row["tokens"])
    assert rows["n"].sum() == provider.counts()["requests"] == json.loads(ran.out)["llm"]["requests"]


@pytest.mark.parametrize("explainer", STEPPED)
def test_labels_are_tried_on_select_and_never_on_score(own: Mini, provider: LoopbackProvider, explainer: str) -> None:
    assert ask(own, provider, explainer, command="label").code == 0
    texts = own.ask("SELECT DISTINCT text, split FROM windows")
    by_split = {split: set(texts.filter(pl.col("split") == split)["text"]) for split in ("explain", "select", "score")}
    with Ledger(Workspace(own.workspace).ledger) as ledger:
        requests = [ledger.request(key) for key in ledger.export()["request_key"].to_list()]
    judged = [excerpt for r in requests if r.purpose == "select" for excerpt in excerpts(r.user)]
    shown = [excerpt for r in requests if r.purpose == "label" for excerpt in excerpts(r.user)]
    assert judged
    assert set(judged) <= by_split["select"]
    assert not set(judged + shown) & (by_split["score"] - by_split["select"] - by_split["explain"])


def excerpts(prompt: str) -> list[str]:
    """Window texts of a prompt, without marks."""
    quoted = re.findall(r'^(?:\d+ )?(".*")$', prompt, re.MULTILINE)
    return [json.loads(text.replace("<<", "").replace(">>", "")) for text in quoted]


@pytest.mark.slow
def test_the_gap_between_the_score_a_label_was_chosen_by_and_the_reported_one_is_told(
    own: Mini, provider: LoopbackProvider
) -> None:
    assert ask(own, provider, "best_of_k", "--set", "score.controls=false").code == 0
    rows = own.ask("SELECT select_score, score, gap FROM select_gaps WHERE scorer = 'detection'")
    assert len(rows) == 2 * N_FEATURES
    for row in rows.drop_nulls().iter_rows(named=True):
        assert row["gap"] == pytest.approx(row["select_score"] - row["score"])
    best = own.ask("SELECT select_score, candidates FROM explanations WHERE explainer = 'best_of_k'")
    for chosen, tried in best.iter_rows():
        scores = [one["select_score"] for one in json.loads(tried)]
        assert len(scores) == 5
        assert chosen == max(score for score in scores if score is not None)


@pytest.mark.parametrize("explainer", STEPPED)
@pytest.mark.slow
def test_steps_go_on_from_run_to_run_when_answers_come_in_batches(
    own: Mini, tmp_path: Path, provider: LoopbackProvider, explainer: str
) -> None:
    (tmp_path / "other").mkdir()
    at_once = own.copy(tmp_path / "other")
    assert ask(at_once, provider, explainer, command="label").code == 0
    asked_at_once = provider.counts()["requests"]
    with LoopbackProvider(varied, batch_seconds=0.2) as slow:
        pending = []
        for _ in range(20):
            ran = ask(own, slow, explainer, "--mode", "batch", "--no-wait", "--json", command="label")
            assert ran.code == 0, ran.err
            pending.append(json.loads(ran.out)["pending"])
            if not pending[-1]:
                break
            assert own.ask(f"SELECT * FROM explanations WHERE explainer = '{explainer}'").is_empty()
        assert pending[-1] == 0
        assert slow.counts()["batches"] >= 2
        assert slow.counts()["answered_twice"] == 0
        assert slow.counts()["batch_requests"] == asked_at_once
    same = (
        f"SELECT feature, sample_id, text, select_score, candidates FROM explanations WHERE explainer = '{explainer}'"
    )
    assert own.ask(f"{same} ORDER BY ALL").equals(at_once.ask(f"{same} ORDER BY ALL"))


@pytest.mark.slow
def test_a_batch_run_that_waits_goes_through_all_steps(own: Mini, provider: LoopbackProvider) -> None:
    ran = ask(own, provider, "revise", "--mode", "batch", command="label")
    assert ran.code == 0, ran.err
    rows = own.ask("SELECT state FROM explanations WHERE explainer = 'revise'")
    assert rows["state"].to_list() == ["labeled"] * 2 * N_FEATURES


def test_a_step_that_fails_is_counted_and_asked_again_by_the_next_run(own: Mini) -> None:
    broken = {"now": True}

    def answer(asked: Asked) -> str:
        revising = "Missed:" in asked.user
        return "I'd rather not say." if revising and broken["now"] else judge(asked)

    with LoopbackProvider(answer) as provider:
        first = ask(own, provider, "revise", "--json", command="label")
        assert first.code == 3, first.err
        assert json.loads(first.out)["failures"] == {"label: not_json": 2 * N_FEATURES}
        failed = own.ask("SELECT text, reason, candidates FROM explanations WHERE explainer = 'revise'")
        assert failed["text"].null_count() == len(failed) == 2 * N_FEATURES
        broken["now"] = False
        sent = len(provider.asked)
        assert ask(own, provider, "revise", "--retry-failed", command="label").code == 0
        again = [asked for asked in provider.asked[sent:] if "Missed:" not in asked.user]
        assert all("Description:" in asked.user for asked in again)  # first labels and their judging were kept
    assert set(own.ask("SELECT state FROM explanations WHERE explainer = 'revise'")["state"]) == {"labeled"}


@pytest.mark.parametrize("explainer", ["contrastive", "best_of_k", "revise"])
def test_a_dry_run_counts_all_rounds_and_sends_nothing(own: Mini, provider: LoopbackProvider, explainer: str) -> None:
    said = json.loads(ask(own, provider, explainer, "--dry-run", "--json", command="label").out)
    assert provider.asked == []
    estimated = {(e["stage"], e["feature_set"]): e["requests"]["value"] for e in said["estimates"]}
    assert ask(own, provider, explainer, command="label").code == 0
    sent = own.ask("SELECT purpose, count(*) AS n FROM llm_requests GROUP BY purpose")
    for purpose, n in sent.iter_rows():
        expected = sum(value for (stage, _), value in estimated.items() if stage == purpose)
        assert expected == pytest.approx(n, rel=0.35)
    if explainer != "revise":  # how many mistakes there are to show is not known before
        assert sum(estimated.values()) == sent["n"].sum()


def test_show_prompt_shows_every_round_and_the_first_is_what_is_sent(own: Mini, provider: LoopbackProvider) -> None:
    shown = ask(own, provider, "best_of_k", "--show-prompt", "--json", command="label")
    assert shown.code == 0, shown.err
    requests = [json.loads(line) for line in shown.out.splitlines()]
    assert {(r["round"], r["purpose"]) for r in requests} == {(1, "label"), (2, "select")}
    assert provider.asked == []
    assert ask(own, provider, "best_of_k", command="label").code == 0
    sent = {asked.user for asked in provider.asked}
    assert {r["user"] for r in requests if r["round"] == 1} <= sent


@pytest.mark.parametrize(
    "explainer", ["top_and_random", "contrastive", "token_activation_pairs", "best_of_k", "revise"]
)
def test_a_prompt_of_one_s_own_is_sent_by_every_explainer_that_asks(
    own: Mini, provider: LoopbackProvider, tmp_path: Path, explainer: str
) -> None:
    prompt = tmp_path / "mine.md"
    prompt.write_text("Say what it is, in my own words.", encoding="utf-8")
    mine = ("--set", f"label.prompt={prompt}")
    shown = ask(own, provider, explainer, "--show-prompt", "--json", *mine, command="label")
    requests = [json.loads(line) for line in shown.out.splitlines()]
    systems = [r["system"] for r in requests if r["purpose"] == "label"]
    assert systems
    assert all(system.startswith("Say what it is, in my own words.\n\n") for system in systems)
    assert ask(own, provider, explainer, command="label").code == 0
    assert ask(own, provider, explainer, *mine, command="label").code == 0
    versions = own.ask(f"SELECT DISTINCT prompt_version FROM explanations WHERE explainer = '{explainer}'")
    assert len(versions) == 2


def test_a_prompt_that_nobody_takes_is_refused(own: Mini, tmp_path: Path) -> None:
    prompt = tmp_path / "mine.md"
    prompt.write_text("Say it.", encoding="utf-8")
    ran = own.featlas("label", "--explainer", "token_pattern,ngram", "--set", f"label.prompt={prompt}")
    assert ran.code == 2
    assert "take none" in ran.paragraph()
    assert "contrastive" in ran.paragraph()


@pytest.mark.slow
def test_repeats_are_labels_of_their_own_and_each_is_scored(own: Mini, provider: LoopbackProvider) -> None:
    repeats = ("--set", "label.repeats=2", "--set", "score.controls=false")
    assert ask(own, provider, "contrastive", *repeats).code == 0
    rows = own.ask(
        "SELECT e.repeat, count(DISTINCT e.explanation_id) AS labels, count(DISTINCT s.explanation_id) AS scored "
        "FROM explanations AS e LEFT JOIN scores AS s USING (explanation_id) WHERE e.explainer = 'contrastive' "
        "GROUP BY ALL ORDER BY ALL"
    )
    assert rows.rows() == [(0, 2 * N_FEATURES, 2 * N_FEATURES), (1, 2 * N_FEATURES, 2 * N_FEATURES)]
    shown = own.ask(
        "SELECT DISTINCT e.repeat FROM labels AS l JOIN explanations AS e ON e.sample_id = l.sample_id "
        "AND e.feature = l.feature AND e.text = l.label WHERE l.explainer = 'contrastive'"
    )
    assert shown["repeat"].to_list() == [0]


def labels_file(folder: Path, mini: Mini) -> tuple[Path, list[int]]:
    """Labels of two authors, with entries that can't be taken."""
    good = [int(feature) for feature in mini.ok_features(3).split(",")]
    rows = [
        {"feature": good[0], "label": "words of code", "author": "Ada"},
        {"feature": good[1], "label": "punctuation", "author": "Ada"},
        {"feature": good[0], "label": "keywords", "author": "tool 1.2"},
        {"feature": good[2], "label": "", "author": "Ada"},
        {"feature": good[2], "label": "x" * 2000, "author": "Ada"},
        {"feature": good[0], "label": "words of code", "author": "Ada"},
        {"feature": 9999, "label": "nothing", "author": "Ada"},
        {"feature": 64, "label": "nothing", "author": "Ada"},
        {"feature": 3, "label": "elsewhere", "author": "Ada", "feature_set": "another"},
    ]
    path = folder / "labels.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path, good


@pytest.mark.slow
def test_imported_labels_are_scored_like_any_other_and_what_is_no_label_is_listed(own: Mini, tmp_path: Path) -> None:
    path, good = labels_file(tmp_path, own)
    ran = own.featlas("run", "--explainer", "import,token_pattern", "--labels", path, "--scorer", "embedding", "--json")
    assert ran.code == 0, ran.err
    rows = own.ask(
        "SELECT feature, explainer_model, text, evidence FROM explanations WHERE explainer = 'import' ORDER BY ALL"
    )
    assert sorted(rows.select("feature", "explainer_model", "text").rows()) == sorted(
        [(good[0], "Ada", "words of code"), (good[1], "Ada", "punctuation"), (good[0], "tool 1.2", "keywords")]
    )
    assert set(rows["evidence"].list.len()) == {0}
    scored = own.ask(
        "SELECT DISTINCT explainer_model, feature FROM scores WHERE explainer = 'import' AND control IS NULL "
        "AND metric = 'auroc_hard' ORDER BY ALL"
    )
    problems = own.ask("SELECT problem, n, features, author FROM label_file_problems ORDER BY problem").rows()
    assert problems == [
        ("duplicate", 1, [good[0]], "Ada"),
        ("empty", 1, [good[2]], "Ada"),
        ("no such feature", 2, [64, 9999], "Ada"),
        ("other feature set", 1, [3], "Ada"),
        ("too long", 1, [good[2]], "Ada"),
    ]
    assert "no such feature 2 (features 64, 9999)" in ran.err
    assert len(scored) == 3 or "no calibration" in ran.out + ran.err


def test_a_label_that_was_changed_in_the_file_is_another_explanation(own: Mini, tmp_path: Path) -> None:
    path, good = labels_file(tmp_path, own)
    arguments = ("label", "--explainer", "import", "--labels", path)
    assert own.featlas(*arguments).code == 0
    path.write_text(path.read_text(encoding="utf-8").replace("punctuation", "commas"), encoding="utf-8")
    assert own.featlas(*arguments).code == 0
    texts = own.ask(f"SELECT text FROM explanations WHERE explainer = 'import' AND feature = {good[1]} ORDER BY text")
    assert texts["text"].to_list() == ["commas", "punctuation"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--explainer", "import"], "none is named"),
        (["--explainer", "ngram", "--labels", "x.csv"], "take none"),
        (["--explainer", "import", "--labels", "/no/such.csv"], "There is no file of labels"),
    ],
)
def test_labels_that_are_missing_or_that_nobody_reads_are_said(own: Mini, arguments: list[str], message: str) -> None:
    ran = own.featlas("label", *arguments)
    assert ran.code == 2
    assert message in ran.paragraph()


def test_what_was_given_for_the_last_run_s_explainers_does_not_stop_others(
    own: Mini, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = labels_file(tmp_path, own)
    assert own.featlas("label", "--explainer", "import", "--labels", path).code == 0
    monkeypatch.chdir(tmp_path)  # without a config file the last run's config is taken
    ran = featlas("label", "--workspace", own.workspace, "--explainer", "token_pattern")
    assert ran.code == 0, ran.err


def test_labels_without_a_feature_set_are_refused_where_there_are_several(own: Mini, tmp_path: Path) -> None:
    path, _ = labels_file(tmp_path, own)
    twice = own.config.read_text(encoding="utf-8").replace('control_for = "mini"\n', "")
    config = tmp_path / "twice.toml"
    config.write_text(twice, encoding="utf-8")
    ran = Mini(config, own.workspace).featlas("label", "--explainer", "import", "--labels", path)
    assert ran.code == 2
    assert "Add a column `feature_set`" in ran.paragraph()
