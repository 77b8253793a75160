"""What can go wrong with an answer, and when it does: plain functions from a question to a fault or None."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Literal, get_args

from flows.fake_provider.asked import Asked
from flows.fake_provider.http_server import JSON

Fault = Literal[
    "400", "401", "402", "403", "404", "413", "429", "429_quota", "500", "529",
    "reset", "hang", "drip", "malformed",
    "truncated", "refusal", "filtered", "empty", "wrong_count", "prose", "not_json",
    "expired", "canceled",
]  # fmt: skip
"""HTTP errors; connections that break, and a body that is no JSON (in a batch all of these make the request errored);
answers that can't be used as they are; and what only happens in a batch, and is no fault elsewhere."""
FAULTS: tuple[Fault, ...] = get_args(Fault)
MIXED: tuple[Fault, ...] = (
    "429", "500", "529", "reset", "hang", "malformed", "truncated", "refusal", "empty", "wrong_count", "prose",
    "not_json",
)  # fmt: skip
"""What a run has to survive: nothing that would stop it, such as a wrong key."""

CallFault = Literal["400", "401", "403", "404", "413", "429", "500", "529", "reset", "lost_create"]
"""What can go wrong with a call about batches or files. `lost_create`: it is done, but the connection is reset before
the reply."""
Call = Literal["create", "retrieve", "list", "cancel", "results", "upload", "file", "files", "content", "delete"]
"""What is done with a batch or a file; `results` is Anthropic's, the last five are OpenAI's. `files` lists them."""

Faults = Callable[[Asked], "Fault | None"]

SPOILED_PROSE = "Here is the answer you asked for:\n\n{text}\n\nLet me know if anything else would help."
NO_JSON = "I looked at every one of them, and most seem to fit."


def in_turn(*faults: Fault) -> Faults:
    """Each body meets these faults, one an attempt, and is answered afterwards."""
    return lambda asked: faults[asked.seen_before] if asked.seen_before < len(faults) else None


def always(fault: Fault) -> Faults:
    return lambda _: fault


def mixed(share: float, seed: int, kinds: Sequence[Fault] = MIXED) -> Faults:
    """Each attempt meets a fault with probability `share`, of any of the kinds, decided by seed, body and attempt."""

    def decide(asked: Asked) -> Fault | None:
        generator = Random(f"{seed} {asked.digest} {asked.seen_before}")
        return generator.choice(kinds) if generator.random() < share else None

    return decide


def spoil(text: str, fault: Fault | None) -> str:
    """What a fault leaves of a good answer's text."""
    match fault:
        case "empty" | "refusal" | "filtered":
            return ""
        case "truncated":
            return text[: len(text) // 2]
        case "wrong_count":
            return one_missing(text)
        case "prose":
            return SPOILED_PROSE.format(text=text)
        case "not_json":
            return NO_JSON
        case _:
            return text


def one_missing(text: str) -> str:
    """The answer without the last item of its first list; without its last property where there is no list."""
    try:
        value = json.loads(text)
    except ValueError:
        return text[:-1]
    return json.dumps(_without_last(value))


def _without_last(value: JSON) -> JSON:
    if isinstance(value, list):
        return value[:-1]
    if not isinstance(value, dict):
        return None
    for name, part in value.items():
        if isinstance(part, list) and part:
            return {**value, name: part[:-1]}
    return dict(list(value.items())[:-1])
