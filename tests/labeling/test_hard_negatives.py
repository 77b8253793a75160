"""Likeness of windows: the weights are scikit-learn's, the cosine is exact, and no feature changes another's."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import TfidfTransformer

from labeling.hard_negatives import inverse_frequency, similarity, token_counts, weigh_terms
from labeling.window_tokens import windows_holding

VOCABULARY = 80


def tokens(n: int = 300, width: int = 12) -> np.ndarray:
    draw = np.random.default_rng(0)
    drawn = draw.zipf(1.3, (n, width)).clip(max=VOCABULARY) - 1
    return np.where(np.arange(width) < draw.integers(width // 2, width + 1, n)[:, None], drawn, -1).astype(np.int32)


def weighed(windows: np.ndarray) -> sparse.csr_matrix:
    weight = inverse_frequency(windows_holding(tokens(), VOCABULARY), len(tokens()))
    return weigh_terms(token_counts(windows, VOCABULARY), weight)


def test_tokens_are_counted_by_window() -> None:
    counts = token_counts(np.array([[2, 0, 2], [-1, -1, -1], [1, -1, -1]], np.int32), 4)
    assert counts.toarray().tolist() == [[1, 0, 2, 0], [0, 0, 0, 0], [0, 1, 0, 0]]


def test_weights_are_those_of_scikit_learn_without_the_commonest_tokens() -> None:
    counts = token_counts(tokens(), VOCABULARY)
    rare = counts[:, np.asarray((counts > 0).mean(0)).ravel() <= 0.2]
    assert 0 < rare.shape[1] < VOCABULARY
    expected = TfidfTransformer(sublinear_tf=True).fit_transform(rare)
    found = weighed(tokens())
    kept = np.asarray((counts > 0).mean(0)).ravel() <= 0.2
    assert (found[:, kept].toarray() == expected.toarray()).all()
    assert not found[:, ~kept].nnz


def test_a_window_of_common_tokens_alone_has_no_terms() -> None:
    assert weighed(np.zeros((1, 3), np.int32)).nnz == 0


def test_likeness_is_the_mean_cosine_to_the_firing_windows() -> None:
    terms = weighed(tokens())
    firing = np.random.default_rng(3).random((4, 300)) < 0.1
    firing[2] = False
    found = similarity(terms[:50].astype(np.float64), sparse.csr_matrix(firing.astype(np.float32)), terms)
    dense = terms.toarray().astype(np.float64)
    means = np.stack([dense[mask].mean(0) if mask.any() else np.zeros(VOCABULARY) for mask in firing])
    np.testing.assert_allclose(found, means @ dense[:50].T, rtol=1e-6)


def test_likeness_does_not_depend_on_the_features_asked_for_with_it() -> None:
    terms = weighed(tokens())
    pool = terms[:200].astype(np.float64)
    firing = sparse.csr_matrix((np.random.default_rng(4).random((37, 300)) < 0.1).astype(np.float32))
    together = similarity(pool, firing, terms)
    for first, end in ((0, 1), (1, 20), (20, 37)):
        assert (similarity(pool, firing[first:end], terms) == together[first:end]).all()
