"""What requests used: tokens, US dollars, how many there were. Counted from answers at hand, or from the ledger by key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from labeling.answers import has_prose
from labeling.ledger import Ledger
from labeling.llm._prices import Prices
from labeling.types import Completion, LLMRequest, LLMResult
from labeling.workspace import Workspace

Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class Usage:
    """What some requests used, whether they were sent now or answered in an earlier run."""

    requests: int = 0
    input_tokens: int | None = 0
    """None in this and the other counts of tokens: of some of the requests nobody said how many."""
    output_tokens: int | None = 0
    cost_usd: float | None = 0.0
    """None when the price of a model, or the tokens of a request, are not known."""
    cached_input_tokens: int | None = 0
    """Of `input_tokens`, those that the provider read from its prompt cache."""
    second_questions: int = 0
    """Of `requests`, those that asked again because the first answer could not be used."""
    answers_with_prose: int = 0
    """Usable answers that held more than the JSON asked for."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.requests + other.requests,
            _sum(self.input_tokens, other.input_tokens),
            _sum(self.output_tokens, other.output_tokens),
            _sum(self.cost_usd, other.cost_usd),
            _sum(self.cached_input_tokens, other.cached_input_tokens),
            self.second_questions + other.second_questions,
            self.answers_with_prose + other.answers_with_prose,
        )


def _sum(first: Number | None, second: Number | None) -> Number | None:
    """What is not known of a part is not known of the whole."""
    return None if first is None or second is None else first + second


def usage(requests: Sequence[LLMRequest], results: Sequence[LLMResult], table: Prices) -> Usage:
    """Tokens and cost of what was billed: answers, and failures that something came back for."""
    total = Usage()
    for request, result in zip(requests, results, strict=True):
        prose = isinstance(result, Completion) and has_prose(result.text)
        answer = result if isinstance(result, Completion) else result.answer
        cost_usd = None if answer is None else table.cost_usd(request.model, answer)
        total += replace(_one_request(answer, cost_usd), answers_with_prose=int(prose))
    return total


def usage_of(workspace: Workspace, keys: Iterable[str], table: Prices) -> Usage:
    """What answered and failed requests in the ledger used, whichever run sent them. A key counts once."""
    wanted = list(dict.fromkeys(keys))
    if not wanted:
        return Usage()
    total = Usage()
    with Ledger(workspace.ledger, read_only=True) as ledger:
        for model, cost_usd, answer in ledger.billed(wanted):
            if answer is not None and cost_usd is None:
                cost_usd = table.cost_usd(model, answer)
            total += _one_request(answer, cost_usd)
    return total


def _one_request(answer: Completion | None, cost_usd: float | None) -> Usage:
    """Without an answer nothing was billed."""
    if answer is None:
        return Usage(1)
    return Usage(
        requests=1,
        input_tokens=answer.input_tokens,
        output_tokens=answer.output_tokens,
        cost_usd=cost_usd,
        cached_input_tokens=answer.cached_input_tokens,
    )
