"""Commands that make something to start from: `init`, `train-dictionary`, `random-directions`."""

from __future__ import annotations

from pathlib import Path

import click

from flows.commands.files import write_file
from labeling import corpora
from labeling.config import default_config_text
from labeling.corpora import Corpus
from labeling.errors import UsageError
from labeling.registry import create, settings_of


@click.command()
@click.argument("path", type=click.Path(path_type=Path), default=Path("featlas.toml"))
@click.option("--force", is_flag=True, help="Overwrite the file when it exists.")
def init(path: Path, force: bool) -> None:
    """Write a commented config file, every key with its meaning and default. As written it runs the embedded demo."""
    if path.exists() and not force:
        raise UsageError(f"{path} exists already. Name another file, or use --force to overwrite it.")
    write_file(path, default_config_text().encode())
    click.echo(f"{path} is written. Change what you need, then: featlas run --config {path}", err=True)


@click.command()
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--model", default="embedded/minilm", show_default=True, help="Folder, hub id or embedded/... name.")
@click.option("--hook", default="encoder.layer.2", show_default=True, help="Module whose output is read.")
@click.option("--corpus", default="embedded", show_default=True, help="Kind of corpus, such as embedded or files.")
@click.option("--path", help="Where the text is, for a corpus that has a place.")
@click.option("--column", help="Key or column of the text, for a corpus that has some.")
@click.option("--max-tokens", type=int, help="Tokens to read. Default: the whole corpus.")
@click.option("--n-features", type=int, default=2048, show_default=True, help="Width of the dictionary.")
@click.option("--k", type=int, default=16, show_default=True, help="Features kept for each token.")
@click.option("--steps", type=int, default=4000, show_default=True, help="Steps of 2,048 tokens.")
@click.option("--learning-rate", type=float, default=6e-3, show_default=True, help="Of Adam, at its highest.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--threads", type=int, help="CPU threads. Default: the idle ones, two at most.")
def train_dictionary(
    output: Path,
    model: str,
    hook: str,
    corpus: str,
    path: str | None,
    column: str | None,
    max_tokens: int | None,
    n_features: int,
    k: int,
    steps: int,
    learning_rate: float,
    seed: int,
    threads: int | None,
) -> None:
    """Train a TopK dictionary on a model's activations and write it to OUTPUT, a folder or a .safetensors file.

    Without options this rebuilds the dictionary that comes with Featlas: about ten minutes on two idle cores and 2 GB
    of memory. The card beside the weights says what it was made from and how well it does on held-out documents.
    """
    from flows.progress import terminal_progress
    from labeling.topk_trainer import TrainingSettings
    from labeling.training import train_dictionary as train

    progress = terminal_progress()
    card = train(
        model=model,
        hook=hook,
        corpus=_open_corpus(corpus, path, column),
        output=output,
        settings=TrainingSettings(n_features=n_features, k=k, steps=steps, learning_rate=learning_rate, seed=seed),
        max_tokens=max_tokens,
        threads=threads,
        progress=lambda what, done, total: progress.advance(what, done=done, total=total, unit="tokens or steps"),
    )
    explained, dead = card["variance_explained_held_out"], card["dead_share"]
    click.echo(f"{output}: {explained:.1%} of variance explained on held-out documents, {dead:.1%} of features dead")


@click.command()
@click.argument("output", type=click.Path(path_type=Path))
@click.option(
    "--like", default="embedded/minilm-l2-2048", show_default=True, help="Dictionary to be as wide and sparse as."
)
@click.option("--model", default="embedded/minilm", show_default=True, help="Folder, hub id or embedded/... name.")
@click.option("--hook", default="encoder.layer.2", show_default=True, help="Module whose output is read.")
@click.option("--corpus", default="embedded", show_default=True, help="Kind of corpus, such as embedded or files.")
@click.option("--path", help="Where the text is, for a corpus that has a place.")
@click.option("--column", help="Key or column of the text, for a corpus that has some.")
@click.option("--max-tokens", type=int, default=100_000, show_default=True, help="Tokens that shares are matched on.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--threads", type=int, help="CPU threads. Default: the idle ones, two at most.")
def random_directions(
    output: Path,
    like: str,
    model: str,
    hook: str,
    corpus: str,
    path: str | None,
    column: str | None,
    max_tokens: int,
    seed: int,
    threads: int | None,
) -> None:
    """Write a control dictionary to OUTPUT: random directions, each firing as often as a feature of another dictionary.

    Give it a [[features]] section with control_for, and it stands on the scoreboard as `random_directions`: what labels of
    directions that mean nothing score, through the whole pipeline.
    """
    from flows.progress import terminal_progress
    from labeling.random_directions import draw_directions

    progress = terminal_progress()
    card = draw_directions(
        model=model,
        hook=hook,
        like=like,
        corpus=_open_corpus(corpus, path, column),
        output=output,
        seed=seed,
        max_tokens=max_tokens,
        threads=threads,
        progress=lambda what, done, total: progress.advance(what, done=done, total=total, unit="tokens"),
    )
    click.echo(f"{output}: {card['n_features']:,} random directions, matched on {card['n_tokens']:,} tokens")


def _open_corpus(name: str, path: str | None, column: str | None) -> Corpus:
    keys = {"path": path} if column is None else {"path": path, "column": column}
    if column is not None and "column" not in settings_of(corpora, name, kind="corpus"):
        raise UsageError(f"--column is {column!r}, but the corpus {name!r} has no columns. Leave it out.")
    corpus: Corpus = create(corpora, name, kind="corpus", **keys)
    return corpus
