"""Explainers in whole runs: several at once, labels from files, labels chosen in several steps, at once and in batches."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl
import pytest

from flows.fake_provider import Asked, LoopbackProvider
from labeling.ledger import Ledger
from labeling.workspace import Workspace
from tests.flows.mini import MODEL, Mini, Ran, featlas, judge
from tests.flows.test_llm_pipeline import bare

KEY = "sk-loopback-4f9a8b7c6d5e"
N_FEATURES = 2
STEPPED = ("best_of_k", "revise")
ASKING = ("contrastive", "token_activation_pairs", *STEPPED)
Labeled = tuple[Mini, Ran, LoopbackProvider]


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture
def own(mini: Mini, tmp_path: Path) -> Mini:
    """A sampled workspace to change."""
    return mini.copy(tmp_path)


def ask(
    mini: Mini, provider: LoopbackProvider, explainers: Sequence[str], *arguments: object, command: str = "label"
) -> Ran:
    return mini.featlas(
        command,
        "--explainer",
        ",".join(explainers),
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


@pytest.fixture(scope="module")
def labeled(mini: Mini, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Labeled]:
    """A workspace that every explainer that asks has labeled, twice where it asks once, with all labels scored."""
    copied = mini.copy(tmp_path_factory.mktemp("labeled"))
    with pytest.MonkeyPatch.context() as patch, LoopbackProvider(judge) as provider:
        patch.setenv("OPENAI_API_KEY", KEY)
        yield copied, ask(copied, provider, ASKING, "--set", "score.controls=false", "--json", command="run"), provider


def test_every_explainer_that_asks_ends_well_and_its_labels_are_scored(labeled: Labeled) -> None:
    mini, ran, _ = labeled
    assert ran.code == 0, ran.err
    rows = mini.ask(
        "SELECT e.explainer, count(*) FILTER (e.state = 'labeled') AS labels, count(s.value) AS scored "
        "FROM explanations AS e LEFT JOIN scores AS s ON s.explanation_id = e.explanation_id AND s.metric = 'headline' "
        "AND s.tau = 0.01 AND s.control IS NULL GROUP BY ALL ORDER BY ALL"
    )
    assert rows.filter(pl.col("explainer").is_in(ASKING)).rows() == [
        (name, 2 * N_FEATURES, 2 * N_FEATURES)
        for name in sorted(ASKING)  # the control set gets as many
    ]


def test_every_request_of_every_round_is_traced_counted_and_of_its_purpose(labeled: Labeled) -> None:
    mini, _, _ = labeled
    rows = mini.ask(
        "SELECT e.explainer, e.explanation_id, len(e.request_keys) AS n, e.cost_usd, e.input_tokens, "
        "count(r.request_key) AS found, count(*) FILTER (r.purpose = 'label') AS labels, "
        "count(*) FILTER (r.purpose = 'select') AS judged, sum(r.cost_usd) AS cost, sum(r.input_tokens) AS tokens "
        "FROM explanations AS e, unnest(e.request_keys) AS k(key) JOIN llm_requests AS r ON r.request_key = k.key "
        "GROUP BY ALL"
    )
    labels = {"contrastive": 1, "token_activation_pairs": 1, "best_of_k": 5, "revise": 2}
    assert len(rows) == len(ASKING) * 2 * N_FEATURES
    for row in rows.iter_rows(named=True):
        assert row["n"] == row["found"] == row["labels"] + row["judged"]
        assert row["labels"] == labels[row["explainer"]]
        assert (row["judged"] > 0) == (row["explainer"] in STEPPED)
        assert (row["cost_usd"], row["input_tokens"]) == (pytest.approx(row["cost"]), row["tokens"])
    asked = mini.ask("SELECT count(*) FROM llm_requests WHERE purpose <> 'score'").item()
    assert rows["n"].sum() == asked


def test_labels_are_tried_on_select_and_never_on_score(labeled: Labeled) -> None:
    mini, _, _ = labeled
    texts = mini.ask("SELECT DISTINCT text, split FROM windows")
    by_split = {
        split: {
            bare(json.dumps(text, ensure_ascii=False)[1:-1]) for text in texts.filter(pl.col("split") == split)["text"]
        }
        for split in ("explain", "select", "score")
    }
    with Ledger(Workspace(mini.workspace).ledger) as ledger:
        requests = [ledger.request(key) for key in ledger.export()["request_key"].to_list()]
    judged = {excerpt for r in requests if r.purpose == "select" for excerpt in excerpts(r.user)}
    shown = {excerpt for r in requests if r.purpose == "label" for excerpt in excerpts(r.user)}
    assert judged
    assert shown
    assert judged <= by_split["select"]
    assert not (judged | shown) & (by_split["score"] - by_split["select"] - by_split["explain"])


def excerpts(prompt: str) -> list[str]:
    """Window texts of a prompt, without white space and marks."""
    return [bare(text) for text in re.findall(r'^(?:\d+ )?"(.*)"$', prompt, re.MULTILINE)]


def test_the_gap_between_the_score_a_label_was_chosen_by_and_the_reported_one_is_told(labeled: Labeled) -> None:
    mini, ran, _ = labeled
    rows = mini.ask("SELECT explainer, select_score, score, gap FROM select_gaps WHERE comparable")
    assert len(rows) == len(STEPPED) * 2 * N_FEATURES
    said = json.loads(ran.out)["select_gaps"]
    assert {(one["explainer"], one["n_features"]) for one in said} == {(name, N_FEATURES) for name in STEPPED}
    for row in rows.iter_rows(named=True):
        assert row["gap"] == pytest.approx(row["select_score"] - row["score"])
    best = mini.ask("SELECT select_score, candidates FROM explanations WHERE explainer = 'best_of_k'")
    for chosen, tried in best.iter_rows():
        scores = [one["select_score"] for one in json.loads(tried)]
        assert len(scores) == 5
        assert chosen == max(scores)


def test_the_same_run_again_sends_nothing(labeled: Labeled) -> None:
    mini, _, provider = labeled
    sent = len(provider.asked)
    assert ask(mini, provider, ASKING, "--set", "score.controls=false", command="run").code == 0
    assert len(provider.asked) == sent


def test_a_dry_run_counts_all_rounds_and_sends_nothing(labeled: Labeled, own: Mini) -> None:
    mini, _, provider = labeled
    sent = len(provider.asked)
    said = json.loads(ask(own, provider, ASKING, "--dry-run", "--json").out)
    assert len(provider.asked) == sent
    estimated: dict[tuple[str, str], float] = {}
    for one in said["estimates"]:
        key = (one["name"].rsplit(" ", 1)[-1], one["stage"])
        estimated[key] = estimated.get(key, 0) + one["requests"]["value"]
    asked = mini.ask(
        "SELECT e.explainer, r.purpose, count(*) AS n FROM explanations AS e, unnest(e.request_keys) AS k(key) "
        "JOIN llm_requests AS r ON r.request_key = k.key GROUP BY ALL"
    )
    for explainer, purpose, n in asked.iter_rows():
        assert estimated.pop((explainer, purpose)) == n
    assert estimated == {}


def test_show_prompt_shows_every_round_with_one_s_own_prompt_and_the_first_is_what_is_sent(
    labeled: Labeled, own: Mini, tmp_path: Path
) -> None:
    _, _, provider = labeled
    sent = {asked.user for asked in provider.asked}
    prompt = tmp_path / "mine.md"
    prompt.write_text("Say what it is, in my own words.", encoding="utf-8")
    every = ("top_and_random", *ASKING)
    shown = ask(own, provider, every, "--show-prompt", "--json", "--set", f"label.prompt={prompt}")
    assert shown.code == 0, shown.err
    requests = [json.loads(line) for line in shown.out.splitlines()]
    assert {(r["round"], r["purpose"]) for r in requests} == {
        (1, "label"), (2, "select"), (3, "label"), (4, "select")
    }  # fmt: skip
    first = [r for r in requests if r["round"] == 1]
    assert len(first) == N_FEATURES * (4 + 5)
    labels = [r["system"] for r in requests if r["purpose"] == "label"]
    assert all(system.startswith("Say what it is, in my own words.\n\n") for system in labels)
    contrasts = [r["user"] for r in first if "Silent, though" in r["user"]]
    assert len(contrasts) == N_FEATURES
    assert set(contrasts) <= sent


def test_a_prompt_that_nobody_takes_is_refused(own: Mini, tmp_path: Path) -> None:
    prompt = tmp_path / "mine.md"
    prompt.write_text("Say it.", encoding="utf-8")
    ran = own.featlas("label", "--explainer", "token_pattern,ngram", "--set", f"label.prompt={prompt}")
    assert ran.code == 2
    assert "take none" in ran.paragraph()
    assert "contrastive" in ran.paragraph()


@pytest.mark.slow
def test_steps_go_on_from_run_to_run_when_answers_come_in_batches(labeled: Labeled, own: Mini) -> None:
    at_once, _, _ = labeled
    with LoopbackProvider(judge, batch_seconds=0.2) as slow:
        pending = []
        for _ in range(20):
            ran = ask(own, slow, STEPPED, "--mode", "batch", "--no-wait", "--json")
            assert ran.code == 0, ran.err
            pending.append(json.loads(ran.out)["pending"])
            if not pending[-1]:
                break
            assert own.ask("SELECT * FROM explanations WHERE explainer IN ('best_of_k', 'revise')").is_empty()
        assert pending[-1] == 0
        assert slow.counts()["batches"] >= 4  # the longest way has four rounds
        assert slow.counts()["answered_twice"] == 0
    same = (
        "SELECT feature, sample_id, explainer, text, select_score, candidates FROM explanations "
        "WHERE explainer IN ('best_of_k', 'revise') ORDER BY ALL"
    )
    assert own.ask(same).equals(at_once.ask(same))


@pytest.mark.slow
def test_a_batch_run_that_waits_goes_through_all_steps(own: Mini) -> None:
    with LoopbackProvider(judge) as provider:
        ran = ask(own, provider, ["revise"], "--mode", "batch")
        assert ran.code == 0, ran.err
        assert provider.counts()["batches"] == 4
    rows = own.ask("SELECT state FROM explanations WHERE explainer = 'revise'")
    assert rows["state"].to_list() == ["labeled"] * 2 * N_FEATURES


def test_a_step_that_fails_is_counted_and_asked_again_by_the_next_run(own: Mini) -> None:
    broken = {"now": True}

    def answer(asked: Asked) -> str:
        return "I'd rather not say." if "Missed:" in asked.user and broken["now"] else judge(asked)

    with LoopbackProvider(answer) as provider:
        first = ask(own, provider, ["revise"], "--json")
        assert first.code == 3, first.err
        assert json.loads(first.out)["failures"] == {"label: not_json": 2 * N_FEATURES}
        failed = own.ask("SELECT text, reason, candidates FROM explanations WHERE explainer = 'revise'")
        assert failed["text"].null_count() == len(failed) == 2 * N_FEATURES
        broken["now"] = False
        sent = len(provider.asked)
        assert ask(own, provider, ["revise"], "--retry-failed").code == 0
        again = [asked for asked in provider.asked[sent:] if "label" in asked.schema["properties"]]
        assert all("Missed:" in asked.user for asked in again)  # first labels were kept
    assert set(own.ask("SELECT state FROM explanations WHERE explainer = 'revise'")["state"]) == {"labeled"}


@pytest.mark.slow
def test_repeats_are_labels_of_their_own_and_each_is_scored(own: Mini) -> None:
    repeats = ("--set", "label.repeats=2", "--set", "score.controls=false")
    with LoopbackProvider(judge) as provider:
        assert ask(own, provider, ["contrastive"], *repeats, command="run").code == 0
    rows = own.ask(
        "SELECT e.repeat, count(DISTINCT e.explanation_id) AS labels, count(DISTINCT s.explanation_id) AS scored "
        "FROM explanations AS e LEFT JOIN scores AS s USING (explanation_id) WHERE e.explainer = 'contrastive' "
        "GROUP BY ALL ORDER BY ALL"
    )
    assert rows.rows() == [(0, 2 * N_FEATURES, 2 * N_FEATURES), (1, 2 * N_FEATURES, 2 * N_FEATURES)]
    meant = own.ask(
        "SELECT e.repeat, count(DISTINCT t.score_id) AS n FROM score_statistics AS t "
        "JOIN (SELECT DISTINCT score_id, explanation_id FROM scores) AS s USING (score_id) "
        "JOIN explanations AS e USING (explanation_id) WHERE e.explainer = 'contrastive' GROUP BY ALL"
    )
    assert meant.rows() == [(0, 2 * N_FEATURES)]  # means and p-values are of the first labels alone
    groups = own.ask("SELECT DISTINCT n_features + n_unscored FROM score_groups WHERE explainer = 'contrastive'")
    assert groups.rows() == [(N_FEATURES,)]


@pytest.mark.slow
def test_several_offline_explainers_are_scored_side_by_side(own: Mini) -> None:
    ran = own.featlas("run", "--explainer", "token_pattern,ngram", "--scorer", "pattern", "--json")
    assert ran.code == 0, ran.err
    rows = own.ask(
        "SELECT explainer, count(*) AS n FROM scoreboard WHERE scorer = 'pattern' AND metric = 'headline' "
        "AND control IS NULL AND tau = 0.01 GROUP BY ALL ORDER BY ALL"
    )
    assert rows["explainer"].to_list() == ["ngram", "token_pattern"]


WORDS = ("code", "punctuation", "numbers", "names of files", "docstrings", "imports")


def labels_file(folder: Path, mini: Mini) -> tuple[Path, list[int]]:
    """Labels of six features by two authors, with entries that can't be taken."""
    good = [int(feature) for feature in mini.ok_features(7).split(",")]
    rows: list[dict[str, object]] = [
        {"feature": feature, "label": f"{word} by {author}", "author": author}
        for author in ("Ada", "tool 1.2")
        for feature, word in zip(good, WORDS, strict=False)
    ]
    rows += [
        {"feature": good[6], "label": "", "author": "Ada"},
        {"feature": good[6], "label": "x" * 2000, "author": "Ada"},
        {"feature": good[0], "label": "code by Ada", "author": "Ada"},
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
    arguments = ("--explainer", "import,token_pattern", "--labels", path, "--scorer", "embedding")
    ran = own.featlas("run", *arguments)
    assert ran.code == 0, ran.err
    rows = own.ask("SELECT explainer_model, feature, text, evidence FROM explanations WHERE explainer = 'import'")
    assert sorted(rows.select("explainer_model", "feature", "text").rows()) == sorted(
        (author, feature, f"{word} by {author}")
        for author in ("Ada", "tool 1.2")
        for feature, word in zip(good, WORDS, strict=False)
    )
    assert set(rows["evidence"].list.len()) == {0}
    problems = own.ask("SELECT problem, n, features, author FROM label_file_problems ORDER BY problem").rows()
    assert problems == [
        ("duplicate", 1, [good[0]], "Ada"),
        ("empty", 1, [good[6]], "Ada"),
        ("no such feature", 2, [64, 9999], "Ada"),
        ("other feature set", 1, [3], "Ada"),
        ("too long", 1, [good[6]], "Ada"),
    ]
    assert "no such feature 2 (features 64, 9999)" in ran.err
    board = own.ask(
        "SELECT explainer_model, n_features, mean FROM scoreboard WHERE explainer = 'import' AND scorer = 'embedding' "
        "AND metric = 'headline' AND tau = 0.01 AND control IS NULL ORDER BY ALL"
    )
    assert board.select("explainer_model", "n_features").rows() == [("Ada", 6), ("tool 1.2", 6)]
    assert board["mean"].null_count() == 0


def test_a_label_that_was_changed_in_the_file_is_another_explanation(own: Mini, tmp_path: Path) -> None:
    path, good = labels_file(tmp_path, own)
    arguments = ("label", "--explainer", "import", "--labels", path)
    assert own.featlas(*arguments).code == 0
    path.write_text(path.read_text(encoding="utf-8").replace("punctuation by Ada", "commas"), encoding="utf-8")
    assert own.featlas(*arguments).code == 0
    texts = own.ask(f"SELECT text FROM explanations WHERE explainer = 'import' AND feature = {good[1]} ORDER BY text")
    assert texts["text"].to_list() == ["commas", "punctuation by Ada", "punctuation by tool 1.2"]


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
