"""What the provider needs to know of an API: how it writes questions, answers, errors and limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

from flows.fake_provider.asked import Asked, Received
from flows.fake_provider.faults import Fault
from flows.fake_provider.http_server import JSON, Reply, json_reply
from flows.fake_provider.prompt_cache import CacheUse
from flows.fake_provider.rate_limit import Standing


class Refused(Exception):
    """A call that is answered by an HTTP error. Without a code the error has the one that its status usually has."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


class Api(Protocol):
    @property
    def name(self) -> Literal["anthropic", "openai"]: ...

    def read_question(self, body: JSON, received: Received) -> Asked:
        """Raise KeyError, TypeError or ValueError when the body is no question."""
        ...

    def write_answer(self, asked: Asked, text: str, fault: Fault | None, cache: CacheUse) -> JSON: ...

    def write_error(self, error: Refused) -> JSON: ...

    def charged_tokens(self, asked: Asked, cache: CacheUse) -> int:
        """What the question takes from the limit of tokens a minute."""
        ...

    def limit_headers(self, standings: Mapping[str, Standing], now: float) -> dict[str, str]:
        """`now` in Unix seconds."""
        ...

    def wait_headers(self, wait_seconds: float) -> dict[str, str]:
        """What 429 says about when to come again."""
        ...


def error_reply(api: Api, error: Refused, headers: Mapping[str, str] | None = None) -> Reply:
    return json_reply(error.status, api.write_error(error), headers)


def fault_error(fault: Fault, asked: Asked | None) -> Refused:
    """The HTTP error that a fault stands for, in words like the providers' own.

    401 repeats the key it got, as some servers do: a client must not pass that on.
    """
    headers = asked.headers if asked else {}
    model = asked.model if asked else ""
    key = headers.get("authorization", headers.get("x-api-key", ""))
    message, code = {
        "400": ("prompt is too long: 300000 tokens > 200000 maximum", "context_length_exceeded"),
        "401": (f"invalid x-api-key: {key}", None),
        "402": ("Your credit balance is too low.", None),
        "403": ("Your key does not have permission to use this model.", None),
        "404": (f"model: {model}", "model_not_found"),
        "413": ("Request exceeds the maximum size", None),
        "429": ("This request would exceed your rate limit", None),
        "429_quota": ("You exceeded your current quota, please check your plan.", "insufficient_quota"),
        "529": ("Overloaded", None),
    }.get(fault, ("Internal server error", None))
    return Refused(int(fault[:3]) if fault[:3].isdigit() else 500, message, code)
