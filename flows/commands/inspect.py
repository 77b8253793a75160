"""Commands that read: `query`, `doctor`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import click

from flows.commands.files import write_file
from flows.commands.options import json_option, workspace_option

Format = Literal["table", "csv", "json", "parquet"]


@click.command()
@click.argument("sql")
@workspace_option
@click.option(
    "--format",
    "-f",
    "form",
    type=click.Choice(["table", "csv", "json", "parquet"]),
    help="Default: as the name of the file ends, else table.",
)
@click.option("--to", "target", type=click.Path(path_type=Path), help="File to write instead of stdout.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds before the query is stopped.",
)
@click.option(
    "--rows",
    type=click.IntRange(min=1),
    default=40,
    show_default=True,
    help="Rows that a table shows; other formats give all.",
)
def query(sql: str, workspace: Path, form: Format | None, target: Path | None, timeout: float, rows: int) -> None:
    """Ask the published snapshot a question in SQL, for example:

    featlas query "select feature, label, score from labels order by score_low desc limit 10"

    It can't write, and can't read outside the workspace. Tables: labels, scoreboard, features, explanations, scores,
    contexts, judgments, ...; `describe labels` names the columns of one.
    """
    from flows.tables import format_of, render_table
    from labeling import snapshot
    from labeling.workspace import Workspace

    frame = snapshot.query(Workspace(workspace), sql, timeout_seconds=timeout)
    form = form or format_of(target)
    rendered = render_table(frame, form, rows=rows)
    if target is not None:
        write_file(target, rendered)
        click.echo(f"{target}: {len(frame):,} rows", err=True)
    elif form == "parquet" and sys.stdout.isatty():
        raise click.UsageError("Parquet is binary; name a file with --to FILE, or send stdout to one.")
    else:
        click.echo(rendered, nl=False)


@click.command()
@workspace_option
@json_option
def doctor(workspace: Path, as_json: bool) -> None:
    """Check that everything in the workspace fits together. Exit code 1 when something does not."""
    from labeling.doctor import doctor as examine
    from labeling.workspace import Workspace

    findings = examine(Workspace(workspace))
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    for finding in [] if as_json else findings:
        click.echo(f"{finding.check}: {finding.message}")
    if not findings and not as_json:
        click.echo("Everything fits together.")
    if findings:
        raise click.exceptions.Exit(1)
