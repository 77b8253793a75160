"""The scripted labeller reads real prompts of `top_and_random` and answers what fits the windows in them."""

from __future__ import annotations

import asyncio

import numpy as np

from evals.planted.population import Knowledge
from evals.planted.reader import Reader, read_excerpts
from labeling.explainers.top_and_random import TopAndRandom
from labeling.llm.scripted import Scripted
from labeling.types import Evidence, Label
from tests.builders import evidence_of, windows_of

WINDOWS = windows_of(["Paris", "<<is>>", "old"], ["Cairo", "is", "hot"], ["nothing", "here"], ["Paris", "again"])
EXPLAINER = TopAndRandom("scripted/reader")


def evidence() -> Evidence:
    return evidence_of(WINDOWS, [(0, "top", {0: 2.0}), (3, "q3", {0: 1.0}), (1, "random", {}), (2, "random", {})])


def reader(**covered: list[bool]) -> Reader:
    return Reader(Knowledge(WINDOWS, {}), {name: np.array(rows) for name, rows in covered.items()})


def test_windows_are_read_back_without_marks_and_with_the_brackets_they_had() -> None:
    firing, silent = read_excerpts(EXPLAINER.requests(evidence())[0].user)
    assert sorted(firing) == sorted([WINDOWS.text[0], WINDOWS.text[3]])
    assert sorted(silent) == sorted([WINDOWS.text[1], WINDOWS.text[2]])


def test_the_label_that_parts_firing_from_silent_windows_wins() -> None:
    known = reader(wide=[True, True, False, True], right=[True, False, False, True], narrow=[False, False, False, True])
    requests = EXPLAINER.requests(evidence())
    results = asyncio.run(Scripted(known).complete(requests))
    said = EXPLAINER.parse(evidence(), results)
    assert isinstance(said, Label)
    assert said.text == "right"


def test_ties_are_broken_the_same_way_every_time() -> None:
    known = reader(a=[True, False, False, True], b=[True, False, False, True])
    answers = {known(EXPLAINER.requests(evidence())[0]) for _ in range(3)}
    assert len(answers) == 1
