"""Requests and tokens a minute as token buckets: who may pass, and how full the buckets are. Time is an argument."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Standing:
    """What a reply's headers say about one limit."""

    limit: int
    """A minute."""
    remaining: int
    reset_seconds: float
    """Time until the bucket is full again."""


class Bucket:
    """Fills evenly and holds what `burst_seconds` bring, at least one."""

    def __init__(self, per_minute: float, *, burst_seconds: float, now: float) -> None:
        self._per_minute = per_minute
        self._per_second = per_minute / 60
        self._capacity = max(1.0, self._per_second * burst_seconds)
        self._level, self._filled_at = self._capacity, now

    def wait_seconds(self, amount: float, now: float) -> float:
        """How long until so much may pass; 0 when it may pass now.

        More than the bucket can hold passes when it is full, and leaves it in debt.
        """
        return max(0.0, (min(amount, self._capacity) - self._fill(now)) / self._per_second)

    def take(self, amount: float, now: float) -> None:
        self._level = self._fill(now) - amount

    def standing(self, now: float) -> Standing:
        level = self._fill(now)
        return Standing(int(self._per_minute), max(0, int(level)), (self._capacity - level) / self._per_second)

    def _fill(self, now: float) -> float:
        self._level = min(self._capacity, self._level + (now - self._filled_at) * self._per_second)
        self._filled_at = now
        return self._level


class Limits:
    """Both limits of a provider; None is no limit."""

    def __init__(
        self, *, requests_per_minute: float | None, tokens_per_minute: float | None, burst_seconds: float, now: float
    ) -> None:
        def bucket(per_minute: float | None) -> Bucket | None:
            return None if per_minute is None else Bucket(per_minute, burst_seconds=burst_seconds, now=now)

        self.requests, self.tokens = bucket(requests_per_minute), bucket(tokens_per_minute)

    def take(self, tokens: float, now: float) -> float:
        """Let a request pass, and answer 0; or leave the buckets as they are, and answer the seconds to wait."""
        amounts = [(bucket, amount) for bucket, amount in ((self.requests, 1), (self.tokens, tokens)) if bucket]
        wait = max((bucket.wait_seconds(amount, now) for bucket, amount in amounts), default=0.0)
        if wait <= 1e-9:  # what is left over from floating point
            for bucket, amount in amounts:
                bucket.take(amount, now)
            return 0.0
        return wait

    def standings(self, now: float) -> dict[str, Standing]:
        """By `requests` and `tokens`, those that are limited."""
        buckets = {"requests": self.requests, "tokens": self.tokens}
        return {name: bucket.standing(now) for name, bucket in buckets.items() if bucket}
