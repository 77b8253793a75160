"""Labels of the two sides of a comparison."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from dashboards.queries import Reader


def label_texts(
    reader: Reader, sample_id: str, features: Sequence[int], explainer: str, model: str, prompt: str, parameters: str
) -> pl.DataFrame:
    """What one way of labeling wrote of some features: the newest text of each. Empty text stands for NULL."""
    return reader.query(
        """
        SELECT feature, text FROM explanations
        WHERE sample_id = $1 AND list_contains($2, feature) AND repeat = 0 AND coalesce(explainer, '') = $3
          AND coalesce(explainer_model, '') = $4 AND coalesce(prompt_version, '') = $5 AND coalesce(parameters, '') = $6
        QUALIFY row_number() OVER (PARTITION BY feature ORDER BY created_at DESC, explanation_id) = 1
        """,
        [sample_id, list(features), explainer, model, prompt, parameters],
    )
