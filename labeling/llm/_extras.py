"""Servers that refuse what a request may bring besides its words: found out by what they say, kept in mind, said once.

A request that a server refuses because of its JSON schema is asked again without one: the prompt's own words ask for the
JSON object, and every answer is checked anyway. One that is refused because it wants log-probabilities is asked again
without them: its answer then brings none. The request stays the same, in the ledger too. Knows no SDK.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal, get_args

from labeling.llm._dispatch import Reply
from labeling.llm._endpoint import Endpoint
from labeling.llm._faults import Fault, error_message, status_fault
from labeling.types import LOGPROBS_REFUSED, Completion

log = logging.getLogger(__name__)

Extra = Literal["schema", "logprobs"]
Extras = frozenset[Extra]
ALL: Extras = frozenset(get_args(Extra))

REFUSED_STATUS = (400, 422)
_ABOUT_SCHEMAS = re.compile(
    r"response[_ ]format|json[_ ]?schema|output[_ ](config|format)|structured[_ ]output|grammar", re.I
)
"""How OpenAI's models without it, DeepSeek, Groq, Mistral, vLLM, llama.cpp and LiteLLM name what they don't take."""
_ABOUT_LOGPROBS = re.compile(r"log[_ -]?prob", re.I)
LOGPROBS_STATUS = (*REFUSED_STATUS, 403)
"""OpenAI's reasoning models answer 403: not allowed to request logprobs from this model."""
_SAID: Mapping[Extra, str] = {
    "schema": "takes no JSON schema; answers are asked for in words alone from now on",
    "logprobs": "gives no log-probabilities; levels are those that the model writes from now on",
}

_WITHOUT: set[tuple[str, str, str, Extra]] = set()
"""Provider, model and address of those who were found not to take an extra."""
_LEARNING = threading.Lock()


def takes(endpoint: Endpoint, extra: Extra) -> bool:
    """Whether nothing is known against it."""
    return _name(endpoint, extra) not in _WITHOUT


async def send_with_or_without(endpoint: Endpoint, send: Callable[[Extras], Awaitable[Reply]]) -> Reply:
    """One attempt: `send` gets the extras that may go along; where one is what the server refuses, it is left out.

    Only a server that then takes the request is remembered: some name the schema in whatever they refuse.
    """
    extras = frozenset(extra for extra in ALL if takes(endpoint, extra))
    dropped: dict[Extra, str] = {}
    reply = await send(extras)
    while (named := _refused_extra(reply.outcome)) in extras:
        assert named is not None
        assert isinstance(reply.outcome, Fault)
        dropped[named] = reply.outcome.detail
        extras -= {named}
        reply = await send(extras)
    if _was_answered(reply.outcome):
        for extra, said in dropped.items():
            _remember(endpoint, extra, said)
    return reply


def refusal(endpoint: Endpoint, status: int, body: object, headers: Mapping[str, str]) -> Fault:
    """Read an HTTP error of a request; one that is about log-probabilities alone stops no run.

    Raise FeatlasError like `status_fault`.
    """
    said = error_message(body)
    if status in LOGPROBS_STATUS and _ABOUT_LOGPROBS.search(said):
        return Fault(LOGPROBS_REFUSED, False, f"HTTP {status}: {endpoint.scrub(said)}", status=status)
    return status_fault(endpoint, status, body, headers)


def _refused_extra(outcome: Completion | Fault) -> Extra | None:
    if isinstance(outcome, Completion):
        return None
    if outcome.reason == LOGPROBS_REFUSED:
        return "logprobs"
    about_schemas = (
        outcome.status in REFUSED_STATUS
        and outcome.reason == "rejected"
        and _ABOUT_SCHEMAS.search(outcome.detail) is not None
    )
    return "schema" if about_schemas else None


def _was_answered(outcome: Completion | Fault) -> bool:
    return isinstance(outcome, Completion) or outcome.answer is not None


def _remember(endpoint: Endpoint, extra: Extra, said: str) -> None:
    with _LEARNING:  # many requests find it out at the same time
        if not takes(endpoint, extra):
            return
        _WITHOUT.add(_name(endpoint, extra))
    log.warning("%s at %s %s (%s)", endpoint.full_name, endpoint.shown_url, _SAID[extra], said)


def _name(endpoint: Endpoint, extra: Extra) -> tuple[str, str, str, Extra]:
    return endpoint.provider, endpoint.model, endpoint.url, extra
