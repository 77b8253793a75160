"""Small windows, contexts and evidence for tests: texts are cut at spaces, a piece of a word is written `##piece`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from labeling.types import Background, Contexts, Evidence, FeatureInfo, JudgeTask, Label, Windows

Row = tuple[int, str, Mapping[int, float]]
"""Row of a window, stratum, raw activation by token position."""


def windows_of(*pieces: Sequence[str], split: str = "explain") -> Windows:
    """Windows from their tokens: `["cat", "##s", "sat"]` is the text `cats sat`. Window ids are 100, 101, ..."""
    vocabulary = tuple(sorted({token for tokens in pieces for token in tokens}))
    width = max(map(len, pieces))
    tokens, starts, ends = (np.full((len(pieces), width), fill, np.int32) for fill in (-1, 0, 0))
    texts = []
    for row, window in enumerate(pieces):
        text = ""
        for position, token in enumerate(window):
            text += "" if not text or token.startswith("##") else " "
            starts[row, position] = len(text)
            text += token.removeprefix("##")
            ends[row, position] = len(text)
            tokens[row, position] = vocabulary.index(token)
        texts.append(text)
    return Windows(
        window=np.arange(len(pieces)) + 100,
        document_id=np.array([f"doc{row}" for row in range(len(pieces))]),
        split=np.array([split] * len(pieces)),
        text=tuple(texts),
        n_tokens=np.array([len(window) for window in pieces]),
        tokens=tokens,
        starts=starts,
        ends=ends,
        vocabulary=vocabulary,
    )


def contexts_of(rows: Sequence[Row], width: int) -> Contexts:
    activations = np.zeros((len(rows), width), np.float32)
    for i, (_, _, active) in enumerate(rows):
        for position, value in active.items():
            activations[i, position] = value
    n = len(rows)
    return Contexts(
        row=np.array([row for row, _, _ in rows], np.int64),
        stratum=np.array([stratum for _, stratum, _ in rows], np.str_),
        population=np.full(n, 10),
        sampled=np.full(n, n),
        max_activation=activations.max(axis=1, initial=0.0),
        activations=activations,
    )


def evidence_of(windows: Windows, rows: Sequence[Row], *, feature: int = 7) -> Evidence:
    contexts = contexts_of(rows, windows.width)
    info = FeatureInfo(
        sample_id="0123456789abcdef",
        feature_set="small",
        feature=feature,
        status="ok",
        tau=0.01,
        max_activation=float(contexts.max_activation.max(initial=0.0)),
        firing_rate=0.01,
        firing_windows={"explain": 10, "select": 10, "score": 10},
        silent_windows={"explain": 90, "select": 90, "score": 90},
    )
    counts = np.bincount(windows.tokens[windows.tokens >= 0], minlength=len(windows.vocabulary))
    return Evidence(info, contexts, windows, Background(counts, int(counts.sum()), len(windows)))


def task_of(windows: Windows, label: Label | None, *, seed: int = 0, feature: int = 7, epoch: int = 0) -> JudgeTask:
    """Judge all windows. The feature fires on the first token of every second one."""
    activations = np.zeros((len(windows), windows.width), np.float32)
    activations[::2, 0] = 1
    return JudgeTask(feature, label, np.arange(len(windows)), activations, seed, epoch)
