"""The command `bench`: measure what the documentation promises, as a table or as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from flows import benches
from flows.benches import Bench, BenchOptions, Row
from flows.commands.options import json_option
from labeling.registry import create, names


@click.command(epilog=f"NAME is one of: {', '.join(names(benches))}.")
@click.argument("name")
@click.option(
    "--workspace",
    "-w",
    type=click.Path(path_type=Path),
    help="For the benches `demo` and `prompts`: measure the labels or the judges of this workspace.",
)
@click.option(
    "--corpus", help="For the benches `prompts` and `delphi`: a file or folder of text, instead of the embedded corpus."
)
@click.option(
    "--kills", type=click.IntRange(min=1), help="For the benches `kills` and `llm`: runs to kill, 30 if left out."
)
@click.option("--seed", type=int, help="For the same: of the random moments, 0 if left out.")
@click.option(
    "--size", type=click.Choice(["million"]), help="For the bench `sampler`: a dictionary of 1,048,576 features."
)
@click.option("--python", help="For the bench `delphi`: the Python of an environment where eai-delphi is installed.")
@json_option
def bench(name: str, as_json: bool, **options: Any) -> None:
    """Measure what the documentation promises, and print each number beside its target.

    Exit code 1 when a target is missed. With --json: a list of objects with name, value, unit, target, ok.
    """
    chosen: Bench = create(benches, name, kind="bench", options=BenchOptions(**options))
    rows = chosen.measure()
    click.echo(json.dumps([asdict(row) for row in rows], indent=2) if as_json else as_text(rows))
    if not all(row.ok for row in rows):
        raise click.exceptions.Exit(1)


def as_text(rows: Sequence[Row]) -> str:
    """A table with one line a number; the missed targets say so."""
    lines = [(row.name, _number(row.value), row.unit, row.target or "", _verdict(row)) for row in rows]
    wide = [max((len(line[column]) for line in lines), default=0) for column in range(5)]
    return "\n".join(
        f"{name:<{wide[0]}}  {value:>{wide[1]}} {unit:<{wide[2]}}  {target:<{wide[3]}}  {verdict}".rstrip()
        for name, value, unit, target, verdict in lines
    )


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _verdict(row: Row) -> str:
    return "" if row.target is None else "ok" if row.ok else "MISSED"
