"""The arrangement of the scoreboard."""

from __future__ import annotations

from typing import Any

from dashboards.score_tables import score_tables


def row(metric: str, control: str | None, mean: float, **more: Any) -> dict[str, Any]:
    maker = {"explainer": "e", "explainer_model": None, "scorer": "s", "judge_model": None}
    return {**maker, "metric": metric, "tau": 0.01, "control": control, "mean": mean, **more}


def test_true_labels_come_first_and_controls_beside_every_score() -> None:
    rows = [row("headline", "random_weights", 0.6), row("headline", "shuffled", 0.5), row("headline", None, 0.7)]
    (table,) = score_tables(rows, tau=0.01)
    assert [line.name for line in table.lines] == ["", "shuffled", "random_weights"]
    assert [line.cells[0] and line.cells[0]["mean"] for line in table.lines] == [0.7, 0.5, 0.6]


def test_a_control_that_was_not_scored_is_an_empty_cell() -> None:
    rows = [row("headline", None, 0.7), row("auroc_hard", None, 0.7), row("headline", "shuffled", 0.5)]
    (table,) = score_tables(rows, tau=0.01)
    assert table.cell("shuffled", "auroc_hard") is None
    assert table.cell("neighbor", "headline") is None


def test_a_control_without_a_label_stands_beside_every_explainer() -> None:
    rows = [
        row("headline", None, 0.7),
        row("headline", None, 0.8, explainer="f"),
        row("headline", "no_label", 0.5, explainer=None),
    ]
    tables = score_tables(rows, tau=0.01)
    assert [table.maker[0] for table in tables] == ["f", "e"]
    assert all(table.cell("no_label", "headline") for table in tables)


def test_only_the_threshold_asked_for_is_shown_and_unknown_metrics_are_kept() -> None:
    rows = [row("headline", None, 0.7), row("headline", None, 0.9, tau=0.25), row("my_metric", None, 0.2)]
    (table,) = score_tables(rows, tau=0.01)
    assert table.true_headline is not None
    assert table.true_headline["mean"] == 0.7
    assert [(name, term.title) for name, term in table.more] == [("my_metric", "my metric")]


def test_a_title_names_the_models_that_wrote_and_judged() -> None:
    rows = [row("headline", None, 0.7, explainer_model="openai/a", judge_model="openai/b")]
    assert score_tables(rows, tau=0.01)[0].title == "e (openai/a) graded by s (openai/b)"


def test_tables_are_ordered_by_the_lower_end_of_the_headline() -> None:
    rows = [
        row("headline", None, 0.7, explainer="sure", low=0.68),
        row("headline", None, 0.8, explainer="lucky", low=0.5),
        row("headline", None, 0.6, explainer="bare"),
    ]
    assert [table.maker[0] for table in score_tables(rows, tau=0.01)] == ["sure", "bare", "lucky"]


def test_findings_say_what_is_known_and_nothing_else() -> None:
    against = {"share_significant": 0.55, "share_above_null": 0.6333, "n_null": 1140}
    again = {"reliability": 0.76, "flip_rate": 0.0412, "icc": 0.873}
    (table,) = score_tables([row("headline", None, 0.7, **against, **again)], tau=0.01)
    wrong, noise, flips = table.findings
    assert wrong.startswith("55% of the labels beat wrong ones (q < 0.05, 1,140 scores of wrong labels); 63% are above")
    assert noise == "76% of the variance between scores is not noise."
    assert flips == "Asked again, the judge changes 4.1% of its yes and no; intraclass correlation of scores 0.87."
    assert score_tables([row("headline", None, 0.7)], tau=0.01)[0].findings == ()
