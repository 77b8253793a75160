"""`python -m flows.fake_provider`: serve until killed, for tests and benches that want it in a process of its own."""

from __future__ import annotations

import argparse
import json
import sys
import threading

from flows.fake_provider import LoopbackProvider, mixed


def main() -> None:
    """Say both addresses as one line of JSON, and serve."""
    parser = argparse.ArgumentParser(description="A language-model provider on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--fault-share", type=float, default=0.0, help="share of attempts that meet a fault, 0-1")
    parser.add_argument("--requests-per-minute", type=float, help="limit that is announced and enforced")
    parser.add_argument("--batch-seconds", type=float, default=0.05, help="time from a batch's creation to its end")
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    parser.add_argument("--no-prompt-cache", action="store_true", help="make usage the same whatever was asked before")
    options = parser.parse_args()
    provider = LoopbackProvider(
        port=options.port,
        latency_seconds=options.latency,
        faults=mixed(share=options.fault_share, seed=options.seed),
        requests_per_minute=options.requests_per_minute,
        batch_seconds=options.batch_seconds,
        prompt_cache=not options.no_prompt_cache,
        keep_asked=False,
    )
    with provider:
        sys.stdout.write(json.dumps({"anthropic": provider.url, "openai": provider.openai_url}) + "\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main()
