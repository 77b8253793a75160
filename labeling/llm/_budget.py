"""How much a run may still spend: reserves a request's worst case before it is sent, settles to its real cost after.

A limit can therefore not be passed by requests that are under way at the same time. Knows no provider, no ledger and no
clock; one object serves all stages and threads of a run. Answers from the ledger reserve nothing.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from threading import Lock

from labeling.errors import BudgetReached, UsageError
from labeling.llm._prices import Prices
from labeling.types import Completion, CompletionFailure, LLMRequest, LLMResult

BYTES_PER_TOKEN = 3
"""Fewest bytes of UTF-8 that a token of a prompt is taken to have; of English text it has about 4.5 on average."""
MAYBE_BILLED = ("timeout", "connection_lost", "malformed")
"""Failures without an answer that the provider may have worked on, and may bill."""
POLL_SECONDS = 0.05
TOLERANCE_USD = 1e-12  # of sums of floats


@dataclass(frozen=True)
class Reservation:
    """Room for one request. Settle it when the request has ended."""

    number: int
    model: str
    worst_usd: float
    """0 where the price is not known, which only a run without a limit of cost allows."""


@dataclass(frozen=True)
class Spent:
    """What a run has used so far."""

    requests: int
    """Requests that were sent, those under way included."""
    cost_usd: float | None
    """None when the price of one of them is not known."""
    unsure_usd: float
    """Part of `cost_usd` that is the worst case of requests that ended without saying what they cost."""


class Budget:
    """`max_cost_usd` US dollars and `max_requests` requests of one run; None is no limit."""

    def __init__(self, max_cost_usd: float | None, max_requests: int | None, prices: Prices) -> None:
        self._max_cost_usd = max_cost_usd
        self._max_requests = max_requests
        self._prices = prices
        self._lock = Lock()
        self._under_way: dict[int, Reservation] = {}
        self._number = 0
        self._requests = 0
        self._cost_usd = 0.0
        self._unsure_usd = 0.0
        self._cost_known = True
        self._reached = False

    def check(self, models: Iterable[str]) -> None:
        """Raise UsageError when cost is limited and the price of one of the models is not known."""
        for model in models:
            if self._max_cost_usd is not None and self._prices.price_of(model) is None:
                raise UsageError(
                    f"The cost is limited to ${self._max_cost_usd:g} (llm.max_cost), but the price of {model!r} is not "
                    f"known: it is not in the price table of {self._prices.as_of}. Name a file with "
                    '`--set llm.prices=FILE`, or `prices = "FILE"` under [llm], that holds, in US dollars per million '
                    f'tokens, {{"as_of": "YYYY-MM-DD", "models": {{"{model}": {{"input": 1.0, "output": 4.0}}}}}}, with 0 '
                    "for a server of your own; or limit the number of requests instead, with --max-requests."
                )

    def reserve(self, request: LLMRequest, *, price_share: float = 1.0) -> Reservation:
        """Set the worst case of a request aside. `price_share` is the share of the list price that is paid.

        Raise BudgetReached when it does not fit beside what is spent and what is under way.
        """
        reservation = self.try_reserve(request, price_share=price_share)
        if reservation is None:
            with self._lock:
                self._reached = True
            raise BudgetReached(self.message())
        return reservation

    def try_reserve(self, request: LLMRequest, *, price_share: float = 1.0) -> Reservation | None:
        """The same, but None when it would fit once requests that are under way have cost less than their worst case.

        Raise BudgetReached when it can't fit; from then on nothing fits, so that nothing new is sent.
        """
        self.check([request.model])
        worst = (worst_cost_usd(request, self._prices) or 0.0) * price_share
        with self._lock:
            if self._reached or not self._fits(worst, beside=0.0) or self._requests_used():
                self._reached = True
                raise BudgetReached(self._message())
            if not self._fits(worst, beside=sum(r.worst_usd for r in self._under_way.values())):
                return None
            self._number += 1
            self._requests += 1
            reservation = Reservation(self._number, request.model, worst)
            self._under_way[reservation.number] = reservation
            return reservation

    async def wait_for_room(self, request: LLMRequest) -> Reservation:
        """Reserve as soon as there is room. Raise BudgetReached when there won't be."""
        while (reservation := self.try_reserve(request)) is None:
            await asyncio.sleep(POLL_SECONDS)
        return reservation

    def settle(self, reservation: Reservation, result: LLMResult | None) -> None:
        """Replace the worst case by the real cost; None for a request that was not sent after all.

        Answers that can't be used count where they were billed. What may be billed without saying how much, a failure or
        an answer without token counts, counts as its worst case. Settling twice changes nothing.
        """
        with self._lock:
            if self._under_way.pop(reservation.number, None) is None:
                return
            if result is None:
                self._requests -= 1
                return
            answer = result if isinstance(result, Completion) else result.answer
            cost = None if answer is None else self._prices.cost_usd(reservation.model, answer)
            if cost is not None:
                self._cost_usd += cost
            elif answer is not None and self._prices.price_of(reservation.model) is None:
                self._cost_known = False
            elif answer is not None or (isinstance(result, CompletionFailure) and result.reason in MAYBE_BILLED):
                self._cost_usd += reservation.worst_usd
                self._unsure_usd += reservation.worst_usd

    def spent(self) -> Spent:
        with self._lock:
            return Spent(self._requests, self._cost_usd if self._cost_known else None, self._unsure_usd)

    def message(self) -> str:
        """Say which limit was reached, what was spent, what is stored and how to go on."""
        with self._lock:
            return self._message()

    def _fits(self, worst_usd: float, *, beside: float) -> bool:
        limit = self._max_cost_usd
        return limit is None or self._cost_usd + beside + worst_usd <= limit + TOLERANCE_USD

    def _requests_used(self) -> bool:
        return self._max_requests is not None and self._requests >= self._max_requests

    def _message(self) -> str:
        limit = (
            f"{self._max_requests:,} requests (llm.max_requests)"
            if self._requests_used() or self._max_cost_usd is None
            else f"${self._max_cost_usd:g} (llm.max_cost): the next request could pass it"
        )
        cost = f"${self._cost_usd:.4f}" if self._cost_known else "an unknown sum"
        unsure = (
            f", ${self._unsure_usd:.4f} of it at most for requests that did not say what they cost"
            if self._unsure_usd
            else ""
        )
        return (
            f"This run has reached its limit of {limit}. It sent {self._requests:,} requests and spent {cost}{unsure}. "
            "Every answer is stored. The same command goes on from there, with a limit of its own: it asks only for "
            "what is missing. Raise --max-cost or --max-requests to get further in one run."
        )


def worst_cost_usd(request: LLMRequest, prices: Prices) -> float | None:
    """US dollars that a request can cost at most: its whole prompt at the dearest input price, and a full answer.

    None when the price is not known.
    """
    price = prices.price_of(request.model)
    if price is None:
        return None
    dearest = max(price.input, price.cached_input, price.cache_write)
    return (prompt_tokens_at_most(request) * dearest + request.max_output_tokens * price.output) / 1_000_000


def prompt_tokens_at_most(request: LLMRequest) -> int:
    """Tokens of the prompt and the schema, counted as bytes / 3 so that text in any script is not underestimated."""
    parts = (request.system, request.user, json.dumps(dict(request.schema)))
    return math.ceil(sum(len(part.encode("utf-8", "surrogatepass")) for part in parts) / BYTES_PER_TOKEN)
