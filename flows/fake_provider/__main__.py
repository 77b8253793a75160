"""`python -m flows.fake_provider`: serve until killed, for tests and benches that want it in a process of its own."""

from __future__ import annotations

import argparse
import json
import sys
import threading

from flows.fake_provider import LoopbackProvider, mixed
from flows.fake_provider.answers import fixed_text, varied_text


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
    parser.add_argument("--call-seconds", type=float, default=0.0, help="from a call about batches to its reply")
    parser.add_argument("--varied", action="store_true", help="answers that depend on the question, and on it alone")
    parser.add_argument("--until-input-ends", action="store_true", help="end when standard input does")
    options = parser.parse_args()
    provider = LoopbackProvider(
        varied_text if options.varied else fixed_text,
        port=options.port,
        latency_seconds=options.latency,
        faults=mixed(share=options.fault_share, seed=options.seed),
        requests_per_minute=options.requests_per_minute,
        batch_seconds=options.batch_seconds,
        call_seconds=options.call_seconds,
        prompt_cache=not options.no_prompt_cache,
        keep_asked=False,
    )
    with provider:
        sys.stdout.write(json.dumps({"anthropic": provider.url, "openai": provider.openai_url}) + "\n")
        sys.stdout.flush()
        if options.until_input_ends:
            sys.stdin.read()
        else:
            threading.Event().wait()


if __name__ == "__main__":
    main()
