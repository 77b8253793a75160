"""Four windows and a few labels whose meaning is written down, for tests of judges and of what they answer."""

from __future__ import annotations

import numpy as np

from evals.planted.population import Knowledge, Meaning
from labeling.types import Windows
from tests.builders import windows_of

WINDOWS = windows_of(["Paris", "is", "old"], ["Cairo", "is", "hot"], ["nothing", "here"], ["Paris", "again"])
CAPITALS = "European capitals"


def known(windows: Windows = WINDOWS, *, copies: int = 1) -> Knowledge:
    """Label CAPITALS holds in windows 0 and 3; window 1 is related to it."""
    covered = np.tile(np.array([True, False, False, True]), copies)
    related = np.tile(np.array([False, True, False, False]), copies)
    none = np.zeros(len(covered), bool)
    meanings = {
        CAPITALS: Meaning(covered, related),
        "any text": Meaning(~none, none),
        "perhaps European capitals": Meaning(covered, related, hedged=True),
    }
    return Knowledge(windows, meanings)


def many(copies: int) -> Windows:
    """The four windows many times over, each with a number of its own."""
    words = [["Paris", "is"], ["Cairo", "is"], ["nothing", "is"], ["Paris", "was"]]
    return windows_of(*([*words[i % 4], str(i)] for i in range(4 * copies)))
