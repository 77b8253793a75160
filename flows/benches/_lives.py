"""What ledger and provider say about a workspace whose runs are killed, compared from kill to kill.

A life is one workspace from its first request to its last, over as many runs as it takes. Knows nothing of processes.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.fake_provider import question_name
from labeling.ledger import Ledger


@dataclass(frozen=True)
class Books:
    """What a ledger says at one moment. Questions go by their `question_name`."""

    answered: frozenset[str] = frozenset()
    n_under_way: int = 0
    """Requests that were sent by themselves, and whose process is gone."""
    provider_batches: frozenset[str] = frozenset()
    """The provider's ids."""
    n_open_batches: int = 0


@dataclass(frozen=True)
class ProviderCounts:
    """What a provider says at one moment."""

    questions: Mapping[str, int]
    """How often each came, by `question_name`."""
    n_batches: int = 0


@dataclass
class Tally:
    """What was counted over some lives."""

    kills: int = 0
    kills_at_work: int = 0
    """Those at which requests or batches were under way."""
    lives: int = 0
    under_way: int = 0
    """Requests that were sent by themselves and under way, summed over the kills."""
    sent_again: int = 0
    """Requests that came to the provider once more."""
    sent_again_too_often: int = 0
    """Of these, those above what was under way at the kills of the same life."""
    asked_though_answered: int = 0
    """Of these, those whose answer the ledger had at an earlier kill."""
    answers_lost: int = 0
    """Answers that the ledger had at a kill, and not afterwards."""
    never_asked: int = 0
    """Answers to questions that the provider does not know: the comparison would see nothing."""
    misprinted: int = 0
    """Lives whose last run printed another number of requests sent again than were under way at the last kill."""
    batches: int = 0
    batches_unknown: int = 0
    """Batches at the provider that the ledger does not know: submitted twice."""
    tables: int = 0
    differing: int = 0
    """Of `tables`, those that were not the undisturbed run's."""

    def __add__(self, other: Tally) -> Tally:
        return Tally(**{name: value + getattr(other, name) for name, value in vars(self).items()})


class Life:
    """Counts what happens to one workspace."""

    def __init__(self, asked: ProviderCounts) -> None:
        self.tally = Tally()
        self._born = self._asked = asked
        self._under_way = 0
        self.books = Books()
        """At the last kill."""

    def killed(self, books: Books, asked: ProviderCounts) -> None:
        """Count what a kill left behind."""
        self._compare(books, asked)
        self._under_way += books.n_under_way
        self.tally.kills += 1
        self.tally.kills_at_work += bool(books.n_under_way or books.n_open_batches)
        self.tally.under_way += books.n_under_way

    def ended(self, books: Books, asked: ProviderCounts, *, printed: int) -> None:
        """Count what the life came to. `printed` is what its last run said it had sent again."""
        tally = self.tally
        tally.lives += 1
        tally.misprinted += printed != self.books.n_under_way
        self._compare(books, asked)
        came = {name: n - self._born.questions.get(name, 0) for name, n in asked.questions.items()}
        again = sum(n - 1 for n in came.values() if n > 0)
        tally.sent_again += again
        tally.sent_again_too_often += max(0, again - self._under_way)
        tally.never_asked += sum(not came.get(name) for name in books.answered)
        made = asked.n_batches - self._born.n_batches
        tally.batches += made
        tally.batches_unknown += abs(made - len(books.provider_batches))

    def _compare(self, books: Books, asked: ProviderCounts) -> None:
        """Nothing that was answered at the last kill may have been lost, or asked since."""
        before, now = self._asked.questions, asked.questions
        self.tally.answers_lost += len(self.books.answered - books.answered)
        self.tally.asked_though_answered += sum(now.get(q, 0) - before.get(q, 0) for q in self.books.answered)
        self.books, self._asked = books, asked


def read_books(ledger: Path, *, folder: Path) -> Books:
    """Read a ledger that nobody has open, from a copy in a folder: opening it would mend what the next run has to mend."""
    if not ledger.exists():
        return Books()
    copy = _copy(ledger, folder)
    with Ledger(copy) as books:
        keys = books.keys_starting("", limit=10**6)
        batches = books.batches()
        return Books(
            answered=frozenset(_names(books, list(books.answers(keys)))),
            n_under_way=books.interrupted(),
            provider_batches=frozenset(row.provider_batch for row in batches if row.provider_batch),
            n_open_batches=len(books.summary().batches),
        )


def _copy(ledger: Path, folder: Path) -> Path:
    """Copy the file and what was committed but not yet moved into it."""
    copy = folder / "copy-of-ledger.sqlite"
    for file in folder.glob(f"{copy.name}*"):
        file.unlink()
    for end in ("", "-wal"):
        file = ledger.with_name(ledger.name + end)
        if file.exists():
            shutil.copyfile(file, copy.with_name(copy.name + end))
    return copy


def _names(ledger: Ledger, keys: Sequence[str]) -> list[str]:
    requests = [ledger.request(key) for key in keys]
    return [question_name(request.system, request.user) for request in requests]
