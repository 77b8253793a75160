"""The command `report`: any kind of report in any format, from what was published."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from flows.commands.options import workspace_option
from labeling.errors import UsageError

KIND = "run"
OPTIONS = {"feature": "--feature", "feature_set": "--set", "compared": "--a and --b"}
"""Options by what they ask of a kind."""


@click.command()
@click.argument("kind", default=KIND)
@workspace_option
@click.option("--format", "-f", "form", help="html, markdown or pdf. Default: as the file's name ends, else html.")
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path),
    help="Folder to write to, or a file that ends in .html, .md or .pdf. Default: reports/ in the workspace.",
)
@click.option("--feature", type=click.IntRange(min=0), help="Feature that feature and neighborhood are about.")
@click.option("--set", "feature_set", metavar="NAME", help="Feature set. Default: the first one that is no control.")
@click.option("--a", metavar="SIDE", help="First side of comparison, such as explainer=token_pattern.")
@click.option("--b", metavar="SIDE", help="Second side of comparison.")
@click.option(
    "--metric", "metrics", multiple=True, help="Metric of comparison; several may be given. Default: headline."
)
@click.option("--tau", type=float, help="Threshold of firing in comparison: 0.01 or 0.25.")
def report(
    kind: str,
    workspace: Path,
    form: str | None,
    target: Path | None,
    feature: int | None,
    feature_set: str | None,
    a: str | None,
    b: str | None,
    metrics: tuple[str, ...],
    tau: float | None,
) -> None:
    """Write a report as one file that needs no network, and print where it is. KIND is one of:

    \b
    run           everything: labels and their scores, features good and bad,
                  the map, failures, cost; its tables as CSV beside it (default)
    scoreboard    explainers and judges beside their controls, and what a label costs
    feature       one feature: text, labels, scores, neighbors, tags (--feature)
    neighborhood  one feature among its neighbors (--feature)
    comparison    two explainers, models, runs or dictionaries (--a, --b);
                  sides are written as for `featlas compare`
    tags          features by tag

    \b
    featlas report
    featlas report feature --feature 12 --format pdf
    featlas report comparison --a explainer=token_pattern --b explainer=ngram --to compared.md

    Markdown comes with its figures as SVG files beside it. PDF needs the package typst: pip install 'featlas[pdf]'.
    """
    from dashboards.report import Wanted, write_report
    from flows.stages.publish import republish
    from labeling.snapshot import outdated
    from labeling.workspace import Workspace

    place = Workspace(workspace)
    form, folder, name = _place(form, target, place.reports)
    asked = _asked(kind, feature=feature, feature_set=feature_set, compared=a or b or metrics or tau is not None)
    if outdated(place):
        republish(place)
    if asked.pop("compared", False):
        asked["compared"] = _compared(workspace, a, b, metrics, tau)
    wanted = Wanted(kind, form, asked, command=_command())
    click.echo(str(write_report(place, folder, wanted, name=name)))


def _place(form: str | None, target: Path | None, default: Path) -> tuple[str, Path, str | None]:
    """Format, folder and file name without ending. Raise UsageError for an unknown format, or two at once."""
    from dashboards import formats

    drawn = formats.create(form) if form else None
    if target is None or target.is_dir() or not target.suffix:
        return form or "html", target or default, None
    ending = formats.endings().get(target.suffix)
    if ending is None and drawn is None:
        known = ", ".join(sorted(formats.endings()))
        raise UsageError(f"--to {target} is no folder, and no report ends in {target.suffix!r}. Endings: {known}.")
    if ending is None or (form and ending != form):
        raise UsageError(f"--to {target} does not end as --format {form} does ({drawn.ending if drawn else ''}).")
    return ending, target.parent, target.stem


def _asked(kind: str, **given: Any) -> dict[str, Any]:
    """What is asked of the kind. Raise UsageError for an unknown kind, or for an option that it has no use for."""
    from dashboards import reports

    known = reports.settings_of(kind)
    asked = {name: value for name, value in given.items() if value not in (None, False, ())}
    for name in asked:
        if name not in known:
            able = " or ".join(other for other in reports.names() if name in reports.settings_of(other))
            raise UsageError(f"The report {kind} has no use for {OPTIONS[name]}; use it with {able}.")
    return asked


def _compared(workspace: Path, a: str | None, b: str | None, metrics: tuple[str, ...], tau: float | None) -> Any:
    """The result of the comparison. Raise UsageError where a side is missing, and like `featlas compare`."""
    from flows.comparison_report import compared
    from labeling.types import TAU_SHARE

    if not a or not b:
        raise UsageError("A comparison has two sides; name them with --a and --b, each written as key=value,key=value.")
    chosen = tuple(dict.fromkeys(metrics)) or ("headline",)
    return compared(workspace, a, b, metrics=chosen, tau=TAU_SHARE if tau is None else tau)


def _command() -> str:
    """The command as it was typed, without the folders of this machine."""
    context = click.get_current_context()
    words = ["featlas", "report"]
    if context.params["kind"] != KIND:
        words.append(context.params["kind"])
    for parameter in context.command.params:
        if not isinstance(parameter, click.Option) or parameter.name in ("workspace", "target"):
            continue
        value = context.params[parameter.name or ""]
        for each in value if isinstance(value, tuple) else (value,):
            if each is not None:
                words += [parameter.opts[0], shlex.quote(str(each))]
    return " ".join(words)
