"""What the headers of a provider's answers say about its rate limits. Knows both providers' names for it, no SDK."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime

from labeling.llm._rate import Announced, Resource

_ANTHROPIC = re.compile(r"anthropic-ratelimit-(requests|tokens|input-tokens|output-tokens)-(limit|remaining|reset)")
_OPENAI = re.compile(r"x-ratelimit-(limit|remaining|reset)-(requests|tokens)")
_RESOURCES: dict[str, Resource] = {
    "requests": "requests",
    "tokens": "tokens",
    "input-tokens": "input_tokens",
    "output-tokens": "output_tokens",
}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|d|h|m|s)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def read_limits(headers: Mapping[str, str], *, now: float) -> dict[Resource, Announced]:
    """Every resource with a limit and what is left of it. `now` is in Unix seconds; the server's own clock counts more."""
    said: dict[str, dict[str, str]] = {}
    for name, value in headers.items():
        if "ratelimit-" not in (name := name.lower()):
            continue
        if match := _ANTHROPIC.fullmatch(name):
            said.setdefault(match[1], {})[match[2]] = value
        elif match := _OPENAI.fullmatch(name):
            said.setdefault(match[2], {})[match[1]] = value
    limits: dict[Resource, Announced] = {}
    for resource, fields in said.items():
        limit, remaining = _number(fields.get("limit")), _number(fields.get("remaining"))
        if limit and remaining is not None:
            reset = _reset_seconds(fields.get("reset", ""), _server_time(headers, now))
            limits[_RESOURCES[resource]] = Announced(limit, remaining, reset)
    return limits


def _number(text: str | None) -> float | None:
    """None for what is no number of 0 or more."""
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None


def _server_time(headers: Mapping[str, str], now: float) -> float:
    try:
        return parsedate_to_datetime(headers.get("date", "")).timestamp()
    except ValueError:
        return now


def _reset_seconds(text: str, now: float) -> float | None:
    """From a time (RFC 3339), a duration such as `6m0s` or `17ms`, or plain seconds. None when it can't be read."""
    parts = _DURATION.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return sum(float(number) * _SECONDS[unit] for number, unit in parts)
    plain = _number(text)
    if plain is not None:
        return plain
    try:
        return max(0.0, datetime.fromisoformat(text).timestamp() - now)
    except ValueError:
        return None
