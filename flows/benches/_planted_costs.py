"""What it costs a feature to tell true labels from near-misses: windows and prompt tokens, ours and other protocols'.

Ours is tried on a share of the windows of every stratum, the others with more and with fewer windows than their authors
use, drawn from the whole population. The cost is that of the smallest size from which on no kind of near-miss is told
apart less often than the target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evals.items import Items
from evals.planted.judges import Judge
from evals.planted.protocols import PROTOCOLS, Protocol
from evals.planted.ranking import Scores, lowest_rank_accuracy
from flows.benches._planted_grades import SampledWindows, score
from flows.benches._planted_judged import JudgedSet, peer_scores, pool_scores
from flows.benches._planted_workspace import Planted

TARGET = 0.95
SHARES = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Of the windows that a run judges for a feature."""
PEER_WINDOWS = (14, 28, 50, 100, 200, 400)


@dataclass(frozen=True)
class Cost:
    """What a size costs a label, and how well it does."""

    windows: float
    prompt_tokens: float
    rank_accuracy: float
    """The lowest over the kinds of near-misses."""


def own_costs(sets: Sequence[JudgedSet], judge: str, *, seed: int) -> list[Cost]:
    """Our scorer on growing shares of its windows."""
    asked = [s.asked[judge] for s in sets]
    tokens = sum(a.prompt_tokens for a in asked) / max(sum(a.n_windows for a in asked), 1)
    found = []
    for share in SHARES:
        kept = [_keep(s.sampled.items, share, seed) for s in sets]
        scores = [_headline(s, judge, mask) for s, mask in zip(sets, kept, strict=True)]
        windows = float(np.concatenate([_judged(s.sampled, mask) for s, mask in zip(sets, kept, strict=True)]).mean())
        found.append(Cost(windows, windows * tokens, _lowest(sets, scores)))
    return found


def peer_costs(planted: Planted, sets: Sequence[JudgedSet], judge: Judge, *, seed: int) -> dict[str, list[Cost]]:
    """Other protocols with growing numbers of windows."""
    per_request = {protocol.name: protocol.windows_per_request for protocol in PROTOCOLS}
    tokens = tokens_per_window(sets, per_request)
    return {
        protocol.name: [
            Cost(
                windows,
                windows * tokens[protocol.name],
                _lowest(sets, _peer(planted, sets, judge, protocol, windows, seed)),
            )
            for windows in PEER_WINDOWS
        ]
        for protocol in PROTOCOLS
    }


def tokens_per_window(sets: Sequence[JudgedSet], per_request: Mapping[str, int]) -> dict[str, float]:
    """Prompt tokens of a window with its share of the fixed text, for requests of several sizes, in our wording."""
    from evals.scorers.detection import SYSTEM

    asked = next(iter(sets[0].asked.values()))
    fixed = len(SYSTEM) / 4
    window = (asked.prompt_tokens - asked.n_requests * fixed) / max(asked.n_windows, 1)
    return {name: window + fixed / n for name, n in per_request.items()}


def cheapest(costs: Sequence[Cost], target: float = TARGET) -> Cost | None:
    """The smallest size that reaches the target and keeps it at every larger one; None when there is none."""
    best = None
    for cost in reversed(costs):
        if not cost.rank_accuracy >= target:
            break
        best = cost
    return best


def _peer(
    planted: Planted, sets: Sequence[JudgedSet], judge: Judge, protocol: Protocol, windows: int, seed: int
) -> list[Scores]:
    return [peer_scores(planted, s.name, s.labels, judge, protocol, windows=windows, seed=seed) for s in sets]


def _lowest(sets: Sequence[JudgedSet], scores: Sequence[Scores]) -> float:
    pooled = pool_scores(sets, scores)
    return lowest_rank_accuracy(pooled.scores, pooled.compared)


def _keep(items: Items, share: float, seed: int) -> np.ndarray:
    """[F, n] a share of the items of every stratum of every feature, at least one of each."""
    order = np.random.default_rng(seed).random(items.stratum.shape)
    kept = np.zeros(items.stratum.shape, np.bool_)
    for code in np.unique(items.stratum[items.stratum >= 0]):
        here = items.stratum == code
        rank = np.argsort(np.argsort(np.where(here, order, np.inf), axis=1), axis=1)
        kept |= here & (rank < np.ceil(share * here.sum(axis=1, keepdims=True)))
    return kept


def _judged(sampled: SampledWindows, kept: np.ndarray) -> np.ndarray:
    """[F] distinct windows that have to be judged."""
    return np.array([len(np.unique(row[mask])) for row, mask in zip(sampled.row, kept, strict=True)])


def _headline(judged: JudgedSet, judge: str, kept: np.ndarray) -> Scores:
    grades = np.where(kept[:, None, :], judged.asked[judge].grades, np.nan)
    tables = [score(judged.sampled, grades[:, column], intervals=False) for column in range(grades.shape[1])]
    return np.stack([table.value[table.row("headline")] for table in tables], axis=1)
