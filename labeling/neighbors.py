"""Decoder directions in, the nearest features of each feature out: exact, by cosine.

The answer depends on the directions alone: not on block sizes, threads or the matrix library, which may differ in the
last bits. A float32 product only proposes pairs; pairs near the edge of a feature's list are computed again one by one
in float64, and equal similarities are ordered by feature number. Dead features (directions of zeros) have no
neighbors and are nobody's. What a feature means, and the other kinds of neighbor (co-occurrence, labels), are unknown
here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from labeling.errors import FeatlasError
from labeling.types import FloatArray, IntArray

METHOD = "decoder_cosine"
PRODUCT_ERROR = 1e-5
"""More than a float32 product of unit vectors is off by; pairs this close to the edge are computed again."""


@dataclass(frozen=True)
class Neighbors:
    """Nearest features of `n` features, at most `k` each, the nearest first."""

    neighbor: IntArray  # [n, k] feature numbers; -1 where there are no more
    similarity: FloatArray  # [n, k] cosine -1 to 1; NaN where there are no more
    alive: npt.NDArray[np.bool_]  # [n] False where the direction is all zeros

    def frame(self, feature_set: str) -> pl.DataFrame:
        """Rows of the table `neighbors`; `rank` is 0-based."""
        feature, rank = np.nonzero(self.neighbor >= 0)
        return pl.DataFrame(
            {
                "feature_set": pl.repeat(feature_set, len(feature), eager=True, dtype=pl.String),
                "method": pl.repeat(METHOD, len(feature), eager=True, dtype=pl.String),
                "feature": feature.astype(np.int32),
                "rank": rank.astype(np.int32),
                "neighbor": self.neighbor[feature, rank].astype(np.int32),
                "similarity": self.similarity[feature, rank].astype(np.float64),
            }
        )


def nearest_neighbors(
    directions: FloatArray, *, count: int = 10, scratch_mib: float = 256, device: str = "cpu"
) -> Neighbors:
    """Find the `count` features with the highest cosine for each of `directions` [n, d].

    Memory beyond `directions`: one float32 copy [n, d] and about `scratch_mib`. Work grows with n * n * d.
    Raise FeatlasError when a direction holds NaN or infinity.
    """
    unit, alive = unit_directions(directions)
    neighbor, similarity = nearest_of(
        np.arange(len(unit)), unit, alive, count=count, scratch_mib=scratch_mib, device=device
    )
    return Neighbors(neighbor, similarity, alive)


def nearest_of(
    features: IntArray,
    unit: FloatArray,
    alive: npt.NDArray[np.bool_],
    *,
    count: int,
    scratch_mib: float = 256,
    device: str = "cpu",
) -> tuple[IntArray, FloatArray]:
    """Neighbors and their cosines of some features alone, [f, count] each, as in `Neighbors`.

    `unit` and `alive` are those of `unit_directions`. Work grows with f * n * d.
    """
    n, width = unit.shape
    table, dead = torch.from_numpy(unit).to(device), torch.from_numpy(~alive).to(device)
    neighbor = np.full((len(features), count), -1, dtype=np.int64)
    similarity = np.full((len(features), count), np.nan, dtype=np.float32)
    rows_at_once = _at_least_one(scratch_mib, bytes_each=8 * n + 4 * width)  # a float32 and some flags for each pair
    chosen = torch.from_numpy(features).to(device)
    for places in _slices(torch.from_numpy(np.flatnonzero(alive[features])).to(device), rows_at_once):
        place, other = _candidates(table, chosen[places], dead, count=count)
        cosine = exact_cosine(table, chosen[places][place], other, scratch_mib=scratch_mib)
        at, found, cosine = _best(places[place].cpu().numpy(), other.cpu().numpy(), cosine, count=count)
        neighbor[at], similarity[at] = found, cosine
    return neighbor, similarity


def unit_directions(directions: FloatArray) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Directions [n, d] scaled to length 1, and which of them [n] are alive. Zeros stay zeros."""
    norm = np.sqrt(np.einsum("ij,ij->i", directions, directions, dtype=np.float64))
    if not np.isfinite(norm).all():
        feature = int(np.flatnonzero(~np.isfinite(norm))[0])
        raise FeatlasError(
            f"The decoder direction of feature {feature} holds NaN or infinity, so it has no neighbors. Directions "
            "must be finite numbers; write the dictionary again, or set the broken rows to zero to count them as dead."
        )
    alive = norm > 0
    scale = np.where(alive, norm, 1.0)[:, None]
    return np.divide(directions, scale, dtype=np.float32, casting="same_kind"), alive


def _candidates(
    table: torch.Tensor, rows: torch.Tensor, dead: torch.Tensor, *, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs (place in `rows`, feature) that could be among the `count` nearest, every tie at the edge included."""
    product = table[rows] @ table.T  # [rows, n]
    product[:, dead] = -torch.inf
    product[torch.arange(len(rows), device=rows.device), rows] = -torch.inf
    edge = product.topk(min(count, len(table)), dim=1).values[:, -1:].clamp(min=-2.0)
    place, other = (product >= edge - PRODUCT_ERROR).nonzero(as_tuple=True)
    return place, other


def exact_cosine(
    table: torch.Tensor, left: torch.Tensor, right: torch.Tensor, *, scratch_mib: float = 256
) -> FloatArray:
    """Cosine of pairs of rows of `table` (unit vectors), each computed alone in float64 and rounded to float32."""
    pairs_at_once = _at_least_one(scratch_mib, bytes_each=32 * table.shape[1])
    parts = [
        (table[a].double() * table[b].double()).sum(dim=1).float().cpu()
        for a, b in zip(_slices(left, pairs_at_once), _slices(right, pairs_at_once), strict=True)
    ]
    return np.clip(torch.cat(parts).numpy(), -1.0, 1.0) if parts else np.empty(0, dtype=np.float32)


def _best(
    row: IntArray, other: IntArray, cosine: FloatArray, *, count: int
) -> tuple[tuple[IntArray, IntArray], IntArray, FloatArray]:
    """Places (row, 0-based rank) of the first `count` pairs of each row, and what belongs there."""
    order = np.lexsort((other, -cosine, row))
    row, other, cosine = row[order], other[order], cosine[order]
    rank = np.arange(len(row)) - np.searchsorted(row, row)
    kept = rank < count
    return (row[kept], rank[kept]), other[kept], cosine[kept]


def random_pair_floor(
    directions: FloatArray, *, generator: np.random.Generator, pairs: int = 50_000, share: float = 0.99
) -> float | None:
    """The cosine that `share` (0-1) of random pairs of alive features stay below: similarity that means nothing.

    None when there is no pair.
    """
    unit, alive = unit_directions(directions)
    live = np.flatnonzero(alive)
    if len(live) < 2:
        return None
    left = generator.integers(len(live), size=pairs)
    right = (left + generator.integers(1, len(live), size=pairs)) % len(live)  # never the feature itself
    cosine = exact_cosine(torch.from_numpy(unit), torch.from_numpy(live[left]), torch.from_numpy(live[right]))
    return float(np.quantile(cosine, share))


def _at_least_one(mib: float, *, bytes_each: int) -> int:
    return max(1, int(mib * 2**20) // max(1, bytes_each))


def _slices(values: torch.Tensor, size: int) -> Iterator[torch.Tensor]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
