"""From the config to explainers: which ones write labels, as plain values that a job can carry, and how they are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.session import Session
from flows.stages.judge import ScorerChoice, chosen_scorer, make_window_scorer
from flows.stages.select_judge import SelectJudge
from labeling import explainers, registry
from labeling.config import Config
from labeling.errors import UsageError
from labeling.explainers import AnyExplainer, Judge, author_of
from labeling.label_files import LabelSource, read_label_file

JUDGE = "detection"
"""Scorer that tries labels while they are being chosen."""


@dataclass(frozen=True)
class ExplainerChoice:
    """Which explainer writes, as plain values that a job can carry."""

    name: str
    model: str | None
    prompt: str | None
    """Text of the user's own prompt."""
    judge: ScorerChoice | None = None
    """Who tries labels, for explainers that choose among several."""
    samples: int = 5
    labels: LabelSource | None = None
    """Labels made elsewhere."""

    @property
    def shown(self) -> str:
        """The name that people see."""
        return self.name if self.labels is None else f"{self.name} of {self.labels.author}"


def choose_explainers(session: Session) -> list[ExplainerChoice]:
    """Every explainer of the config, imported labels once for each author.

    Raise UsageError for what can't be made, before anything is paid for.
    """
    config = session.config.label
    found = [choice for name in config.explainer for choice in _choices(session.config, name)]
    for choice in found:
        make_explainer(choice)
    _check_taken(session.config, "prompt", config.prompt)
    _check_taken(session.config, "labels", config.labels)
    return found


def _check_taken(config: Config, key: str, value: str | None) -> None:
    """Raise UsageError for a setting that none of the explainers takes, unless it is left over from the last run."""
    named = config.label.explainer
    if value is None or key in config.left_over or any(key in taken_by(name) for name in named):
        return
    takers = [name for name in registry.names(explainers) if key in taken_by(name)]
    raise UsageError(
        f"[label] {key} is {value!r}, but the explainers {', '.join(named)} take none. Remove `{key}`, or add an explainer "
        f"that does: {', '.join(takers)}."
    )


def _choices(config: Config, name: str) -> list[ExplainerChoice]:
    label, score = config.label, config.score
    takes, judge = taken_by(name), chosen_scorer(JUDGE, score, model=label.model)
    choice = ExplainerChoice(
        name,
        label.model if "model" in takes else None,
        _read_prompt(label.prompt) if "prompt" in takes else None,
        judge if "judge" in takes and judge.model is not None else None,
        label.samples,
    )
    if "labels" not in takes:
        return [choice]
    if label.labels is None:
        raise UsageError(
            f"The explainer {name!r} reads labels from a file, and none is named. Give --labels FILE, or set `labels` under "
            "[label]."
        )
    path = Path(label.labels).absolute()
    file, unnamed = read_label_file(path), _only_feature_set(config, path)
    return [ExplainerChoice(name, None, None, labels=LabelSource(path, author, unnamed)) for author in file.authors]


def _only_feature_set(config: Config, path: Path) -> str:
    """The feature set that labels without one are of. Random-weights controls are never meant."""
    names = [feature_set.name for feature_set in config.features if feature_set.control_for is None]
    if len(names) > 1 and (lost := next((x for x in read_label_file(path).labels if x.feature_set is None), None)):
        raise UsageError(
            f"{lost.place}: the label does not say which feature set it is of, and there are several: {', '.join(names)}. "
            "Add a column `feature_set` with one of these names."
        )
    return names[0]


def taken_by(name: str) -> tuple[str, ...]:
    """Settings that an explainer takes. Raise UsageError for an unknown one."""
    return registry.settings_of(explainers, name, kind="explainer")


def make_explainer(choice: ExplainerChoice) -> AnyExplainer:
    made: Mapping[str, Callable[[], object]] = {
        "model": lambda: choice.model,
        "prompt": lambda: choice.prompt,
        "judge": lambda: _judge(choice.judge),
        "samples": lambda: choice.samples,
        "labels": lambda: choice.labels,
    }
    settings: dict[str, Any] = {name: made[name]() for name in taken_by(choice.name)}
    explainer: AnyExplainer = registry.create(explainers, choice.name, kind="explainer", **settings)
    return explainer


def _judge(choice: ScorerChoice | None) -> Judge | None:
    return None if choice is None or choice.model is None else SelectJudge(make_window_scorer(choice), choice.model)


def author_named(choice: ExplainerChoice) -> str | None:
    """Who writes the labels, as tables name it."""
    return author_of(make_explainer(choice))


def models_asked(choice: ExplainerChoice) -> list[str]:
    """Language models that writing these labels asks: the explainer's, and that of its judge."""
    named = [make_explainer(choice).model, choice.judge.model if choice.judge is not None else None]
    return [model for model in named if model is not None]


def _read_prompt(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"[label] prompt = {path!r} can't be read: {error}. Name a UTF-8 text file.") from None
