"""The command `import-table`: activations that another program wrote, to an activation table."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(name="import-table")
@click.argument("kind")
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("table", type=click.Path(path_type=Path))
@click.option("--tokenizer", help="Folder or hub id of the model, where PATH does not name it.")
def import_table(kind: str, path: Path, table: Path, tokenizer: str | None) -> None:
    """Write the activations in PATH to the folder TABLE, to be used as `source = "table"`.

    KIND says who wrote PATH: delphi (a folder of latents cached for one module) or neuronpedia (a source's export).
    """
    from labeling import importers
    from labeling.registry import create

    importer = create(importers, kind, kind="kind of export", path=path, tokenizer=tokenizer)
    importer.write(table, say=lambda text: click.echo(text, err=True))
