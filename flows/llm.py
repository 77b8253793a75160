"""Send the requests of a shard through the ledger, ask once more where an answer can't be used, count what it cost.

The only place where stages ask models.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flows.batches import batches_of, retry_policy
from flows.budgets import budget_of, prices, started_at
from flows.usage import Usage, usage
from labeling import llm
from labeling.answers import PROBLEMS, TRUNCATED, Check, nothing_wrong, second_question
from labeling.config import Config, LLMConfig
from labeling.errors import unknown_name
from labeling.ledger import Ledger, request_key
from labeling.ledger_model import LedgerModel
from labeling.llm import LanguageModel, ask, connect
from labeling.llm._batch_model import BatchModel, is_pending, pending
from labeling.llm._prices import Prices
from labeling.llm._rate import RateLimits
from labeling.llm._servers import other_server
from labeling.registry import names
from labeling.types import LOGPROBS_REFUSED, Completion, CompletionFailure, LLMRequest, LLMResult
from labeling.workspace import Workspace

REQUESTS_PER_SHARD = 256
"""About as many as the features of a shard; judges are asked more of each."""
SPARE_SHARDS = 4
"""Under way besides those that fill the places: they have a slow answer left to wait for, or are being rendered."""

LLMSettings = LLMConfig
"""How to reach language models, and how far to go. A job carries it; keys are not among it, they stay in the environment."""


@dataclass(frozen=True)
class Sent:
    """What became of a list of requests, one entry a request in every list."""

    results: list[LLMResult]
    """Answers that can be used, and failures. Where it was asked twice, what came of the second question."""
    keys: list[str]
    """Key of the request that the result belongs to."""
    asked: list[tuple[str, ...]]
    """Keys of all requests behind the result, the first question first."""
    usage: list[Usage]
    """What all of them used."""
    n_reused: int = 0
    """Requests that the ledger had an answer to already."""
    n_sent_again: int = 0
    """Requests that a process that died had under way; they may have been paid twice."""
    n_pending: int = 0
    """Results that are not there yet, because they are in a batch or noted for one. They are no failures."""


def llm_settings(config: Config) -> LLMSettings:
    return config.llm


def server_lines(models: Iterable[str], base_url: str | None, source: str) -> list[str]:
    """Say which servers are asked that are not a provider's own. `source` is where `base_url` was given."""
    lines = []
    for provider in sorted({model.partition("/")[0] for model in models}):
        server = other_server(provider, base_url)
        if server is not None:
            given = f"llm.base_url, from {source}" if server.variable is None else server.variable
            lines.append(f"Requests to {provider} go to {server.host} ({given})")
    return lines


def shards_at_once(model: str | None, settings: LLMSettings) -> int:
    """How many shards that ask a model should be under way, so that one at least has requests left to send.

    One where nobody is asked, or where a batch has brought all answers before the shards run.
    """
    if model is None or settings.mode == "batch":
        return 1
    return SPARE_SHARDS + settings.max_in_flight // REQUESTS_PER_SHARD


def check_provider(model: str | None) -> None:
    """Raise UsageError when the provider of `provider/model` is not known. Needs no key and connects to nothing."""
    provider = (model or "").partition("/")[0]
    if model is not None and provider not in names(llm):
        raise unknown_name("language model provider", provider, names(llm))


def send(root: Path, requests: Sequence[LLMRequest], settings: LLMSettings, check: Check = nothing_wrong) -> Sent:
    """Ask all requests (of one model), each answer committed to the ledger as it arrives.

    An answer in which `check` finds a problem is rejected in the ledger and asked for once more. Raise FeatlasError
    when the model cannot be reached at all and BudgetReached at a limit; what was answered until then is kept.
    Nothing is sent twice in a run: what another shard asks, or has asked without success, has one result for both.
    """
    if not requests:
        return Sent([], [], [], [])
    budget, table, batches = budget_of(root, settings), prices(settings.prices), batches_of(root)
    with Ledger(Workspace(root).ledger, price=table.cost_usd) as ledger:
        model: LedgerModel | BatchModel = (
            batches.model(requests[0].model)
            if batches is not None and settings.mode == "batch"
            else LedgerModel(_connect(requests[0].model, settings), ledger, budget, failed_since=started_at(root))
        )
        asking = _Asking(model, ledger, check)
        first = asking.ask(requests, retry_failed=False)
        seconds = _second_questions(requests, first)
        # The first question is not sent again: what is asked again on demand is the last one.
        again = asking.ask(list(seconds.values()), retry_failed=settings.retry_failed)
        return _join(requests, first, seconds, again, asking, table)


def _connect(model: str, settings: LLMSettings) -> LanguageModel:
    return connect(
        model,
        base_url=settings.base_url,
        max_in_flight=settings.max_in_flight,
        timeout_seconds=settings.timeout_seconds,
        retry=retry_policy(settings),
        limits=RateLimits(settings.requests_per_minute, settings.tokens_per_minute),
    )


def is_asked_twice_for(failure: CompletionFailure) -> bool:
    """Whether a stored failure is of the kind that a second question follows."""
    if failure.reason == LOGPROBS_REFUSED:
        return True
    rejected = failure.reason in PROBLEMS and failure.detail == PROBLEMS[failure.reason]
    return failure.answer is not None and (rejected or failure.reason == TRUNCATED)


class _Asking:
    """Asks through the ledger and turns answers that can't be used into failures."""

    def __init__(self, model: LedgerModel | BatchModel, ledger: Ledger, check: Check) -> None:
        self.model = model
        self._ledger = ledger
        self._check = check
        self._reused_before = model.reused
        self.n_kept = 0
        """Failures that the ledger knew already and that were not asked for again."""

    @property
    def n_reused(self) -> int:
        return self.model.reused - self._reused_before + self.n_kept

    def ask(self, requests: Sequence[LLMRequest], *, retry_failed: bool) -> list[LLMResult]:
        """Results in order. Answers known to be unusable are not asked for again, unless told."""
        keys = [request_key(request) for request in requests]
        kept = {} if retry_failed else self._unusable(keys)
        self.n_kept += len(kept)
        under_way = self._ledger.in_batches(keys)
        missing = {
            key: request
            for key, request in zip(keys, requests, strict=True)
            if key not in kept and key not in under_way
        }
        results = ask(self.model, list(missing.values())) if missing else []
        found = {
            key: self._checked(key, request, result)
            for (key, request), result in zip(missing.items(), results, strict=True)
        }
        return [kept.get(key) or found.get(key) or pending() for key in keys]

    def _unusable(self, keys: Sequence[str]) -> dict[str, CompletionFailure]:
        failures = self._ledger.failures(keys)
        return {key: failure for key, failure in failures.items() if is_asked_twice_for(failure)}

    def _checked(self, key: str, request: LLMRequest, result: LLMResult) -> LLMResult:
        if not isinstance(result, Completion):
            return result
        problem = self._check(request, result.text)
        if problem is None:
            return result
        self._ledger.reject(key, problem, PROBLEMS[problem])
        return CompletionFailure(problem, False, PROBLEMS[problem], result, result.attempts)


def _second_questions(requests: Sequence[LLMRequest], first: Sequence[LLMResult]) -> dict[int, LLMRequest]:
    """What to ask again, by the place of the first question."""
    found = {
        place: second_question(request, result)
        for place, (request, result) in enumerate(zip(requests, first, strict=True))
        if isinstance(result, CompletionFailure)
    }
    return {place: question for place, question in found.items() if question is not None}


def _join(
    requests: Sequence[LLMRequest],
    first: Sequence[LLMResult],
    seconds: dict[int, LLMRequest],
    again: Sequence[LLMResult],
    asking: _Asking,
    table: Prices,
) -> Sent:
    results, keys = list(first), [request_key(request) for request in requests]
    trails: list[tuple[str, ...]] = [(key,) for key in keys]
    used = [usage([request], [result], table) for request, result in zip(requests, first, strict=True)]
    for (place, question), result in zip(seconds.items(), again, strict=True):
        results[place], keys[place] = result, request_key(question)
        trails[place] = (*trails[place], keys[place])
        used[place] += replace(usage([question], [result], table), second_questions=1)
    n_pending = sum(is_pending(result) for result in results)
    return Sent(results, keys, trails, used, asking.n_reused, asking.model.sent_again, n_pending)
