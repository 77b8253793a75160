"""Options that several commands share, and the config they resolve to."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from labeling.config import Config
from labeling.config_files import load_config, restore_config
from labeling.errors import UsageError

CONFIG_FILE = Path("featlas.toml")

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

workspace_option = click.option(
    "--workspace",
    "-w",
    type=click.Path(path_type=Path),
    default=Path("workspace"),
    envvar="FEATLAS_WORKSPACE",
    show_default=True,
    help="Folder that holds everything of a run.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
config_option = click.option(
    "--config",
    "-c",
    type=click.Path(path_type=Path),
    help="Config file. Default: featlas.toml here, else the config of the workspace's last run.",
)
dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Send nothing; say what language models would be asked and what it would cost."
)
prefect_option = click.option(
    "--prefect/--no-prefect",
    default=None,
    help="Run as Prefect flows and tasks. Default: when PREFECT_API_URL is set.",
)

SHORTCUTS = {
    "features": ("label.features", "score.features"),
    "model": ("label.model", "score.model"),
    "explainer": ("label.explainer",),
    "labels": ("label.labels",),
    "scorer": ("score.scorers",),
    "base_url": ("llm.base_url",),
    "max_tokens": ("corpus.max_tokens",),
    "seed": ("sample.seed",),
    "cache_activations": ("sample.cache_activations",),
    "force": ("features.force",),
    "max_cost": ("llm.max_cost",),
    "max_requests": ("llm.max_requests",),
    "retry_failed": ("llm.retry_failed",),
    "mode": ("llm.mode",),
    "wait": ("llm.wait",),
}
"""Options by the config keys they stand for."""


def override_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that stand for config keys; the command gets them resolved as `overrides`."""

    @click.option("--features", help='Which features: "0-199", "3,17", or "sql: select feature from ...".')
    @click.option("--model", help="Language model, provider/model, that labels and judges.")
    @click.option(
        "--explainer", help="Who writes labels, such as token_pattern or top_and_random; several with commas."
    )
    @click.option("--labels", help="File or folder of labels made elsewhere, for --explainer import.")
    @click.option("--scorer", help="Who grades them, such as pattern or detection; several with commas.")
    @click.option("--base-url", help="A server that speaks the provider's protocol.")
    @click.option("--max-tokens", type=int, help="Tokens of the corpus to read.")
    @click.option("--seed", type=int, help="Seed of every random choice.")
    @click.option(
        "--cache-activations",
        is_flag=True,
        default=None,
        help="Keep all activations of the sample as an activation table, which other runs and programs can read.",
    )
    @click.option(
        "--force", is_flag=True, default=None, help="Go on when a dictionary says it belongs to another model or hook."
    )
    @click.option("--max-cost", type=float, help="US dollars that this run may spend on language models; exit code 4.")
    @click.option("--max-requests", type=int, help="Requests to language models that this run may send; exit code 4.")
    @click.option("--retry-failed", is_flag=True, default=None, help="Ask again for answers that could not be used.")
    @click.option(
        "--mode",
        type=click.Choice(["interactive", "batch"]),
        help="Ask at once, or in batches: half the price, answers within a day.",
    )
    @click.option("--no-wait", "wait", flag_value=False, default=None, help="Submit batches and end; run again later.")
    @click.option("--set", "keys", multiple=True, metavar="KEY=VALUE", help="Any config key, such as sample.panel=800.")
    @wraps(command)
    def with_overrides(*args: Any, keys: tuple[str, ...], **options: Any) -> Any:
        overrides: dict[str, object] = {}
        for option, places in SHORTCUTS.items():
            value = options.pop(option)
            if value is not None:
                overrides |= dict.fromkeys(places, value)
        for text in keys:
            key, separator, value = text.partition("=")
            if not separator or "." not in key:
                raise UsageError(f"--set takes section.key=value, such as sample.panel=800, not {text!r}.")
            overrides[key.strip()] = value.strip()
        return command(*args, overrides=overrides, **options)

    return with_overrides


def find_config(path: Path | None, workspace: Path, overrides: dict[str, object]) -> Config:
    """The config a command works with: the file given, `featlas.toml` here, or that of the workspace's last run."""
    if path is None and not CONFIG_FILE.exists():
        last = last_config(workspace)
        if last is None:
            raise UsageError(
                f"There is no config: no --config, no {CONFIG_FILE} in this folder, and no run in {workspace}. "
                "`featlas init` writes a config file to start from; `featlas demo` needs none."
            )
        # asking again, and not to wait, are for the run that was told to, not for those after it
        once = {"llm.retry_failed": False, "llm.wait": True}
        return restore_config(last, environment=os.environ, overrides={**once, **overrides})
    return load_config(path or CONFIG_FILE, environment=os.environ, overrides=overrides)


def last_config(workspace: Path) -> str | None:
    """The config of the last run on a workspace, as JSON; None where there was none."""
    from labeling.snapshot import query
    from labeling.workspace import Workspace

    if not Workspace(workspace).snapshot.exists():
        return None
    rows = query(Workspace(workspace), "SELECT config FROM runs ORDER BY started_at DESC LIMIT 1")
    return str(rows.item(0, 0)) if len(rows) else None


def use_prefect(flag: bool | None) -> bool:
    """Whether to go through Prefect: as the user says, else when a server is named."""
    return bool(os.environ.get("PREFECT_API_URL")) if flag is None else flag
