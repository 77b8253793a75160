"""Send the requests of a shard through the ledger and count what they cost. The only place where stages ask models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from labeling import llm
from labeling.assets import asset
from labeling.config import Config
from labeling.errors import unknown_name
from labeling.ledger import Ledger, LedgerModel, request_key
from labeling.llm import ask, connect
from labeling.llm._dispatch import RetryPolicy
from labeling.llm._prices import Prices, load_prices
from labeling.llm._rate import RateLimits
from labeling.registry import names
from labeling.types import Completion, LLMRequest, LLMResult
from labeling.workspace import Workspace


@dataclass(frozen=True)
class LLMSettings:
    """How to reach language models. A job carries it; keys are not among it, they stay in the environment."""

    base_url: str | None
    max_in_flight: int
    timeout_seconds: float
    limits: RateLimits
    retry: RetryPolicy


@dataclass(frozen=True)
class Usage:
    """What some requests used, whether they were sent now or answered in an earlier run."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = 0.0
    """None when the price of a model is not known."""

    def __add__(self, other: Usage) -> Usage:
        known = self.cost_usd is not None and other.cost_usd is not None
        return Usage(
            self.requests + other.requests,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cost_usd + other.cost_usd if known else None,  # type: ignore[operator]
        )


@dataclass(frozen=True)
class Sent:
    """Results of a list of requests, and how many the ledger had already."""

    results: list[LLMResult]
    keys: list[str]
    n_reused: int
    n_sent_again: int
    """Requests that a process that died had under way; they may have been paid twice."""


def llm_settings(config: Config) -> LLMSettings:
    keys = config.llm
    return LLMSettings(
        base_url=keys.base_url,
        max_in_flight=keys.max_in_flight,
        timeout_seconds=keys.timeout_seconds,
        limits=RateLimits(keys.requests_per_minute, keys.tokens_per_minute),
        retry=RetryPolicy(max_attempts=keys.max_attempts, longest_retry_after_seconds=keys.max_retry_after_seconds),
    )


def check_provider(model: str | None) -> None:
    """Raise UsageError when the provider of `provider/model` is not known. Needs no key and connects to nothing."""
    provider = (model or "").partition("/")[0]
    if model is not None and provider not in names(llm):
        raise unknown_name("language model provider", provider, names(llm))


def send(root: Path, requests: Sequence[LLMRequest], settings: LLMSettings) -> Sent:
    """Ask all requests (of one model), each answer committed to the ledger as it arrives.

    Raise FeatlasError when the model cannot be reached at all; what was answered until then is kept.
    """
    if not requests:
        return Sent([], [], 0, 0)
    model = connect(
        requests[0].model,
        base_url=settings.base_url,
        max_in_flight=settings.max_in_flight,
        timeout_seconds=settings.timeout_seconds,
        retry=settings.retry,
        limits=settings.limits,
    )
    with Ledger(Workspace(root).ledger) as ledger:
        remembering = LedgerModel(model, ledger)
        results = ask(remembering, requests)
        return Sent(results, [request_key(r) for r in requests], remembering.reused, remembering.sent_again)


def usage(requests: Sequence[LLMRequest], results: Sequence[LLMResult]) -> Usage:
    """Tokens and cost of the answered requests. A failed request counts as a request without tokens."""
    total = Usage()
    for request, result in zip(requests, results, strict=True):
        if isinstance(result, Completion):
            cost = prices().cost_usd(request.model, result)
            total += Usage(1, result.input_tokens, result.output_tokens, cost)
        else:
            total += Usage(1)
    return total


def usage_of(workspace: Workspace, keys: Sequence[str]) -> Usage:
    """What requests in the ledger used, whichever run sent them."""
    if not keys:
        return Usage()
    with Ledger(workspace.ledger) as ledger:
        rows = ledger.export(prices().cost_usd)
    rows = rows.filter(rows["request_key"].is_in(list(keys)))
    known = rows["cost_usd"].null_count() == rows["input_tokens"].null_count()
    return Usage(
        requests=len(rows),
        input_tokens=int(rows["input_tokens"].sum()),
        output_tokens=int(rows["output_tokens"].sum()),
        cost_usd=float(rows["cost_usd"].sum()) if known else None,
    )


@lru_cache(maxsize=1)
def prices() -> Prices:
    """The dated price table that comes with Featlas."""
    return load_prices(asset("prices.json"))
