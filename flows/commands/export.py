"""The command `export`: a published workspace to files that other programs read."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import click

from flows.commands.options import workspace_option
from labeling.errors import UsageError

LABELS = "With neuronpedia and delphi: "


class FormatsCommand(click.Command):
    """Lists the formats below its options."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Formats"):
            formatter.write_dl(list(formats().items()))
        super().format_epilog(ctx, formatter)


@click.command(
    cls=FormatsCommand,
    epilog="For example: featlas export scoreboard scores.xlsx; featlas export delphi explanations --explainer ngram",
)
@click.argument("form", metavar="FORMAT", required=False)
@click.argument("place", metavar="PLACE", required=False, type=click.Path(path_type=Path))
@workspace_option
@click.option("--force", is_flag=True, help="Replace PLACE if it is a file, or a folder that an export made.")
@click.option("--feature-set", help="Which feature set, where there are several. With neuronpedia, delphi, scoreboard.")
@click.option("--explainer", help=f"{LABELS}whose labels. Default: those that the report shows.")
@click.option(
    "--model", help=f"{LABELS}the explainer's language model, provider/model; of imported labels, their author."
)
@click.option("--features", help=f'{LABELS}which features, "0-199", "3,17", or "sql: select feature from ...".')
@click.option("--tables", help="With parquet, huggingface: these tables only, with commas between.")
@click.option("--model-id", help="With neuronpedia: its id of the model. Default: the last part of the model's name.")
@click.option(
    "--source-id", help="With neuronpedia: its id of the dictionary, such as 6-res-jb. Default: the feature set."
)
@click.option("--author-id", help="With neuronpedia: id of the user that the labels are put under. Default: featlas.")
@click.option(
    "--single-file", type=click.Path(path_type=Path), help="The same as `featlas export duckdb FILE`.", metavar="FILE"
)
def export(
    form: str | None, place: Path | None, workspace: Path, force: bool, single_file: Path | None, **options: str | None
) -> None:
    """Write what is known about a workspace's features in FORMAT to PLACE, a file or a new folder.

    Labels that do not exist are counted and listed with the reason, never written as text.
    """
    from dashboards.exporters._places import export_to
    from labeling.workspace import Workspace

    form, place = _asked(form, place, single_file)
    exporter = _exporter(form, options)
    said = export_to(place, exporter, Workspace(workspace), force=force)
    click.echo(said, err=True)
    click.echo(str(place))


def formats() -> dict[str, str]:
    """Every format with half a line about it."""
    from dashboards import exporters
    from labeling.registry import names

    return {name: str(import_module(f"{exporters.__name__}.{name}").ABOUT) for name in names(exporters)}


def _asked(form: str | None, place: Path | None, single_file: Path | None) -> tuple[str, Path]:
    """Format and place. Raise UsageError when one is missing."""
    if single_file is not None:
        if form is not None:
            raise UsageError("--single-file names format and file already. Leave FORMAT and PLACE out.")
        return "duckdb", single_file
    if form is None:
        raise UsageError(
            f"Say what to write and where, such as featlas export delphi FOLDER. Formats: {', '.join(formats())}."
        )
    if place is None:
        raise UsageError(f"Say where to write: featlas export {form} PLACE. Formats: {', '.join(formats())}.")
    return form, place


def _exporter(form: str, options: dict[str, str | None]) -> Any:
    """The exporter with the settings it takes. Raise UsageError for an option that it does not take."""
    from dashboards import exporters
    from labeling.registry import create, names, settings_of
    from labeling.selection import parse_selection

    taken = settings_of(exporters, form, kind="export format")
    for name, value in options.items():
        if value is not None and name not in taken:
            others = [
                other for other in names(exporters) if name in settings_of(exporters, other, kind="export format")
            ]
            raise UsageError(
                f"--{name.replace('_', '-')} says nothing to the format {form}; it goes with {', '.join(others)}."
            )
    settings: dict[str, Any] = {name: options[name] for name in taken}
    if "features" in settings:
        settings["features"] = parse_selection(settings["features"] or "all")
    if "tables" in settings:
        settings["tables"] = tuple(part.strip() for part in (settings["tables"] or "").split(",") if part.strip())
    return create(exporters, form, kind="export format", **settings)
