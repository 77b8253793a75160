"""How long to wait for a provider's batches, and calls about them that are made again while the provider is busy."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from labeling.errors import FeatlasError
from labeling.llm._batches import CallFailed
from labeling.llm._dispatch import RetryPolicy
from labeling.llm._faults import Fault

Value = TypeVar("Value")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Patience:
    """How long to wait for what."""

    first_look_seconds: float = 1.0
    longest_look_seconds: float = 60.0
    """Between two looks at a batch; the time grows from the first to this."""
    settle_seconds: float = 10.0
    """A batch that is not in the listing is looked for once more after this time: it may have been on its way."""


DEFAULT_PATIENCE = Patience()


class RepeatedCalls:
    """Makes calls again by a policy. `sleep` takes seconds, `random` spreads the waits of several processes."""

    def __init__(self, retry: RetryPolicy, sleep: Callable[[float], None], random: Random) -> None:
        self.max_attempts = retry.max_attempts
        self.sleep = sleep
        self._retry = retry
        self._random = random

    def patiently(self, call: Callable[[], Value]) -> Value:
        """Repeat a call that changes nothing while the provider is busy. Raise CallFailed when it stays so."""
        attempt = 0
        while True:
            attempt += 1
            try:
                return call()
            except CallFailed as failed:
                if not failed.fault.retryable or attempt >= self.max_attempts:
                    raise
                fault = failed.fault
            self.pause(attempt, fault)

    def if_possible(self, call: Callable[[], None], what: str) -> None:
        """Make a call once; where it fails, only the log says so."""
        try:
            call()
        except (CallFailed, FeatlasError) as error:
            log.warning("could not %s: %s", what, error)

    def pause(self, attempt: int, fault: Fault) -> None:
        """Wait after failed attempt number `attempt` (1-based)."""
        self.sleep(self._retry.wait_seconds(attempt, fault.retry_after_seconds, self._random.random()))
