from __future__ import annotations

import numpy as np

from evals.planted.baselines import holding, token_table

#                 0  1  2  3  4  5  6  7  8  9
TOKEN = np.array([5, 1, 5, 2, 5, 2, 3, 3, 5, 4])


def test_the_table_holds_tokens_that_fire_often_enough_where_one_may_look() -> None:
    seen = np.ones(10, bool)
    # token 5 fires on 2 of 4, token 2 on 1 of 2 (too seldom), token 3 on 2 of 2
    assert token_table(TOKEN, np.array([0, 2, 3, 6, 7]), seen=seen).tolist() == [3, 5]
    seen[6:] = False
    assert token_table(TOKEN, np.array([0, 2, 3, 6, 7]), seen=seen).tolist() == [5]


def test_windows_hold_a_table_when_one_of_its_tokens_stands_in_them() -> None:
    held = holding(np.array([3, 4]), TOKEN, first=np.array([0, 5, 9]), end=np.array([5, 9, 10]))
    assert held.tolist() == [False, True, True]
