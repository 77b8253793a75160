"""The command `compare`: two explainers, models, prompts, dictionaries, runs or judges, by scores that are there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flows.commands.options import json_option, workspace_option

if TYPE_CHECKING:
    import polars as pl


@click.command()
@click.argument("a")
@click.argument("b")
@workspace_option
@click.option(
    "--metric", "metrics", multiple=True, help="Metric to compare by; several may be given. Default: headline."
)
@click.option("--tau", type=float, default=0.01, show_default=True, help="Threshold of firing: 0.01 or 0.25.")
@click.option(
    "--difference",
    type=click.FloatRange(min=0, min_open=True),
    default=0.02,
    show_default=True,
    help="Difference of means to be resolved; the features it takes are named.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the random draws.")
@json_option
def compare(
    a: str,
    b: str,
    workspace: Path,
    metrics: tuple[str, ...],
    tau: float,
    difference: float,
    seed: int,
    as_json: bool,
) -> None:
    """Compare A and B on the same windows by the same judge: A minus B, with interval and p-value. For example:

    featlas compare explainer=token_pattern explainer=top_and_random,scorer=detection

    A side is key=value, or several with commas between. Keys: explainer, model, prompt, feature_set, sample, scorer, judge,
    epoch, run. What can't be compared is refused, and what differs is named. Two dictionaries (feature_set=...) have
    different features and are compared unpaired. Two judges (judge=... on both sides) are compared on the labels that both
    scored: how far their answers and scores agree.
    """
    from flows.compare import compare as compare_sides
    from flows.judges import between_judges, compare_judges

    if between_judges(a, b):
        agreed = compare_judges(workspace, a, b, tau=tau)
        click.echo(json.dumps(agreed.to_dicts(), indent=2) if as_json else judges_as_text(agreed))
        return
    chosen = tuple(dict.fromkeys(metrics)) or ("headline",)
    frame = compare_sides(workspace, a, b, metrics=chosen, tau=tau, difference=difference, seed=seed)
    click.echo(json.dumps(frame.to_dicts(), indent=2) if as_json else as_text(frame, a, b, difference))


def as_text(frame: pl.DataFrame, a: str, b: str, difference: float) -> str:
    """One line a judge and metric, then what the columns mean."""
    lines = [f"A: {a}", f"B: {b}", ""]
    lines.append(
        f"{'scorer':<28}{'metric':<18}{'features':>12}{'A':>8}{'B':>8}{'A - B':>9}{'95 % interval':>20}{'p':>9}"
        f"{'Holm':>9}{'A wins':>8}{'needed':>9}"
    )
    for row in frame.iter_rows(named=True):
        judge = f"{row['scorer']} ({row['judge']})" if row["judge"] else row["scorer"]
        features = f"{row['n_a']:,}" if row["paired"] else f"{row['n_a']:,} / {row['n_b']:,}"
        interval = f"{row['low']:+.4f} to {row['high']:+.4f}"
        lines.append(
            f"{judge:<28}{row['metric']:<18}{features:>12}{row['mean_a']:>8.3f}{row['mean_b']:>8.3f}"
            f"{row['difference']:>+9.4f}{interval:>20}{row['p']:>9.4f}{row['p_holm']:>9.4f}{row['win_rate']:>8.0%}"
            f"{row['features_needed']:>9,}"
        )
    return "\n".join([*lines, "", *_notes(frame, difference)])


def judges_as_text(frame: pl.DataFrame) -> str:
    """A paragraph for each explainer and scorer, then what the numbers mean."""
    lines = [f"A: {frame['judge_a'][0]}", f"B: {frame['judge_b'][0]}"]
    for row in frame.iter_rows(named=True):
        lines += ["", f"{row['scorer']} of {row['explainer'] or 'features'} ({row['feature_set']})"]
        lines.append(
            f"  headline of {row['n_features']:,} features: A {_said(row, 'mean_a')}, B {_said(row, 'mean_b')}"
        )
        lines.append(
            f"  correlation {_said(row, 'correlation')}, without the judges' own noise {_said(row, 'disattenuated')}"
        )
        if row["n_windows"]:
            said = ", ".join(f"{word} {_said(row, name)}" for name, word in _AGREEMENT.items())
            lines.append(f"  of {row['n_windows']:,} windows: {said}")
    return "\n".join([*lines, "", *_JUDGE_NOTES])


_AGREEMENT = {"flip_rate": "answers that differ", "kappa": "kappa", "pabak": "PABAK"}
_JUDGE_NOTES = (
    "The same labels on the same windows. Brackets: 95 % intervals over features.",
    "Without noise: correlation / sqrt(ICC of A x ICC of B), where both were asked again (score.repeats).",
)


def _said(row: Mapping[str, Any], name: str) -> str:
    """A number with its interval, where it has one."""
    if row[name] is None:
        return "not known"
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    return f"{row[name]:.3f}" + ("" if low is None or high is None else f" [{low:.3f}, {high:.3f}]")


def _notes(frame: pl.DataFrame, difference: float) -> list[str]:
    notes = [
        "Paired: the same features on the same windows by the same judge. p: sign flips over features."
        if frame["paired"].all()
        else "Unpaired: the features of two dictionaries have nothing in common, so this also compares what there is to "
        "label. p: features dealt to two sides at random; A wins: share of pairs of features."
    ]
    if len(frame) > 1:
        notes.append(f"Holm: p corrected for {len(frame)} comparisons; read this one.")
    notes.append(
        f"Needed: features{'' if frame['paired'].all() else ' a side'} to resolve a difference of {difference:g}."
    )
    alone = max(frame["only_a"].to_list()), max(frame["only_b"].to_list())
    if any(alone):
        notes.append(
            f"Left out, because only one side has a score: up to {alone[0]:,} features of A, {alone[1]:,} of B."
        )
    return notes
