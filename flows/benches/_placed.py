"""Judgments of language models as a workspace stores them, with place, company and truth: features' own labels only."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from evals.order_effects import Judgments
from labeling import snapshot
from labeling.errors import FeatlasError
from labeling.workspace import Workspace

PLACED = """
SELECT j.judge_model, j.request_key, any_value(j.feature) AS feature, any_value(j.sample_id) AS sample_id, j.place,
       any_value(100 * j.grade) AS grade, any_value(c.max_activation > f.tau) AS fires
FROM judgments AS j
JOIN contexts AS c USING (sample_id, feature, split, window_id)
JOIN features AS f USING (sample_id, feature)
WHERE j.control IS NULL AND j.place IS NOT NULL AND j.trial IS NULL
GROUP BY j.judge_model, j.request_key, j.place
ORDER BY ALL
"""


def judgments_of_judges(root: Path) -> dict[str, Judgments]:
    """Judgments by judge. Raise FeatlasError when no judgment says at which place it stood."""
    frame = snapshot.query(Workspace(root), PLACED)
    if frame.is_empty():
        raise FeatlasError(
            f"The workspace {root} has no judgment of a language model that says at which place of its request the window "
            "stood; judgments of earlier versions don't. Score with the scorer 'detection' first, or leave --workspace out "
            "to measure the scripted judge."
        )
    feature = frame.select("sample_id", "feature").hash_rows().to_numpy().astype(np.int64)
    request = np.unique(frame["request_key"].to_numpy(), return_inverse=True)[1]
    place, grade = frame["place"].to_numpy().astype(np.int64), frame["grade"].cast(float).fill_null(np.nan).to_numpy()
    fires = frame["fires"].to_numpy()
    judges = frame["judge_model"].to_numpy()
    return {
        str(judge): Judgments(*(column[judges == judge] for column in (feature, request, place, fires, grade)))
        for judge in np.unique(judges)
    }
