"""Commands that make something to start from: `init`, `train-dictionary`."""

from __future__ import annotations

from pathlib import Path

import click

from labeling.config import default_config_text
from labeling.errors import UsageError


@click.command()
@click.argument("path", type=click.Path(path_type=Path), default=Path("featlas.toml"))
@click.option("--force", is_flag=True, help="Overwrite the file when it exists.")
def init(path: Path, force: bool) -> None:
    """Write a commented config file, every key with its meaning and default. As written it runs the embedded demo."""
    if path.exists() and not force:
        raise UsageError(f"{path} exists already. Name another file, or use --force to overwrite it.")
    path.write_text(default_config_text(), encoding="utf-8")
    click.echo(f"{path} is written. Change what you need, then: featlas run --config {path}", err=True)
