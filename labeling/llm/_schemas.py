"""Servers that refuse JSON schemas: found out by their words, kept in mind for the process, said once.

A request that a server refuses because of its schema is asked again without one: the prompt's own words ask for the JSON
object, and every answer is checked anyway. The request stays the same, in the ledger too. Knows no SDK.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Awaitable, Callable

from labeling.llm._dispatch import Reply
from labeling.llm._endpoint import Endpoint
from labeling.llm._faults import Fault
from labeling.types import Completion

log = logging.getLogger(__name__)

REFUSED_STATUS = (400, 422)
_ABOUT_SCHEMAS = re.compile(
    r"response[_ ]format|json[_ ]?schema|output[_ ](config|format)|structured[_ ]output|grammar", re.I
)
"""How OpenAI's models without it, DeepSeek, Groq, Mistral, vLLM, llama.cpp and LiteLLM name what they don't take."""

_WITHOUT: set[tuple[str, str, str]] = set()
"""Provider, model and address of those who were found to take no schema."""
_LEARNING = threading.Lock()


def takes_schemas(endpoint: Endpoint) -> bool:
    """Whether nothing is known against it."""
    return _name(endpoint) not in _WITHOUT


async def send_with_or_without(endpoint: Endpoint, send: Callable[[bool], Awaitable[Reply]]) -> Reply:
    """One attempt: `send(True)` sends the schema along; where that is what the server refuses, `send(False)` follows.

    Only a server that then takes the request is remembered: some name the schema in whatever they refuse.
    """
    if not takes_schemas(endpoint):
        return await send(False)
    reply = await send(True)
    refused = reply.outcome
    if isinstance(refused, Completion) or not _is_about_schemas(refused):
        return reply
    again = await send(False)
    if _was_answered(again.outcome):
        _remember(endpoint, refused.detail)
    return again


def _is_about_schemas(fault: Fault) -> bool:
    return (
        fault.status in REFUSED_STATUS
        and fault.reason == "rejected"
        and _ABOUT_SCHEMAS.search(fault.detail) is not None
    )


def _was_answered(outcome: Completion | Fault) -> bool:
    return isinstance(outcome, Completion) or outcome.answer is not None


def _remember(endpoint: Endpoint, said: str) -> None:
    with _LEARNING:  # many requests find it out at the same time
        if not takes_schemas(endpoint):
            return
        _WITHOUT.add(_name(endpoint))
    log.warning(
        "%s at %s takes no JSON schema; answers are asked for in words alone from now on (%s)",
        endpoint.full_name,
        endpoint.shown_url,
        said,
    )


def _name(endpoint: Endpoint) -> tuple[str, str, str]:
    return endpoint.provider, endpoint.model, endpoint.url
