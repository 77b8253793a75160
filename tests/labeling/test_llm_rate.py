"""Limits and pauses, against a simulated clock and a simulated server: nothing here sleeps."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Protocol

import pytest

from labeling.errors import UsageError
from labeling.llm._headers import read_limits
from labeling.llm._rate import NOTHING, UNLIMITED, Announced, Cost, Feedback, Pace, RateLimits, Ticket

SMALL = Cost(90, 10)


def pace(*, max_in_flight: int = 64, limits: RateLimits = UNLIMITED) -> Pace:
    return Pace(max_in_flight=max_in_flight, limits=limits, longest_pause_seconds=120.0)


class Server(Protocol):
    def admit(self, now: float) -> float:
        """0 when a request may pass, else the seconds to wait."""

    def left(self, now: float) -> Announced:
        """What the headers say."""


@dataclass
class Bucket:
    """Fills all the time and holds `most`, as both providers describe their limits."""

    per_minute: float
    most: float
    says: float = 1.0
    """What it says is left, over what is left."""
    level: float = math.nan
    at: float = 0.0

    def admit(self, now: float) -> float:
        self._fill(now)
        if self.level < 1:
            return (1 - self.level) * 60 / self.per_minute
        self.level -= 1
        return 0

    def left(self, now: float) -> Announced:
        self._fill(now)
        reset = (self.most - self.level) * 60 / self.per_minute
        return Announced(self.per_minute, math.floor(self.level * self.says), reset)

    def _fill(self, now: float) -> None:
        self.level = self.most if math.isnan(self.level) else self.level
        self.level = min(self.most, self.level + (now - self.at) * self.per_minute / 60)
        self.at = now


@dataclass
class Minutes:
    """Counts from 0 again each minute."""

    per_minute: int
    sent: Counter[int] = field(default_factory=Counter)

    def admit(self, now: float) -> float:
        left = self.left(now)
        self.sent[int(now // 60)] += left.remaining > 0
        return 0 if left.remaining else left.reset_seconds or 0

    def left(self, now: float) -> Announced:
        minute = int(now // 60)
        return Announced(self.per_minute, self.per_minute - self.sent[minute], 60 * (minute + 1) - now)


@dataclass
class LastMinute:
    """Counts what came in the last 60 seconds."""

    per_minute: int
    came: list[float] = field(default_factory=list)

    def admit(self, now: float) -> float:
        left = self.left(now)
        if left.remaining == 0:
            return left.reset_seconds or 0
        self.came.append(now)
        return 0

    def left(self, now: float) -> Announced:
        self.came = [time for time in self.came if time > now - 60]
        reset = self.came[0] + 60 - now if self.came else 0.0
        return Announced(self.per_minute, self.per_minute - len(self.came), reset)


@dataclass
class Seen:
    """When requests were answered and when they were refused."""

    answered: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)

    def share_refused(self) -> float:
        return len(self.refused) / (len(self.refused) + len(self.answered))

    def per_minute(self, start: float, end: float) -> float:
        return 60 * sum(start <= time < end for time in self.answered) / (end - start)


def simulate(
    pace: Pace,
    server: Server | Callable[[float], Feedback],
    *,
    seconds: float,
    latency: float = 1.0,
    cost: Cost = SMALL,
    says_when_answering: bool = True,
) -> Seen:
    """Endless requests, until the clock says `seconds`. A refusal comes back at once.

    The headers say what is left when the answer is sent, or what was left when the request came.
    """
    now, seen = 0.0, Seen()
    under_way: list[tuple[float, int, Ticket, Feedback]] = []
    while now < seconds:
        wait = pace.wait_seconds(cost, now)
        if wait == 0:
            ticket = pace.start(cost, now)
            said = server(now) if callable(server) else ask(server, now)
            (seen.refused if said.overloaded else seen.answered).append(now)
            heapq.heappush(under_way, (now + (0.01 if said.overloaded else latency), ticket.number, ticket, said))
            continue
        timer = math.inf if wait is None else now + max(wait, 0.001)
        if under_way and under_way[0][0] <= timer:
            now, _, ticket, said = heapq.heappop(under_way)
            if says_when_answering and not callable(server):
                said = replace(said, announced={"requests": server.left(now)})
            pace.finish(ticket, said, now)
        else:
            assert timer < math.inf, "nothing is in flight and nothing may start"
            now = timer
    return seen


def ask(server: Server, now: float) -> Feedback:
    wait = server.admit(now)
    return Feedback(wait > 0, wait or None, {"requests": server.left(now)})


@pytest.mark.parametrize("kind", ["bucket", "small bucket", "one second", "minutes", "last minute"])
@pytest.mark.parametrize("latency", [0.2, 1.0, 5.0])
@pytest.mark.parametrize("says_when_answering", [False, True])
def test_an_announced_limit_is_used_and_not_passed(kind: str, latency: float, says_when_answering: bool) -> None:
    servers: dict[str, Server] = {
        "bucket": Bucket(600, 600),
        "small bucket": Bucket(600, 100),
        "one second": Bucket(600, 10),
        "minutes": Minutes(600),
        "last minute": LastMinute(600),
    }
    seen = simulate(pace(), servers[kind], seconds=300, latency=latency, says_when_answering=says_when_answering)
    assert seen.per_minute(60, 300) >= 0.9 * 600
    assert seen.share_refused() <= 0.01


def test_what_is_left_at_the_start_may_be_sent_at_once() -> None:
    assert simulate(pace(), Bucket(600, 600), seconds=10).per_minute(0, 10) > 1.5 * 600


def test_a_server_that_counts_over_shorter_times_gets_no_bursts() -> None:
    seen = simulate(pace(), Bucket(600, 20, says=30), seconds=300)
    assert seen.per_minute(60, 300) >= 0.9 * 600
    assert seen.share_refused() <= 0.03
    assert max(seen.refused) < 10


def test_a_server_with_a_limit_below_the_first_burst_is_learned_from() -> None:
    seen = simulate(pace(), Bucket(60, 60), seconds=600)
    assert seen.per_minute(60, 600) >= 0.9 * 60
    assert len(seen.refused) <= 64


@pytest.mark.parametrize("latency", [0.1, 3.0])
def test_a_given_limit_holds_in_every_minute_of_a_server_that_says_nothing(latency: float) -> None:
    given = pace(limits=RateLimits(requests_per_minute=600))
    seen = simulate(given, lambda now: Feedback(), seconds=300, latency=latency)
    times = [*seen.answered, math.inf]
    assert all(times[i + 600] - times[i] > 59.9 for i in range(len(times) - 601))
    assert seen.per_minute(0, 300) >= 0.95 * 600


def test_a_given_limit_of_tokens_counts_what_was_used_in_the_end() -> None:
    limits = RateLimits(tokens_per_minute=60_000)
    estimated = simulate(pace(limits=limits), lambda now: Feedback(), seconds=300, cost=Cost(400, 600))
    used = simulate(pace(limits=limits), lambda now: Feedback(used=Cost(400, 100)), seconds=300, cost=Cost(400, 600))
    assert 0.95 * 60 <= estimated.per_minute(0, 300) <= 61
    assert 0.95 * 120 <= used.per_minute(0, 300) <= 122


def test_a_request_larger_than_the_limit_is_sent_all_the_same() -> None:
    limited = pace(limits=RateLimits(tokens_per_minute=1_000))
    assert limited.wait_seconds(Cost(5_000, 0), 0.0) == 0
    limited.start(Cost(5_000, 0), 0.0)
    wait = limited.wait_seconds(SMALL, 0.0)
    assert wait is not None
    assert 240 < wait < 320


def test_announced_tokens_are_followed() -> None:
    paced = pace()
    ticket = paced.start(Cost(100, 0), 1.0)
    paced.finish(ticket, Feedback(announced={"input_tokens": Announced(60_000, 50, 60.0)}), 1.0)
    paced.wait_seconds(Cost(50, 10_000), 2.0)
    assert paced.wait_seconds(Cost(1060, 0), 2.0) == pytest.approx(0.01)


def test_what_was_sent_since_is_taken_off_what_is_left() -> None:
    paced = pace()
    first, *_ = [paced.start(SMALL, 0.0) for _ in range(5)]
    paced.finish(first, Feedback(announced={"requests": Announced(60, 4, 56.0)}), 0.0)
    assert paced.wait_seconds(SMALL, 0.0) == pytest.approx(1.0)


def test_a_late_answer_does_not_raise_what_is_left() -> None:
    paced = pace()
    old, new = paced.start(SMALL, 0.0), paced.start(SMALL, 0.0)
    paced.finish(new, Feedback(announced={"requests": Announced(60, 0, 60.0)}), 0.0)
    paced.finish(old, Feedback(announced={"requests": Announced(60, 50, 10.0)}), 0.0)
    assert paced.wait_seconds(SMALL, 0.0) == pytest.approx(1.0)


def test_a_refusal_pauses_everything_for_as_long_as_the_server_says_up_to_a_limit() -> None:
    paced = pace()
    first, second = paced.start(SMALL, 0.0), paced.start(SMALL, 0.0)
    paced.finish(first, Feedback(overloaded=True, retry_after_seconds=7.0), 1.0)
    assert paced.wait_seconds(SMALL, 1.0) == 7.0
    assert paced.wait_seconds(SMALL, 8.0) == 0
    paced.finish(second, Feedback(overloaded=True, retry_after_seconds=3600.0), 8.0)
    assert paced.wait_seconds(SMALL, 8.0) == 120.0


def test_a_round_of_refusals_shrinks_the_number_in_flight_once_and_a_round_of_answers_adds_one() -> None:
    paced = pace(max_in_flight=10)
    for ticket in [paced.start(SMALL, 0.0) for _ in range(10)]:
        paced.finish(ticket, Feedback(overloaded=True), 1.0)
    assert paced.window == pytest.approx(7.0)
    tickets = [paced.start(SMALL, 2.0) for _ in range(7)]
    assert paced.wait_seconds(SMALL, 2.0) is None
    for ticket in tickets:
        paced.finish(ticket, Feedback(), 3.0)
    assert paced.window == pytest.approx(8.0, abs=0.1)


def test_the_number_in_flight_stays_between_one_and_the_setting() -> None:
    paced = pace(max_in_flight=3)
    for _ in range(20):
        paced.finish(paced.start(SMALL, 0.0), Feedback(overloaded=True), 0.0)
    assert paced.window == 1
    for _ in range(50):
        assert paced.wait_seconds(SMALL, 0.0) == 0
        paced.finish(paced.start(SMALL, 0.0), Feedback(), 0.0)
    assert paced.window == 3


def test_an_attempt_that_was_given_up_teaches_nothing() -> None:
    paced = pace(max_in_flight=2)
    paced.finish(paced.start(SMALL, 0.0), Feedback(overloaded=True), 0.0)
    before = paced.window
    paced.finish(paced.start(SMALL, 0.0), NOTHING, 0.0)
    assert (paced.window, paced.in_flight) == (before, 0)


@dataclass
class Crowded:
    """Takes `most` at once and refuses the rest."""

    most: int
    latency: float
    ends: list[float] = field(default_factory=list)

    def __call__(self, now: float) -> Feedback:
        self.ends = [end for end in self.ends if end > now]
        if len(self.ends) >= self.most:
            return Feedback(overloaded=True)
        self.ends.append(now + self.latency)
        return Feedback()


def test_an_overloaded_server_is_used_and_mostly_left_in_peace() -> None:
    seen = simulate(pace(), Crowded(20, 1.0), seconds=300)
    assert seen.per_minute(60, 300) >= 0.8 * 20 * 60
    assert seen.share_refused() <= 0.03


@pytest.mark.parametrize("in_flight", [16, 64, 512])
@pytest.mark.parametrize(("share", "kept"), [(0.005, 0.8), (0.02, 0.7), (0.05, 0.5)])
def test_refusals_that_have_nothing_to_do_with_our_speed_cost_little_of_it(
    in_flight: int, share: float, kept: float
) -> None:
    chance = Random(in_flight)
    seen = simulate(
        pace(max_in_flight=in_flight), lambda now: Feedback(overloaded=chance.random() < share), seconds=200
    )
    assert seen.per_minute(60, 200) >= kept * in_flight * 60


@pytest.mark.parametrize(("room", "in_flight"), [(5, 64), (50, 64), (100, 512)])
def test_a_real_limit_shrinks_the_number_in_flight_at_once(room: int, in_flight: int) -> None:
    seen = simulate(pace(max_in_flight=in_flight), Crowded(room, 1.0), seconds=200)
    assert seen.per_minute(60, 200) >= 0.8 * room * 60
    assert sum(time > 60 for time in seen.refused) <= max(0.01 * len(seen.answered), 150)


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan])
def test_a_limit_that_allows_nothing_is_refused(value: float) -> None:
    with pytest.raises(UsageError, match=r"llm\.requests_per_minute is .*above 0"):
        RateLimits(requests_per_minute=value)


def test_anthropics_headers_are_read() -> None:
    headers = {
        "date": "Sun, 22 Nov 2026 12:00:00 GMT",
        "anthropic-ratelimit-requests-limit": "600",
        "anthropic-ratelimit-requests-remaining": "590",
        "anthropic-ratelimit-requests-reset": "2026-11-22T12:00:01Z",
        "Anthropic-RateLimit-Input-Tokens-Limit": "400000",
        "anthropic-ratelimit-input-tokens-remaining": "0",
        "anthropic-ratelimit-input-tokens-reset": "2026-11-22T11:00:00Z",
        "anthropic-ratelimit-output-tokens-limit": "80000",
    }
    assert read_limits(headers, now=0.0) == {
        "requests": Announced(600, 590, 1.0),
        "input_tokens": Announced(400_000, 0, 0.0),
    }


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [("1s", 1.0), ("6m0s", 360.0), ("17ms", 0.017), ("1h2m3.5s", 3723.5), ("12", 12.0), ("soon", None), ("", None)],
)
def test_openais_headers_are_read(reset: str, seconds: float | None) -> None:
    headers = {
        "x-ratelimit-limit-requests": "600",
        "x-ratelimit-remaining-requests": "599",
        "x-ratelimit-reset-requests": reset,
        "x-ratelimit-limit-tokens": "unlimited",
        "x-ratelimit-remaining-tokens": "1",
    }
    assert read_limits(headers, now=0.0) == {"requests": Announced(600, 599, seconds)}
