"""A scorer as the judge of labels that are still being chosen: on contexts of `select`, by the headline as reported scores.

It makes explainers that try labels independent of scorers, and keeps one definition of the headline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from evals.items import Items, pack
from evals.metrics import score_features
from evals.scorers import Scorer
from labeling.identity import identify
from labeling.types import (
    JSON,
    QUANTILES,
    STRATA,
    TAU_SHARE,
    Contexts,
    FloatArray,
    IntArray,
    JudgeTask,
    Label,
    LLMRequest,
    LLMResult,
    Stratum,
    Trial,
    Verdict,
)


@dataclass(frozen=True)
class SelectJudge:
    """Satisfies `labeling.explainers.Judge`. The scorer must grade with probabilities."""

    scorer: Scorer
    model: str

    @property
    def identity(self) -> Mapping[str, JSON]:
        scorer = self.scorer
        about = {"scorer": scorer.name, "model": self.model, "prompt_version": scorer.prompt_version}
        return {**about, "parameters": dict(scorer.parameters)}

    def requests(self, label: Label, trial: Trial) -> tuple[LLMRequest, ...]:
        asked = self.scorer.requests(_task(label, trial), trial.windows)
        return tuple(replace(request, purpose="select") for request in asked)

    def problem(self, request: LLMRequest, text: str) -> str | None:
        return self.scorer.problem(request, text)

    def verdict(self, label: Label, trial: Trial, results: Sequence[LLMResult]) -> Verdict:
        task = _task(label, trial)
        grades = self.scorer.parse(task, trial.windows, results)
        by_row = np.argsort(task.rows)
        probability = grades.values[by_row[np.searchsorted(task.rows[by_row], trial.contexts.row)]]
        if not len(trial.contexts):
            return Verdict(probability, None, "no context to judge")
        table = score_features(
            _items(trial, probability), generator=np.random.default_rng(0), intervals=False, tau_shares=(TAU_SHARE,)
        )
        row = table.row("headline")
        value = float(table.value[row, 0])
        lost = next((reason for reason in grades.reasons if reason is not None), None)
        reason = None if value == value else lost or str(table.reason[row, 0])
        return Verdict(probability, None if reason else value, reason)


def _task(label: Label, trial: Trial) -> JudgeTask:
    """Each window once, in an order that depends on the feature alone, so that competing labels meet the same company."""
    rows = np.unique(trial.contexts.row)
    seed = int(identify("trial order", sample=trial.feature.sample_id, feature=trial.feature.feature), 16)
    order = np.random.default_rng(seed).permutation(len(rows))
    activations = np.zeros((len(rows), trial.windows.width), dtype=np.float32)
    activations[np.searchsorted(rows, trial.contexts.row)] = trial.contexts.activations
    return JudgeTask(trial.feature.feature, label, rows[order], activations[order], seed % 2**32)


def _items(trial: Trial, probability: FloatArray) -> Items:
    contexts, info = trial.contexts, trial.feature
    firing, total = _windows_in(contexts, QUANTILES), _windows_in(contexts, STRATA)
    codes = {stratum: code for code, stratum in enumerate(STRATA)}
    return pack(
        np.zeros(len(contexts), dtype=np.int64),
        probability=probability,
        activation=contexts.max_activation,
        stratum=np.array([codes[stratum] for stratum in contexts.stratum], dtype=np.int8),
        population=contexts.population,
        document=_document_codes(trial),
        panel=np.zeros(len(contexts), dtype=np.bool_),
        tau=np.array([info.tau]),
        tau25=np.array([info.tau]),
        firing_windows=np.array([firing]),
        firing_windows25=np.array([firing]),
        n_windows=np.array([total]),
    )


def _windows_in(contexts: Contexts, strata: Sequence[Stratum]) -> int:
    """Windows in those of the strata that the contexts are of. A part of a trial may lack one: labels are compared on what
    is there, all of them on the same."""
    seen = {s: int(n) for s, n in zip(contexts.stratum.tolist(), contexts.population, strict=True) if s in strata}
    return sum(seen.values())


def _document_codes(trial: Trial) -> IntArray:
    documents = trial.windows.document_id[trial.contexts.row]
    return np.asarray(np.unique(documents, return_inverse=True)[1], dtype=np.int64)
