"""A language-model provider on 127.0.0.1, to try and to test things without a key: real HTTP for the real SDKs.

It speaks Anthropic's Messages, token counting and Message Batches, and OpenAI's Chat Completions, Files and Batches.
What it answers, how slowly, within which limits and with which faults is up to its owner:

    with LoopbackProvider(answer, faults=in_turn("429", "reset")) as provider:
        ... base_url=provider.openai_url ...

    featlas fake-provider --latency 0.2 --fault-share 0.3
    python -m flows.fake_provider --port 8123      # its addresses as JSON; GET /counts and /questions tell the rest
"""

from flows.fake_provider.asked import Asked, question_name
from flows.fake_provider.faults import FAULTS, MIXED, Call, CallFault, Fault, Faults, always, in_turn, mixed
from flows.fake_provider.provider import Answer, LoopbackProvider

__all__ = [
    "FAULTS",
    "MIXED",
    "Answer",
    "Asked",
    "Call",
    "CallFault",
    "Fault",
    "Faults",
    "LoopbackProvider",
    "always",
    "in_turn",
    "mixed",
    "question_name",
]
