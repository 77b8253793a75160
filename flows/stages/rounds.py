"""Run the steps of many features together: each round sends what all of them ask next, and hands back the answers.

A feature goes on as soon as its own answers are there; one that waits for a batch stops where it is, and is run again
from the start when the answers are in the ledger.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from flows.llm import LLMSettings, send
from flows.usage import Usage
from labeling.answers import Check
from labeling.explainers import Steps
from labeling.llm._batch_model import is_pending
from labeling.types import Label, LLMRequest, LLMResult, NoLabel


@dataclass
class Course:
    """The steps of one feature, as far as they went."""

    steps: Steps
    asks: Sequence[LLMRequest] = ()
    """What it asks next."""
    said: Label | NoLabel | None = None
    """What came of it; None while it goes on, or waits."""
    usage_by_trail: dict[tuple[str, ...], Usage] = field(default_factory=dict)
    """Usage by the keys of all requests behind an answer: a question that is asked twice counts once."""

    @property
    def keys(self) -> list[str]:
        return list(dict.fromkeys(key for trail in self.usage_by_trail for key in trail))

    @property
    def usage(self) -> Usage:
        return sum(self.usage_by_trail.values(), Usage())

    def start(self) -> None:
        self._take(None)

    def go_on(self, results: Sequence[LLMResult]) -> None:
        self._take(results)

    def _take(self, results: Sequence[LLMResult] | None) -> None:
        try:
            self.asks = next(self.steps) if results is None else self.steps.send(results)
        except StopIteration as end:
            self.asks, self.said = (), end.value


@dataclass(frozen=True)
class Rounds:
    """What became of all courses."""

    courses: list[Course]
    n_reused: int
    n_sent_again: int
    n_pending: int
    """Answers that are not there yet; the courses that need them have said nothing."""

    @property
    def usage(self) -> Usage:
        each = {trail: used for course in self.courses for trail, used in course.usage_by_trail.items()}
        return sum(each.values(), Usage())


def run_rounds(root: Path, steps: Sequence[Steps], settings: LLMSettings, check: Check, *, repeat: int) -> Rounds:
    """Run every course to its end, or to the first answer that is not there yet.

    `repeat` asks for further labels of the same evidence; judges are not asked again for it.
    """
    courses = [Course(one) for one in steps]
    for course in courses:
        course.start()
    asking, asked = [course for course in courses if course.said is None], list[_Asked]()
    while asking:
        asked.append(_ask(root, asking, settings, check, repeat=repeat))
        ready = [(c, results) for c, results in zip(asking, asked[-1].results, strict=True) if not _waits(results)]
        for course, results in ready:
            course.go_on(results)
        asking = [course for course, _ in ready if course.said is None]
    return Rounds(
        courses,
        n_reused=sum(one.n_reused for one in asked),
        n_sent_again=sum(one.n_sent_again for one in asked),
        n_pending=sum(is_pending(result) for one in asked for results in one.results for result in results),
    )


@dataclass(frozen=True)
class _Asked:
    """One round."""

    results: list[list[LLMResult]]
    """Of each course, one a request."""
    n_reused: int
    n_sent_again: int


def _ask(root: Path, courses: Sequence[Course], settings: LLMSettings, check: Check, *, repeat: int) -> _Asked:
    """Send what the courses ask, the requests of each model together."""
    asked = [(course, _repeated(request, repeat)) for course in courses for request in course.asks]
    answers: dict[int, LLMResult] = {}
    n_reused = n_sent_again = 0
    for model in dict.fromkeys(request.model for _, request in asked):
        places = [place for place, (_, request) in enumerate(asked) if request.model == model]
        sent = send(root, [asked[place][1] for place in places], settings, check)
        answers |= zip(places, sent.results, strict=True)
        for place, trail, used in zip(places, sent.asked, sent.usage, strict=True):
            asked[place][0].usage_by_trail[trail] = used
        n_reused, n_sent_again = n_reused + sent.n_reused, n_sent_again + sent.n_sent_again
    in_order = iter([answers[place] for place in range(len(asked))])
    return _Asked([list(islice(in_order, len(course.asks))) for course in courses], n_reused, n_sent_again)


def _waits(results: Sequence[LLMResult]) -> bool:
    return any(map(is_pending, results))


def _repeated(request: LLMRequest, repeat: int) -> LLMRequest:
    """The request of a repeat: another place in the ledger. What a judge said of the same label stands."""
    if request.purpose != "label":
        return request
    return replace(request, repeat=request.repeat + repeat)
