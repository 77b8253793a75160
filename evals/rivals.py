"""Which labels of other features a label is set against: those of the nearest features that say something else."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from labeling.types import IntArray


def same_text(text: str) -> str:
    """What two labels have in common that are the same to a reader: case, white space and a last full stop don't count."""
    return " ".join(text.casefold().split()).rstrip(".")


def choose_rivals(
    feature: int,
    text: str | None,
    *,
    texts: Mapping[int, str],
    neighbors: IntArray,
    wanted: int,
    generator: np.random.Generator,
) -> list[str]:
    """At most `wanted` labels that differ from `text` and from each other.

    `texts` holds the labels of features; those of `neighbors` (nearest first, -1 for none) come first, then, where too
    few of them have one, those of other features at random. The label of the feature itself is never a rival.
    """
    others = sorted(set(texts) - {feature} - {int(neighbor) for neighbor in neighbors})
    order = [int(neighbor) for neighbor in neighbors if neighbor >= 0] + [
        others[place] for place in generator.permutation(len(others))[: 4 * wanted]
    ]
    seen = {same_text(text)} if text is not None else set()
    seen |= {same_text(texts[feature])} if feature in texts else set()
    rivals: list[str] = []
    for other in order:
        if other == feature or other not in texts or same_text(texts[other]) in seen or len(rivals) == wanted:
            continue
        seen.add(same_text(texts[other]))
        rivals.append(texts[other])
    return rivals
