"""Command `ledger`: look at the requests to language models and their answers. It only reads, also beside a run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.commands.options import json_option, workspace_option
from labeling.errors import UsageError

if TYPE_CHECKING:
    from labeling.ledger import Ledger, LedgerSummary
    from labeling.types import JSON, CompletionFailure, LLMRequest

SHOWN_MATCHES = 5
FORMATS = (".parquet", ".csv")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""What would move a terminal's cursor, or cannot be printed."""

same_workspace_option = click.option(
    "--workspace", "-w", type=click.Path(path_type=Path), help="Folder of the run. Default: as given to `ledger`."
)


@click.group(invoke_without_command=True)
@workspace_option
@json_option
@click.pass_context
def ledger(context: click.Context, workspace: Path, as_json: bool) -> None:
    """Show what was asked of language models: counts by state, tokens, cost, failures, batches under way.

    It only reads and holds up no run. Failed requests are asked again when the stage that needs them runs again.
    """
    context.obj = workspace
    if context.invoked_subcommand is not None:
        return
    with _opened(context, None) as opened:
        summary, interrupted = opened.summary(), opened.interrupted()
    if as_json:
        click.echo(json.dumps(asdict(summary) | {"interrupted": interrupted}, indent=2))
    else:
        click.echo("\n".join(_summary_lines(summary, interrupted)))


@ledger.command()
@click.argument("key")
@same_workspace_option
@json_option
@click.pass_context
def prompt(context: click.Context, key: str, workspace: Path | None, as_json: bool) -> None:
    """Render the full prompt of a request again, and check it against its hash.

    KEY is the request's key or the start of it, as in the table llm_requests.
    """
    with _opened(context, workspace) as opened:
        found = _find_key(opened, key)
        request = opened.request(found)
    click.echo(json.dumps({"request_key": found, **_fields(request)}) if as_json else _prompt_text(found, request))


@ledger.command()
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Failures to show.")
@same_workspace_option
@json_option
@click.pass_context
def failures(context: click.Context, limit: int, workspace: Path | None, as_json: bool) -> None:
    """Show why requests failed, the latest first, with the text that came back."""
    with _opened(context, workspace) as opened:
        keys = opened.failed(limit=limit)
        failed = opened.failures(keys)
    shown = [(key, failed[key]) for key in keys if key in failed]  # one may be under way again by now
    if as_json:
        click.echo(json.dumps([{"request_key": key, **asdict(failure)} for key, failure in shown], indent=2))
    else:
        click.echo("\n\n".join(_failure_text(key, failure) for key, failure in shown) or "No request has failed.")


@ledger.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@same_workspace_option
@click.pass_context
def export(context: click.Context, file: Path, workspace: Path | None) -> None:
    """Write answered and failed requests to FILE (.parquet or .csv): the table llm_requests."""
    from flows.tables import render_table
    from labeling.assets import asset
    from labeling.llm._prices import load_prices

    if file.suffix not in FORMATS:
        raise UsageError(
            f"{file} ends in {file.suffix or 'nothing'!r}; name a file that ends in {' or '.join(FORMATS)}."
        )
    with _opened(context, workspace) as opened:
        frame = opened.export(load_prices(asset("prices.json")).cost_usd)
    content = render_table(frame, "parquet" if file.suffix == ".parquet" else "csv")
    try:
        file.write_bytes(content)
    except OSError as error:
        raise UsageError(f"{file} can't be written: {error.strerror}. Name a file in a folder that exists.") from error
    click.echo(f"{file}: {len(frame):,} requests", err=True)


@contextmanager
def _opened(context: click.Context, workspace: Path | None) -> Iterator[Ledger]:
    from labeling.ledger import Ledger
    from labeling.workspace import Workspace

    with Ledger(Workspace(workspace or context.obj).ledger, read_only=True) as opened:
        yield opened


def _find_key(opened: Ledger, start: str) -> str:
    found = opened.keys_starting(start.lower(), limit=SHOWN_MATCHES + 1)
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(
            f"The ledger {opened.path} has no request whose key starts with {start!r}. Keys stand in the column "
            "request_key of `featlas ledger export FILE` and of the table llm_requests."
        )
    more = " and more" if len(found) > SHOWN_MATCHES else ""
    raise UsageError(
        f"Several keys start with {start!r}: {', '.join(found[:SHOWN_MATCHES])}{more}. Write more digits of the one meant."
    )


def _summary_lines(summary: LedgerSummary, interrupted: int) -> list[str]:
    uncounted = summary.n_tokens_unknown, "whose server did not say"
    cost = None if summary.cost_usd is None else f"${summary.cost_usd:,.4f}"
    rows = [
        ("answered", f"{summary.answered:,}"),
        ("failed", f"{summary.failed:,}"),
        *((f"  {reason}", f"{count:,}") for reason, count in summary.failed_by_reason.items()),
        ("under way", f"{summary.sent - interrupted:,}"),
        ("interrupted", f"{interrupted:,}" + (": the next run sends them again" if interrupted else "")),
        ("pending", f"{summary.pending:,}"),
        ("tokens in", _but_for(_tokens_in(summary), *uncounted)),
        ("tokens out", _but_for(_count(summary.output_tokens), *uncounted)),
        ("cost", _but_for(cost, summary.n_cost_unknown, "whose price or tokens are not known")),
        ("batches under way", f"{len(summary.batches):,}"),
        *((f"  {b.batch[:12]}", f"{b.state}, {b.n_requests:,} requests to {b.model}") for b in summary.batches),
    ]
    width = max(len(name) for name, _ in rows)
    return [f"{name:<{width}}  {text}" for name, text in rows]


def _tokens_in(summary: LedgerSummary) -> str | None:
    count = _count(summary.input_tokens)
    if count is None or summary.cached_input_tokens is None:
        return count
    return f"{count}, {summary.cached_input_tokens:,} of them from a cache"


def _count(count: int | None) -> str | None:
    return None if count is None else f"{count:,}"


def _but_for(known: str | None, n_unknown: int, which: str) -> str:
    """A sum, and what is missing in it. `known` None means that all of it is."""
    requests = f"{n_unknown:,} request{'s' * (n_unknown != 1)} {which}"
    if known is None:
        return f"not known: {requests}"
    return f"{known}, without {requests}" if n_unknown else known


def _fields(request: LLMRequest) -> dict[str, JSON]:
    return {**vars(request), "schema": dict(request.schema)}


def _prompt_text(key: str, request: LLMRequest) -> str:
    return _printable(
        f"--- request {key}, {request.model}, {request.purpose}, at most {request.max_output_tokens} tokens, "
        f"repeat {request.repeat}\n\n[system]\n{request.system}\n\n[user]\n{request.user}\n\n"
        f"[answer]\n{json.dumps(dict(request.schema))}\n"
    )


def _failure_text(key: str, failure: CompletionFailure) -> str:
    lines = [f"--- {key}: {failure.reason}, {failure.attempts} attempts", failure.detail or "(no details)"]
    if failure.answer is not None:
        lines += [f"[answer, {failure.answer.stop_reason}]", failure.answer.text or "(empty)"]
    return _printable("\n".join(lines))


def _printable(text: str) -> str:
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)
