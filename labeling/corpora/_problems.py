"""What was wrong with the text of a corpus: counted by kind, each with the first place; and the point where to give up.

One bad record never stops a run. A file without any readable record does, because then the config is wrong, not the
text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from labeling.corpora import Problem, Problems
from labeling.errors import FeatlasError
from labeling.types import Document

HOPELESS_AFTER = 10_000
"""Records without a single document after which the rest of a file is not tried."""
EXCERPT_CHARACTERS = 120


@dataclass(frozen=True)
class Misfit:
    """A record that gives no document."""

    problem: Problem
    place: str
    seen: str

    def __str__(self) -> str:
        return f"{self.place}: {self.problem}, {self.seen}"


@dataclass
class Tally:
    """Counts of one pass over one corpus."""

    by_problem: dict[Problem, Problems] = field(default_factory=dict)

    def add(self, problem: Problem, example: str, count: int = 1) -> None:
        before = self.by_problem.get(problem, Problems(0, example))
        self.by_problem[problem] = Problems(before.count + count, before.example)


def readable(records: Iterator[Document | Misfit], tally: Tally, *, file: str, hint: str) -> Iterator[Document]:
    """Pass on the documents of one file and count its misfits.

    Raise FeatlasError with the first misfit when the file has records and none of them (or of its first
    HOPELESS_AFTER) is a document. `hint` ends the message: what to change.
    """
    first: Misfit | None = None
    tried = read = 0
    for record in records:
        tried += 1
        if isinstance(record, Document):
            read += 1
            yield record
            continue
        first = first or record
        tally.add(record.problem, f"{record.place}: {record.seen}")
        if not read and tried == HOPELESS_AFTER:
            break
    if first and not read:
        raise FeatlasError(f"Nothing in {file} can be read: {_tried(tried)}. First, {first}. {hint}")


def _tried(n: int) -> str:
    first = "first " if n == HOPELESS_AFTER else ""
    return f"none of its {first}{n:,} records is a document" if n > 1 else "its one record is no document"


def excerpt(text: str) -> str:
    """A text for a message: one printable line, cut."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * EXCERPT_CHARACTERS]).split())
    return line if len(line) <= EXCERPT_CHARACTERS else line[:EXCERPT_CHARACTERS] + "…"
