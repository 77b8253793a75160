"""The words of the domain as types: windows, contexts, evidence, labels, judgments.

Start reading here. Everything in this file is plain data; it knows nothing of models, files, SQL or networks.
A *window* is a fixed-length slice of a document and the unit that is sampled and judged. A *context* is a window
chosen for a feature, with its activations. Activations are raw values; levels (0-10) exist only in prompts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float32]
StringArray = npt.NDArray[np.str_]
JSON = Any
"""A value that `json.dumps` takes."""

Split = Literal["explain", "select", "score"]
"""What a document may be used for: evidence for labels, choosing and calibrating, or reported numbers."""
SPLITS: tuple[Split, ...] = get_args(Split)

TAU_SHARE, STRICT_TAU_SHARE = 0.01, 0.25
"""Thresholds of firing as shares of a feature's largest activation: the main one, and one that counts strong firing only."""
TAU_SHARES = (TAU_SHARE, STRICT_TAU_SHARE)

Stratum = Literal["top", "q1", "q2", "q3", "q4", "q5", "grey", "hard_token", "hard_neighbor", "hard_text", "random"]
"""Why a window was chosen for a feature.

`q1` (weakest) to `q5` (strongest) are the equal-count activation quantiles of firing windows; `top` holds the strongest
windows and stands outside every weighted metric; `grey` is active but not above tau; the rest are silent.
"""
STRATA: tuple[Stratum, ...] = get_args(Stratum)
QUANTILES: tuple[Stratum, ...] = ("q1", "q2", "q3", "q4", "q5")
HARD: tuple[Stratum, ...] = ("hard_token", "hard_neighbor", "hard_text")

FeatureStatus = Literal["ok", "weak", "dense", "dead"]
Control = Literal[
    "shuffled",
    "other_feature",
    "neighbor",
    "generic",
    "over_broad",
    "no_label",
    "permuted",
    "random_weights",
    "random_directions",
]
CONTROLS: tuple[Control, ...] = get_args(Control)


@dataclass(frozen=True)
class Document:
    """One text of a corpus. `document_id` is the hash of the text, so equal texts are one document."""

    document_id: str
    name: str
    text: str


@dataclass(frozen=True)
class TokenizedDocument:
    """A document cut into tokens, special tokens left out. All four sequences have one entry a token."""

    document: Document
    token_ids: tuple[int, ...]
    tokens: tuple[str, ...]
    starts: tuple[int, ...]
    """0-based character offset of the token's first character in the document."""
    ends: tuple[int, ...]
    """0-based character offset after the token's last character."""


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of one corpus, one a row; short windows are padded on the right. Compared by identity.

    Shapes: `n` windows, `width` tokens at most.
    """

    window: IntArray  # [n] ascending ids, unique within the corpus
    document_id: StringArray  # [n]
    split: StringArray  # [n] values of Split
    text: tuple[str, ...]  # n texts, from the first token's start to the last token's end
    n_tokens: IntArray  # [n] tokens in the window
    tokens: npt.NDArray[np.int32]  # [n, width] index into `vocabulary`; -1 is padding
    starts: npt.NDArray[np.int32]  # [n, width] character offset of each token in `text`
    ends: npt.NDArray[np.int32]  # [n, width] character offset after each token in `text`
    vocabulary: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.window)

    @property
    def width(self) -> int:
        return int(self.tokens.shape[1])

    def rows_of(self, window: IntArray) -> IntArray:
        """Row of each window id. Raise KeyError when an id is not among the windows."""
        rows = np.searchsorted(self.window, window)
        found = (rows < len(self.window)) & (self.window[np.minimum(rows, len(self.window) - 1)] == window)
        if not found.all():
            raise KeyError(f"window {int(window[~found][0])} is not among the {len(self.window)} windows at hand")
        return rows.astype(np.int64)

    def token_strings(self, row: int) -> list[str]:
        """Tokens of one window as the tokenizer writes them, without padding."""
        return [self.vocabulary[i] for i in self.tokens[row, : self.n_tokens[row]]]

    @cached_property
    def token_index(self) -> Mapping[str, int]:
        """Index of each token string in `vocabulary`."""
        return {token: index for index, token in enumerate(self.vocabulary)}


@dataclass(frozen=True)
class FeatureInfo:
    """What is known about one feature of one sample before it is labelled."""

    sample_id: str
    feature_set: str
    feature: int
    status: FeatureStatus
    tau: float
    """Raw activation above which a window fires."""
    max_activation: float
    """Largest raw activation over all splits."""
    firing_rate: float
    """Share 0-1 of tokens on which the feature is above tau."""
    firing_windows: Mapping[Split, int]
    """Exact number of windows that fire, by split."""
    silent_windows: Mapping[Split, int]
    """Exact number of windows without any activation, by split."""


@dataclass(frozen=True)
class Contexts:
    """Contexts of one feature in one split, one a row (`n` rows); a window can stand in more than one stratum."""

    row: IntArray  # [n] row of the window in the Windows they belong to
    stratum: StringArray  # [n] values of Stratum
    population: IntArray  # [n] windows in the stratum, counted exactly
    sampled: IntArray  # [n] contexts drawn from the stratum
    max_activation: FloatArray  # [n] raw; 0 is silent
    activations: FloatArray  # [n, width] raw activation of each token; 0 where silent

    def __len__(self) -> int:
        return len(self.row)

    def take(self, which: npt.NDArray[Any]) -> Contexts:
        """Rows chosen by a boolean mask or an index array."""
        return Contexts(
            row=self.row[which],
            stratum=self.stratum[which],
            population=self.population[which],
            sampled=self.sampled[which],
            max_activation=self.max_activation[which],
            activations=self.activations[which],
        )


@dataclass(frozen=True)
class Background:
    """How often each token of `Windows.vocabulary` stands in the `explain` split: the base rate of a word."""

    token_counts: IntArray  # [len(vocabulary)] occurrences
    n_tokens: int
    n_windows: int


@dataclass(frozen=True)
class Evidence:
    """Everything an explainer may see of a feature: contexts of the `explain` split only."""

    feature: FeatureInfo
    contexts: Contexts
    windows: Windows
    background: Background


@dataclass(frozen=True)
class Trial:
    """Contexts of the `select` split, on which an explainer may try labels before it keeps one; never those of `score`."""

    feature: FeatureInfo
    contexts: Contexts
    windows: Windows


@dataclass(frozen=True, eq=False)
class Verdict:
    """What a judge made of one label on the contexts of a trial."""

    probability: FloatArray  # [n] 0-1 that the context fires, one a context; NaN where there is no answer
    score: float | None
    """The headline on these contexts, as for reported scores; None where it has no value."""
    reason: str | None
    """Why there is no score."""


@dataclass(frozen=True)
class Candidate:
    """A label that was tried on the way to the one that is kept, or that could not be had."""

    text: str | None
    select_score: float | None
    """Headline on contexts of `select`; None where it was not judged."""
    reason: str | None
    """Why there is no text or no score."""


@dataclass(frozen=True)
class Label:
    """What an explainer says a feature responds to."""

    text: str
    pattern: JSON | None = None
    """The executable form of the label, where the explainer has one."""
    rationale: str | None = None
    candidates: tuple[Candidate, ...] = ()
    """What was tried, this label among it, where the explainer chooses."""
    select_score: float | None = None
    """What it was chosen by: the best of several, so too high on average (the winner's curse). Never a reported score."""


@dataclass(frozen=True)
class NoLabel:
    """An explanation that failed. It is stored with its reason and never scored."""

    reason: str
    raw: str | None = None
    """The unusable answer, for the person who looks into it."""
    candidates: tuple[Candidate, ...] = ()


@dataclass(frozen=True)
class LLMRequest:
    """One question to a language model. Everything here is part of its identity in the ledger."""

    model: str
    """`provider/model`."""
    system: str
    """The fixed part of the prompt: the same for all features, so that providers can cache it."""
    user: str
    schema: Mapping[str, JSON]
    """JSON schema of the answer."""
    max_output_tokens: int
    purpose: Literal["label", "select", "score", "name"]
    """`select`: a judge is asked about a label that is still being chosen."""
    repeat: int = 0
    """Raise it to ask the same question again."""
    top_logprobs: int = 0
    """Likeliest tokens whose log-probabilities the answer is to bring at each place; 0 asks for none. It is part of the
    identity only where it is not 0."""


@dataclass(frozen=True)
class NumberToken:
    """A token of an answer that is, or could have been, a digit, with what could have stood there."""

    start: int
    """Offset in the answer's text of its first character."""
    end: int
    """Offset after its last character."""
    choices: tuple[tuple[str, float], ...]
    """Tokens with their probabilities, 0-1: the one that stands there first, then others that hold a digit."""


@dataclass(frozen=True)
class Completion:
    """An answer, as the provider gave it."""

    text: str
    stop_reason: str
    input_tokens: int | None
    """All prompt tokens, cached ones included. None in this and the other counts: the server did not say."""
    cached_input_tokens: int | None
    output_tokens: int | None
    latency_seconds: float
    cache_write_input_tokens: int | None = 0
    """Prompt tokens written to the provider's cache, which some providers bill at more than the plain price."""
    attempts: int = 1
    """How often the request was sent until this came back."""
    batch: bool = False
    """Whether it came in a batch, which the providers bill at half the price."""
    number_tokens: tuple[NumberToken, ...] | None = None
    """In the order of the text; None where log-probabilities were not asked for, or the server gave none."""


LOGPROBS_REFUSED = "logprobs_refused"
"""Reason of a failure: the server would not answer because the request wants log-probabilities."""


@dataclass(frozen=True)
class CompletionFailure:
    """No answer. `reason` is a short fixed word such as `timeout`; `detail` is for people."""

    reason: str
    retryable: bool
    detail: str = ""
    answer: Completion | None = None
    """What the provider sent and bills all the same: a truncated text, a refusal."""
    attempts: int = 1


LLMResult = Completion | CompletionFailure


@dataclass(frozen=True)
class JudgeTask:
    """Windows to be judged by one label. `label` None asks the judge to guess without any label."""

    feature: int
    label: Label | None
    rows: IntArray  # [n] distinct rows of Windows, in a shuffled order that tells nothing
    activations: FloatArray  # [n, width] real activations, for scorers that mark tokens; detection must not look
    seed: int
    epoch: int = 0


@dataclass(frozen=True)
class Grades:
    """A judge's answers to one task, in the order of its rows."""

    values: FloatArray  # [n] LLM scorers: probability 0-1; offline scorers: raw number; NaN where there is no answer
    reasons: Sequence[str | None]  # n entries: None where answered, else why not
    request: Sequence[int | None] = field(default=())
    """Which of the task's requests asked about the row; empty for offline scorers."""
    place: Sequence[int] = field(default=())
    """Place of the row in its request, 1-based; empty for offline scorers."""
