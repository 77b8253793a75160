"""How fast one endpoint may be asked: how many requests at once, how many requests and tokens a minute, when to pause.

What the user allows, what the provider's headers say and what its 429, 503 and 529 teach go in; out comes how long the
next attempt has to wait. Pure: the time is an argument, in seconds of any clock that never runs backwards.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from labeling.errors import UsageError

Resource = Literal["requests", "tokens", "input_tokens", "output_tokens"]
"""What providers limit; `tokens` are input and output together."""

SHRINK = 0.7
"""What an overloaded server leaves of the number in flight."""
RECOVERY_ROUNDS = 6
"""Round trips, at most, until the number in flight is back where it was. Until then a single refusal means little."""
CHANCE_REFUSALS, CHANCE_SHARE = 2, 0.1
"""Refusals since the last decrease, and as a share 0-1 of what was sent since, that may have other causes than our speed.

More than both together, and it shrinks again at once.
"""
BURST_SHARE = 0.02
"""Share of a given limit that may be sent at once. The rest is spread evenly, so that no minute holds more than it."""
RESERVE_SHARE = 0.05
"""Share of an announced limit below which no more is sent than what is left until the reset allows."""
NEARLY = 0.95
"""Share of the limit's speed that lets a bucket fill again."""
START_SPACING_SECONDS = 0.004
"""Between the first attempts, so that a first refusal comes before most of them are sent. No SDK sends much faster."""
CATCH_UP_SECONDS = 0.25
"""A late timer may be made up for by so much."""
LONGEST_WAIT_SECONDS = 1.0
"""Then the wait is worked out again, because what it follows from has changed."""


@dataclass(frozen=True)
class RateLimits:
    """What the user allows. None means what the provider's headers say."""

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    """Input tokens and `max_output_tokens` together, as the providers count them."""

    def __post_init__(self) -> None:
        for name in ("requests_per_minute", "tokens_per_minute"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(
                    f"llm.{name} is {value:g}; allowed: a number above 0. Leave it out to follow the provider's headers."
                )


UNLIMITED = RateLimits()


class Cost(NamedTuple):
    """What one attempt takes of each resource."""

    input_tokens: int
    output_tokens: int

    def of(self, resource: Resource) -> int:
        if resource == "requests":
            return 1
        if resource == "input_tokens":
            return self.input_tokens
        return self.output_tokens if resource == "output_tokens" else self.input_tokens + self.output_tokens


class Announced(NamedTuple):
    """What a provider's headers say about one resource."""

    limit: float
    remaining: float
    reset_seconds: float | None
    """Until all of the limit is there again; None when not said."""


@dataclass(frozen=True)
class Feedback:
    """What an attempt taught."""

    overloaded: bool = False
    """The server answered 429, 503 or 529."""
    retry_after_seconds: float | None = None
    announced: Mapping[Resource, Announced] = field(default_factory=dict)
    used: Cost | None = None
    """Real tokens; None when the server did not say."""


NOTHING = Feedback()


class Ticket(NamedTuple):
    """The right to make one attempt."""

    number: int
    """0-based, in the order of sending."""
    at: float
    cost: Cost
    spent: Mapping[Resource, float]
    """What all attempts up to this one took of each resource that had been announced then."""


class Pace:
    """The state of one endpoint: ask `wait_seconds`, then `start`, then tell `finish` what came of it."""

    def __init__(self, *, max_in_flight: int, limits: RateLimits, longest_pause_seconds: float) -> None:
        self.max_in_flight = max_in_flight
        self.in_flight = 0
        self.window = float(max_in_flight)
        """In flight at most, for the time being: multiplicative decrease, back within some rounds, then one more a round."""
        self._good = float(max_in_flight)
        """`window` before the last decrease."""
        self._longest_pause_seconds = longest_pause_seconds
        self._paused_until = -math.inf
        self._started = 0
        self._started_at_shrink = 0
        self._refused_since_shrink = 0
        self._last_start = -math.inf
        self._given: dict[Resource, _Given] = {}
        if limits.requests_per_minute is not None:
            self._given["requests"] = _Given(limits.requests_per_minute)
        if limits.tokens_per_minute is not None:
            self._given["tokens"] = _Given(limits.tokens_per_minute)
        self._learned: dict[Resource, _Learned] = {}

    def wait_seconds(self, cost: Cost, now: float) -> float | None:
        """0 when an attempt may start; None when one of those in flight has to end first. Ask again after the wait."""
        if self.in_flight >= max(1, int(self.window)):
            return None
        wait = max(0.0, self._paused_until - now)
        if self._started < self.max_in_flight:
            wait = max(wait, self._last_start + START_SPACING_SECONDS - now)
        for resource, given in self._given.items():
            wait = max(wait, given.wait_seconds(cost.of(resource), now))
        for resource, learned in self._learned.items():
            wait = max(wait, learned.wait_seconds(cost.of(resource), now))
        return wait

    def start(self, cost: Cost, now: float) -> Ticket:
        for resource, given in self._given.items():
            given.spend(cost.of(resource), now)
        for resource, learned in self._learned.items():
            learned.spend(cost.of(resource), now)
        ticket = Ticket(self._started, now, cost, {resource: one.spent for resource, one in self._learned.items()})
        self._started += 1
        self._last_start = now
        self.in_flight += 1
        return ticket

    def finish(self, ticket: Ticket, feedback: Feedback, now: float) -> None:
        self.in_flight -= 1
        if feedback.used is not None:
            for resource, given in self._given.items():
                given.give_back(ticket.cost.of(resource) - feedback.used.of(resource))
        for resource, announced in feedback.announced.items():
            self._learn(resource, announced, ticket, now)
        if feedback.overloaded:
            self._slow_down(ticket, feedback.retry_after_seconds, now)
        elif feedback is not NOTHING:
            self.window = min(float(self.max_in_flight), self.window + self._growth() / self.window)

    def _learn(self, resource: Resource, announced: Announced, ticket: Ticket, now: float) -> None:
        learned = self._learned.get(resource)
        if learned is None:
            learned = self._learned[resource] = _Learned(announced.limit, now)
            # What the attempts sent since then take is not known in this resource: as much as this one, each.
            sent_since: float = (self._started - 1 - ticket.number) * ticket.cost.of(resource)
        elif resource in ticket.spent:
            sent_since = learned.spent - ticket.spent[resource]
        else:
            sent_since = learned.spent
        learned.learn(announced, ticket, sent_since, now)

    def _slow_down(self, ticket: Ticket, retry_after_seconds: float | None, now: float) -> None:
        if ticket.number >= self._started_at_shrink:  # those sent before know nothing of the last decrease
            self._refused_since_shrink += 1
            if not self._recovering or self._refused_since_shrink > self._chance():
                self._shrink()
        for learned in self._learned.values():
            learned.even = True
        if retry_after_seconds is not None:
            self._paused_until = max(self._paused_until, now + min(retry_after_seconds, self._longest_pause_seconds))

    def _chance(self) -> float:
        """Refusals since the last decrease that do not show that it was too small."""
        return CHANCE_REFUSALS + CHANCE_SHARE * (self._started - self._started_at_shrink)

    def _shrink(self) -> None:
        self._good, self.window = self.window, max(1.0, self.window * SHRINK)
        self._started_at_shrink = self._started
        self._refused_since_shrink = 0

    @property
    def _recovering(self) -> bool:
        # One less, because it was good only before the step that brought the refusal.
        return self.window < self._good - 1

    def _growth(self) -> float:
        """In flight more, a round of answers."""
        return max(1.0, (1 - SHRINK) * self._good / RECOVERY_ROUNDS) if self._recovering else 1.0


class _Given:
    """A limit that the user has set. It may go below nothing: one request can take more than may be sent at once."""

    def __init__(self, per_minute: float) -> None:
        self._fill = (1 - BURST_SHARE) * per_minute / 60
        self._most = max(1.0, BURST_SHARE * per_minute)
        self._level = self._most
        self._at = -math.inf

    def wait_seconds(self, amount: float, now: float) -> float:
        self._advance(now)
        return max(0.0, min(amount, self._most) - self._level) / self._fill

    def spend(self, amount: float, now: float) -> None:
        self._advance(now)
        self._level -= amount

    def give_back(self, amount: float) -> None:
        """What an estimate was too high by; a negative amount is what it was too low by."""
        self._level = min(self._most, self._level + amount)

    def _advance(self, now: float) -> None:
        self._level = min(self._most, self._level + self._fill * (now - self._at))
        self._at = now


class _Learned:
    """A limit that the provider announces with its answers.

    What is left is spread evenly until the reset. With a bucket that fills all the time this settles where it fills as
    fast as it is emptied; with a count that starts anew each minute it never runs dry. Down to a small reserve nearly
    the limit's own speed is always allowed, because providers differ in what they call a reset.
    """

    def __init__(self, limit: float, now: float) -> None:
        self._limit = limit
        self._capacity = limit
        """What is there at the reset, when nothing is sent until then."""
        self._level = limit
        self._at = now
        self._debt = 0.0
        """What was sent and is not yet due at the speed of now."""
        self._newest = -1
        """Number of the newest attempt whose answer was read."""
        self.spent = 0.0
        """By all attempts since the limit is known."""
        self.even = False
        """The server has refused: it may count over shorter times than it says, so there are no bursts any more."""

    def learn(self, announced: Announced, ticket: Ticket, sent_since: float, now: float) -> None:
        """Read what the answer to an attempt said. `sent_since` was sent after that attempt.

        Whether the server counted when the request came or when it was answered is not known, and makes no difference
        while as much is sent as comes back.
        """
        self._advance(now)
        if ticket.number < self._newest:  # a late answer: much of what was sent since has been counted by newer ones
            self._level = min(self._level, announced.remaining)
            return
        self._newest, self._limit = ticket.number, announced.limit
        if announced.reset_seconds is None:
            self._capacity = self._limit
        else:
            self._capacity = max(1.0, announced.remaining + announced.reset_seconds * self._fill)
        came_back = self._fill * (now - ticket.at)
        self._level = max(0.0, min(self._capacity, announced.remaining + came_back - sent_since))

    def wait_seconds(self, amount: float, now: float) -> float:
        self._advance(now)
        short = min(amount, self._limit, self._capacity) - self._level
        if short > 0:
            return min(LONGEST_WAIT_SECONDS, short / self._fill)
        return min(LONGEST_WAIT_SECONDS, self._debt / self._speed()) if self._debt > 0 else 0.0

    def spend(self, amount: float, now: float) -> None:
        self._advance(now)
        self._level = max(0.0, self._level - amount)
        self._debt += amount
        self.spent += amount

    @property
    def _fill(self) -> float:
        """Units a second that the limit comes to."""
        return self._limit / 60

    def _advance(self, now: float) -> None:
        passed, self._at = now - self._at, now
        speed = self._speed()
        if math.isinf(speed):
            self._debt = 0.0
        else:
            self._debt = max(self._debt - speed * passed, -speed * CATCH_UP_SECONDS)
        self._level = min(self._limit, max(self._level, min(self._capacity, self._level + self._fill * passed)))

    def _speed(self) -> float:
        """Units a second that may be sent now."""
        until_reset = (self._capacity - self._level) / self._fill  # seconds
        speed = math.inf if until_reset <= 0 else self._level / until_reset
        if self._level > RESERVE_SHARE * min(self._capacity, self._limit):
            speed = max(speed, NEARLY * self._fill)
        return min(speed, self._fill) if self.even else speed
