"""The bench `prompts`: what a label and 100 graded windows cost, and what sharing a request does to the grades.

Without a workspace the judge is scripted and its flaws are known (`_flawed_judge`), on features that fire on a word
(`_planted`): tokens, questions asked twice, bias, and the effects of place and order, for several sizes of request, dealt
at random as `detection` deals them and, for contrast, with the firing windows first. With one, it measures the same
effects in the judgments that are stored there. Tokens are characters / 4. It sends nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evals.scorers.detection import WINDOWS_PER_REQUEST, Detection
from flows.benches import BenchOptions, Row, at_most, between, plain
from flows.benches._flawed_judge import NO_FLAWS, FlawedJudge
from labeling.answers import PROBLEMS, second_question
from labeling.errors import UsageError
from labeling.explainers.top_and_random import TopAndRandom
from labeling.types import Completion, CompletionFailure, FloatArray, Grades, JudgeTask, LLMRequest, Windows

if TYPE_CHECKING:
    from collections.abc import Callable

    from evals.order_effects import Judgments
    from flows.benches._planted import Planted

    Script = Callable[[LLMRequest], str]

MODEL = "scripted/flawed"
MOST_TOKENS, MOST_REQUESTS = 9_000, 8
"""For a label and 100 graded windows of one feature."""
CHANCE = (0.48, 0.52)
"""AUROC of a label that says nothing, at any size of request; two standard errors at 100 features are 0.012."""


@dataclass(frozen=True)
class PromptsBench:
    corpus: str | None = None
    features: int = 100
    tokens: int = 300_000
    """Of the corpus."""
    sizes: tuple[int, ...] = (1, 5, 10, WINDOWS_PER_REQUEST, 40, 100)
    seed: int = 0

    def measure(self) -> list[Row]:
        from flows.benches._planted import contains, plant

        planted = plant(corpus=self.corpus, features=self.features, tokens=self.tokens, seed=self.seed)
        label = _tokens([TopAndRandom(MODEL).requests(planted.evidence(f))[0] for f in range(self.features)])
        tasks = [planted.task(feature) for feature in range(self.features)]
        judge = FlawedJudge(contains, seed=self.seed)
        blind = replace(judge, separation=0.0)
        # Alone in a request no window has a place or a neighbor, and without slips no answer is lost.
        ideal = judge_all(Detection(MODEL, 1), tasks, planted.score, replace(judge, flaws=NO_FLAWS))
        rows = [plain("label: prompt tokens", label / self.features, "tokens"), *_rendering_rows(tasks, planted)]
        rows.append(plain("judge without flaws: AUROC", mean(aurocs(ideal)), ""))
        for size in self.sizes:
            scorer, name = Detection(MODEL, size), f"{size} a request"
            found = judge_all(scorer, tasks, planted.score, judge)
            rows += [*_size_rows(size, found, ideal, label / self.features), *_effect_rows(name, found.judgments)]
            dealt = {"dealt at random": scorer, "firing first": FiringFirst(MODEL, size)}
            for order, dealer in dealt.items():
                nothing = judge_all(dealer, tasks, planted.score, blind)
                rows += _blind_rows(f"{name}, {order}", nothing, promised=dealer is scorer)
        return rows


def create(*, options: BenchOptions) -> PromptsBench | WorkspaceJudges:
    """Make the bench. Raise UsageError for options that it does not use, and for a corpus beside a workspace."""
    options.only("prompts", "workspace", "corpus")
    workspace, corpus = options.workspace, options.corpus
    if workspace is None:
        return PromptsBench(corpus)
    if corpus is not None:
        raise UsageError(
            f"The bench 'prompts' got --workspace {workspace} and --corpus {corpus}. Give --workspace to measure the judges "
            "whose answers are stored there, or --corpus to plant features in a text for the scripted judge."
        )
    return WorkspaceJudges(workspace)


class FiringFirst(Detection):
    """Detection as it must not be: in each request the windows that fire come first."""

    def _batches(self, task: JudgeTask, windows: Windows) -> list[np.ndarray]:
        silent = task.activations.max(axis=1) == 0
        return [batch[np.argsort(silent[batch], kind="stable")] for batch in super()._batches(task, windows)]


@dataclass(frozen=True)
class Outcome:
    """What a judge made of all tasks."""

    prompt_tokens: float
    """Of first questions."""
    n_requests: int
    """First questions."""
    n_asked_twice: int
    judgments: Judgments


def judge_all(scorer: Detection, tasks: Sequence[JudgeTask], windows: Windows, script: Script) -> Outcome:
    """Ask about all tasks, once more where an answer can't be used, as a run does."""
    requests = [scorer.requests(task, windows) for task in tasks]
    answers = [[ask_twice(scorer, request, script) for request in some] for some in requests]
    grades = [
        scorer.parse(task, windows, [result for result, _ in some]) for task, some in zip(tasks, answers, strict=True)
    ]
    return Outcome(
        prompt_tokens=_tokens([request for some in requests for request in some]),
        n_requests=sum(map(len, requests)),
        n_asked_twice=sum(twice for some in answers for _, twice in some),
        judgments=_judgments(tasks, grades),
    )


def ask_twice(scorer: Detection, request: LLMRequest, script: Script) -> tuple[Completion | CompletionFailure, bool]:
    """The answer, or the failure when the second one can't be used either; and whether there was a second question."""
    result = _answer(scorer, request, script)
    again = second_question(request, result) if isinstance(result, CompletionFailure) else None
    return (result, False) if again is None else (_answer(scorer, again, script), True)


def _answer(scorer: Detection, request: LLMRequest, script: Script) -> Completion | CompletionFailure:
    completion = Completion(script(request), "end_turn", 0, 0, 0, 0.0)
    problem = scorer.problem(request, completion.text)
    return completion if problem is None else CompletionFailure(problem, False, PROBLEMS[problem], completion)


def _judgments(tasks: Sequence[JudgeTask], grades: Sequence[Grades]) -> Judgments:
    from evals.order_effects import Judgments

    sizes = [len(task.rows) for task in tasks]
    feature = np.repeat(np.arange(len(tasks)), sizes)
    request = np.concatenate([np.array(grade.request) for grade in grades]).astype(np.int64)
    return Judgments(
        feature=feature,
        request=feature * (request.max(initial=0) + 1) + request,
        place=np.concatenate([np.array(grade.place) for grade in grades]),
        fires=np.concatenate([task.activations.max(axis=1) > 0 for task in tasks]),
        grade=100 * np.concatenate([grade.values for grade in grades]).astype(np.float64),
    )


def aurocs(outcome: Outcome) -> FloatArray:
    """AUROC of each feature over its answered windows; NaN where one side has none."""
    judged = outcome.judgments
    return np.array([_auroc(judged.grade[own], judged.fires[own]) for own in _own(judged)])


def balanced(outcome: Outcome) -> FloatArray:
    """Graded balanced accuracy of each feature over its answered windows; NaN where one side has none."""
    judged = outcome.judgments
    sides = [(mean(judged.grade[own & judged.fires]), mean(judged.grade[own & ~judged.fires])) for own in _own(judged)]
    return np.array([(firing + 100 - silent) / 200 for firing, silent in sides])


def mean(values: np.ndarray) -> float:
    """Mean of what is known; NaN where nothing is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def deviation(values: np.ndarray) -> float:
    """Standard deviation of what is known; NaN for fewer than two."""
    known = values[~np.isnan(values)]
    return float(known.std(ddof=1)) if len(known) > 1 else math.nan


def _own(judged: Judgments) -> list[np.ndarray]:
    return [judged.feature == feature for feature in np.unique(judged.feature)]


def _auroc(grade: np.ndarray, fires: np.ndarray) -> float:
    from scipy.stats import rankdata

    known = ~np.isnan(grade)
    firing, n_firing, n = fires[known], int(fires[known].sum()), int(known.sum())
    if n_firing in (0, n):
        return float("nan")
    above = rankdata(grade[known])[firing].sum() - n_firing * (n_firing + 1) / 2
    return float(above / (n_firing * (n - n_firing)))


def _tokens(requests: Sequence[LLMRequest]) -> float:
    return sum(len(request.system) + len(request.user) for request in requests) / 4


def _rendering_rows(tasks: Sequence[JudgeTask], planted: Planted) -> list[Row]:
    """What a window costs, and what is sent beside the windows."""
    from labeling.llm.anthropic import SHORTEST_CACHED_CHARACTERS

    windows = planted.score
    requests = [request for task in tasks for request in Detection(MODEL).requests(task, windows)]
    judged = sum(len(task.rows) for task in tasks)
    own = sum(len(windows.text[int(row)]) for task in tasks for row in task.rows)
    written = sum(len(line) + 1 for request in requests for line in request.user.split("\n")[3:])
    schema = sum(len(json.dumps(request.schema, separators=(",", ":"))) for request in requests)
    systems = {request.system for request in requests}
    return [
        plain("a window's text", own / judged / 4, "tokens"),
        plain("number, quotes and escapes around it", (written - own) / judged / 4, "tokens"),
        plain("answer schema a window, sent beside the prompt", schema / judged / 4, "tokens"),
        plain("fixed prefix of the judge's requests", len(min(systems)) / 4, "tokens"),
        plain("the same, shortest that is marked for the cache", SHORTEST_CACHED_CHARACTERS / 4, "tokens"),
        at_most("different prefixes among the judge's requests", len(systems), 1, ""),
    ]


def _size_rows(size: int, outcome: Outcome, ideal: Outcome, label_tokens: float) -> list[Row]:
    n_features = len(np.unique(outcome.judgments.feature))
    tokens, requests = label_tokens + outcome.prompt_tokens / n_features, 1 + outcome.n_requests / n_features
    lost = 100 * float(np.isnan(outcome.judgments.grade).mean())
    auroc, sure = aurocs(outcome) - aurocs(ideal), balanced(outcome) - balanced(ideal)
    name, promised = f"{size} a request", size == WINDOWS_PER_REQUEST
    return [
        _up_to(MOST_TOKENS if promised else None, f"{name}: prompt tokens, label and 100 windows", tokens, "tokens"),
        _up_to(MOST_REQUESTS if promised else None, f"{name}: requests", requests, ""),
        plain(f"{name}: asked twice", 100 * outcome.n_asked_twice / outcome.n_requests, "% of requests"),
        plain(f"{name}: lost", lost, "% of windows"),
        plain(f"{name}: AUROC, bias", mean(auroc), ""),
        plain(f"{name}: AUROC, bias, sd of features", deviation(auroc), ""),
        plain(f"{name}: balanced, bias", mean(sure), ""),
        plain(f"{name}: balanced, bias, sd of features", deviation(sure), ""),
    ]


def _up_to(limit: float | None, name: str, value: float, unit: str) -> Row:
    return plain(name, value, unit) if limit is None else at_most(name, value, limit, unit)


def _blind_rows(name: str, outcome: Outcome, *, promised: bool) -> list[Row]:
    """What a label that says nothing gets, and whether the place gives the truth away."""
    judged = outcome.judgments
    alone = judged.place.max(initial=0) < 2
    together = math.nan if alone else float(np.corrcoef(judged.place, judged.fires)[0, 1])
    chance, chance_name = mean(aurocs(outcome)), f"{name}: AUROC of a label that says nothing"
    return [
        plain(f"{name}: correlation of place and truth", together, ""),
        between(chance_name, chance, *CHANCE, "") if promised else plain(chance_name, chance, ""),
    ]


def _effect_rows(name: str, judged: Judgments) -> list[Row]:
    from evals.order_effects import EFFECTS, measure_order_effects

    units = {"drift": "points a place", "fading": "points a place", "contrast": "points", "anchoring": "points"}
    measured, rows = measure_order_effects(judged), []
    for effect in EFFECTS:
        found = getattr(measured, effect)
        rows += [
            plain(f"{name}: {effect}{end}", value, units[effect])
            for end, value in (("", found.value), (", low", found.low), (", high", found.high))
        ]
    return rows


@dataclass(frozen=True)
class WorkspaceJudges:
    """Place and order effects of the judges whose answers a workspace holds."""

    workspace: Path

    def measure(self) -> list[Row]:
        from flows.benches._placed import judgments_of_judges

        rows: list[Row] = []
        for judge, judged in judgments_of_judges(self.workspace).items():
            rows.append(plain(f"{judge}: judgments", len(judged.grade), ""))
            rows += _effect_rows(judge, judged)
        return rows
