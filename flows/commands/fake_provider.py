"""The command `fake-provider`: a language-model provider on this machine, to try things without a key or a bill."""

from __future__ import annotations

import signal
import threading

import click

from flows.fake_provider import LoopbackProvider, mixed
from labeling.errors import UsageError


@click.command("fake-provider")
@click.option("--port", type=click.IntRange(0, 65535), default=8123, show_default=True, help="0 takes a free one.")
@click.option(
    "--latency", type=click.FloatRange(min=0), default=0.2, show_default=True, help="Seconds before each answer."
)
@click.option(
    "--fault-share",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Share of attempts that meet a fault: 429, 500, 529, reset, truncated and others; 1 in 12 of them hangs.",
)
@click.option("--requests-per-minute", type=click.FloatRange(min=0, min_open=True), help="Limit, told in headers.")
@click.option("--tokens-per-minute", type=click.FloatRange(min=0, min_open=True), help="Limit, told in headers.")
@click.option(
    "--batch-seconds",
    type=click.FloatRange(min=0),
    default=5.0,
    show_default=True,
    help="Time from a batch's creation to its end.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the faults.")
def fake_provider(
    port: int,
    latency: float,
    fault_share: float,
    requests_per_minute: float | None,
    tokens_per_minute: float | None,
    batch_seconds: float,
    seed: int,
) -> None:
    """Serve both providers' APIs on 127.0.0.1, interactive and batch, until Ctrl-C or kill; then print what was counted.

    Answers are small and fit the schema of the question; their content means nothing. Any key is let in.
    """
    provider = LoopbackProvider(
        port=port,
        latency_seconds=latency,
        faults=mixed(share=fault_share, seed=seed),
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        batch_seconds=batch_seconds,
        keep_asked=False,
    )
    try:
        with provider:
            for number in (signal.SIGINT, signal.SIGTERM):  # a script's background programs ignore the first
                signal.signal(number, signal.default_int_handler)
            click.echo(introduction(provider))
            _wait_for_interrupt()
    except OSError as error:
        raise UsageError(
            f"Port {port} of 127.0.0.1 can't be taken: {error.strerror}. Another fake provider may be running there. "
            "Name another --port; 0 takes a free one."
        ) from error
    click.echo("\n".join(f"{name.replace('_', ' ')}: {count:,}" for name, count in provider.counts().items()))


def introduction(provider: LoopbackProvider) -> str:
    """Where the provider is, and how to ask it."""
    return (
        f"Anthropic: {provider.url}\n"
        f"OpenAI:    {provider.openai_url}\n"
        "In another terminal, after `featlas demo`, for example:\n"
        "  OPENAI_API_KEY=any featlas run --features 0-9 --explainer top_and_random --scorer detection "
        f"--model openai/tiny --base-url {provider.openai_url}\n"
        "Ctrl-C or kill ends it."
    )


def _wait_for_interrupt() -> None:
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        click.echo()
