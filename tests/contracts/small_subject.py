"""Features that fire on one word anywhere in a window, `cats` with seed 0, for scorers that ask in trials."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from evals.scorers import TrialScorer
from evals.trials import Answer, Asked, Judged, Panel, Subject, Trial
from labeling.types import Label, LLMResult, Windows
from tests.builders import Row, contexts_of, windows_of

_WORDS = (
    "the of and to in is It was They said little Old house gray walk sing window 12 , . many upon river stone Paris with "
    "never green quickly , a an from London table"
)
WORDS = tuple((word,) for word in _WORDS.split())
PAIRS = (
    ("cat", "##s"),
    ("wol", "##ves"),
    ("dog", "##s"),
    ("ea", "##gles"),
    ("co", "##ws"),
    ("horse", "##s"),
    ("hen", "##s"),
)
"""Words of two tokens; the feature of a seed fires on one of them."""
N_WORDS = 14
RIVALS = ("dogs, the animals", "names of rivers", "numbers", "colors", "capital letters", "commas")
HARD = ("hard_token", "hard_neighbor", "hard_text")


def subject_windows(*, firing: int = 60, silent: int = 80, seed: int = 0) -> Windows:
    """The first `firing` windows hold the word of the seed, once or twice, anywhere; the others don't."""
    generator = np.random.default_rng(seed)
    return windows_of(
        *(_tokens(generator, word_of(seed), holds=n < firing) for n in range(firing + silent)), split="score"
    )


def word_of(seed: int) -> tuple[str, str]:
    return PAIRS[seed % len(PAIRS)]


def _tokens(generator: np.random.Generator, firing: tuple[str, str], *, holds: bool) -> list[str]:
    lexicon = [*WORDS, *(pair for pair in PAIRS if pair != firing)]
    words = [lexicon[int(place)] for place in generator.integers(len(lexicon), size=N_WORDS)]
    if holds:
        for place in generator.permutation(N_WORDS)[: 1 + int(generator.random() < 0.4)]:
            words[place] = firing
    return [token for word in words for token in word]


def word_positions(windows: Windows, row: int, word: tuple[str, str] = PAIRS[0]) -> list[int]:
    tokens = windows.token_strings(row)
    starts = [place for place in range(len(tokens) - 1) if tuple(tokens[place : place + 2]) == word]
    return [place + part for place in starts for part in (0, 1)]


def feature_subject(
    label: Label | None, *, firing: int = 60, silent: int = 80, seed: int = 0, rivals: Sequence[str] = RIVALS
) -> tuple[Subject, Windows]:
    """Ten firing windows a quantile, five of the strongest, silent ones of every kind, and a panel of all windows."""
    windows = subject_windows(firing=firing, silent=silent, seed=seed)
    rows: list[Row] = []
    for row in range(firing):
        quantile = 1 + row * 5 // max(firing, 1)
        rows.append((row, f"q{quantile}", dict.fromkeys(word_positions(windows, row, word_of(seed)), 1.0 + row)))
    rows += [(row, "top", active) for row, _, active in rows[-5:]]
    rows += [(firing + n, (*HARD, "random", "random", "grey")[n % 6], {}) for n in range(silent)]
    stratum = np.array([stratum for _, stratum, _ in rows[:firing]] + ["random"] * silent)
    panel = Panel(np.arange(len(windows)), stratum)
    return Subject(7, label, contexts_of(rows, windows.width), panel, tuple(rivals), seed), windows


def judged_from(subject: Subject, trials: Sequence[Trial], answers: Sequence[Answer], *, sharing: int = 0) -> Judged:
    """What the tables would give back; every window is a document of its own."""
    return Judged(
        variant=np.array([trial.variant for trial in trials], dtype=np.str_),
        truth=np.array([np.nan if trial.truth is None else trial.truth for trial in trials]),
        grade=np.array([answer.grade for answer in answers]),
        weight=np.array([trial.weight for trial in trials]),
        options=np.array([trial.options or 0 for trial in trials], np.int64),
        document=np.array([trial.rows[0] for trial in trials], np.int64),
        reason=tuple(answer.reason for answer in answers),
        levels=tuple(answer.levels for answer in answers),
        activations=tuple(trial.activations for trial in trials),
        expected=tuple(answer.expected for answer in answers),
        firing_windows=int((subject.contexts.stratum != "random").sum()),
        grey_windows=10,
        silent_windows=1000,
        sharing=sharing,
    )


def judge_subject(
    scorer: TrialScorer, subject: Subject, windows: Windows, answer: object, *, sharing: int = 0
) -> Judged:
    """Let `answer(request)`, a text or a result, stand for the judge."""
    from labeling.llm import ask
    from labeling.llm.scripted import Scripted

    asked = (Asked(subject, scorer.trials(subject, windows)),)
    requests = scorer.requests(asked, windows) if asked[0].trials else ()
    results: list[LLMResult] = ask(Scripted(answer), list(requests))  # type: ignore[arg-type]
    (answers,) = scorer.parse(asked, windows, results) if requests else [[]]
    return judged_from(subject, asked[0].trials, answers, sharing=sharing)
