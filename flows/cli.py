"""The command `featlas`: names its commands, loads one only when it is called, and turns errors into exit codes.

Exit codes: 0 ok, 1 failure, 2 usage, 3 partial (some items failed; running again resumes), 4 budget reached,
130 interrupted. Nothing heavy is imported here, so that help answers at once.
"""

from __future__ import annotations

import errno
import os
import sys
from importlib import import_module
from importlib.metadata import version

import click

from labeling.errors import FeatlasError, unknown_name
from labeling.packages import check_packages

COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("flows.commands.setup", "Write a commented config file to start from."),
    "demo": ("flows.commands.run", "Label, score and cluster a real model's features; no key, no network."),
    "run": ("flows.commands.run", "Run all stages of a config."),
    "sample": ("flows.commands.run", "Run the model over the corpus and choose contexts."),
    "label": ("flows.commands.label", "Write labels from contexts; --show-prompt prints the request."),
    "score": ("flows.commands.run", "Judge labels and their controls; compute scores."),
    "cluster": ("flows.commands.run", "Find neighbors and clusters, name them, draw the map."),
    "report": (
        "flows.commands.report",
        "Write a report of the run, a feature, a comparison, ...: HTML, Markdown or PDF.",
    ),
    "query": ("flows.commands.inspect", "Ask the published snapshot a question in SQL; read-only."),
    "compare": (
        "flows.commands.compare",
        "Compare two explainers, models, prompts, dictionaries or runs on the same windows.",
    ),
    "serve": ("flows.commands.serve", "Show it all in the browser: scoreboard, features, map, runs, SQL."),
    "export": (
        "flows.commands.export",
        "Write labels, scores or all tables for other programs: Neuronpedia, delphi, Parquet, XLSX, ...",
    ),
    "ledger": ("flows.commands.ledger", "Show what was asked of language models: counts, cost, failures, prompts."),
    "batches": ("flows.commands.batches", "List, collect or cancel what was asked of language models in batches."),
    "doctor": ("flows.commands.inspect", "Check that everything in the workspace fits together."),
    "import-table": (
        "flows.commands.import_table",
        "Turn activations of delphi or Neuronpedia into an activation table.",
    ),
    "train-dictionary": ("flows.commands.setup", "Train a TopK dictionary on a model's activations."),
    "random-directions": ("flows.commands.setup", "Make a control: random directions as sparse as a dictionary."),
    "fake-provider": ("flows.commands.fake_provider", "Serve a language model's APIs here, to try without a key."),
    "bench": ("flows.commands.bench", "Measure what the documentation promises."),
}
"""Command to module and one line of help, in the order people meet them."""


class LazyGroup(click.Group):
    """Knows its commands by name; imports the module of the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        if name not in COMMANDS:
            raise unknown_name("command", name, COMMANDS)
        command: click.Command = getattr(import_module(COMMANDS[name][0]), name.replace("-", "_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(version("featlas"), prog_name="featlas")
def featlas() -> None:
    """Name and grade the features of a sparse autoencoder, and keep it all in one DuckDB file.

    Start with `featlas demo`, or with `featlas init` and your own model.
    """


def main() -> None:
    """Run the command line and exit with its code. Errors that a user can mend print as one paragraph."""
    try:
        check_packages()
        code = featlas.main(standalone_mode=False)
    except FeatlasError as error:
        code = fail(str(error), error.exit_code)
    except click.exceptions.Abort:
        code = fail("Interrupted. What was finished is stored; the same command resumes.", 130)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except KeyboardInterrupt:
        code = fail("Interrupted. What was finished is stored; the same command resumes.", 130)
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has gone; nothing is left to say
        code = 1
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EFBIG, errno.EACCES, errno.EROFS, errno.EDQUOT):
            raise
        code = fail(
            f"{error.filename or 'A file'} can't be written: {os.strerror(error.errno)}. Everything stored before is "
            "still there. Make room, or name another --workspace, and run the same command again; it resumes.",
            1,
        )
    sys.exit(code or 0)


def fail(message: str, code: int) -> int:
    """Say what went wrong on stderr; return the exit code."""
    click.echo(f"Error: {message}", err=True)
    return code
