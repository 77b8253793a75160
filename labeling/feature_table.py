"""From sampler state to what is known of each feature: thresholds, exact counts, and whether it is worth labeling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from labeling.bins import LOWEST_BIN, edge_at_or_below
from labeling.sampler import SamplerState
from labeling.types import SPLITS, STRICT_TAU_SHARE, TAU_SHARE, FeatureStatus, FloatArray, IntArray

DENSE_SHARE = 0.04
"""Features that fire on more than this share of tokens say little with a single label."""
WEAK_PERCENTILE = 5
MIN_SCORE_WINDOWS = 20


@dataclass(frozen=True)
class FeatureTable:
    """Exact facts about `F` features, from the merged sampler state. `S` splits in the order of SPLITS."""

    status: npt.NDArray[np.str_]  # [F] values of FeatureStatus
    tau: FloatArray  # [F] raw activation; a window fires above it
    tau25: FloatArray  # [F] the bin edge at or below 25 % of the maximum
    tau_bin: IntArray  # [F]
    maximum: FloatArray  # [F] over all splits
    firing_tokens: IntArray  # [S, F] tokens above tau
    firing_windows: IntArray  # [S, F] windows above tau
    firing_windows25: IntArray  # [S, F] windows above tau25
    active_windows: IntArray  # [S, F] windows with any activation
    silent_windows: IntArray  # [S, F] windows with none


def describe_features(
    state: SamplerState, n_windows: IntArray, *, n_tokens: int, tau_share: float = TAU_SHARE
) -> FeatureTable:
    """Thresholds, counts and status of every feature.

    `n_windows` [S]: windows read in each split. tau is the largest bin edge at or below `tau_share` of the maximum,
    so that counts above it are exact although the maximum is known only at the end.
    """
    maximum = state.maximum().amax(0)
    tau, tau_bin = edge_at_or_below(maximum * tau_share)
    tau25, tau25_bin = edge_at_or_below(maximum * STRICT_TAU_SHARE)
    firing_tokens, firing_windows = state.tokens_above(tau_bin), state.windows_above(tau_bin)
    active = state.windows_above(torch.full_like(tau_bin, LOWEST_BIN))
    return FeatureTable(
        status=_status(maximum.numpy(), firing_tokens.sum(0) / n_tokens, firing_windows[SPLITS.index("score")]),
        tau=tau.numpy(),
        tau25=tau25.numpy(),
        tau_bin=tau_bin.numpy(),
        maximum=maximum.numpy(),
        firing_tokens=firing_tokens,
        firing_windows=firing_windows,
        firing_windows25=state.windows_above(tau25_bin),
        active_windows=active,
        silent_windows=n_windows[:, None] - active,
    )


def _status(maximum: FloatArray, firing_rate: npt.NDArray[np.float64], score_windows: IntArray) -> npt.NDArray[np.str_]:
    alive = maximum > 0
    weakest = np.percentile(maximum[alive], WEAK_PERCENTILE) if alive.any() else 0.0
    names: list[FeatureStatus] = ["dead", "dense", "weak"]
    weak = (maximum < weakest) | (score_windows < MIN_SCORE_WINDOWS)
    return np.select([~alive, firing_rate > DENSE_SHARE, weak], names, "ok").astype(np.str_)
