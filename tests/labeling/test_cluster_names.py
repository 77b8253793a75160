"""Cluster names: words that set the labels apart, or none with a reason."""

import numpy as np

from labeling.cluster_names import name_clusters


def named(*clusters: list[str]) -> list[tuple[str | None, str]]:
    """Names of clusters whose members have these labels."""
    cluster = np.repeat(np.arange(len(clusters)), [len(labels) for labels in clusters])
    labels = dict(enumerate(label for group in clusters for label in group))
    return [(name.text, name.source) for name in name_clusters(cluster, labels)]


IMPORTS = ["the word import", "the word module", "the word import", "the word package"]
COLORS = ["the word red", "the word blue", "the word red", "the word green"]


def test_names_are_the_most_frequent_words_that_the_others_lack() -> None:
    assert named(IMPORTS, COLORS) == [
        ("import / module / package", "distinctive_words"),
        ("red / blue / green", "distinctive_words"),
    ]


def test_words_of_all_labels_name_nothing() -> None:
    assert named(["the word"] * 4, ["the word"] * 5) == [(None, "nothing_distinctive")] * 2


def test_one_cluster_alone_has_nothing_to_be_distinct_from() -> None:
    assert named(IMPORTS) == [(None, "nothing_distinctive")]


def test_too_few_labels_give_no_name() -> None:
    assert named(IMPORTS, COLORS[:2])[1] == (None, "too_few_labels")


def test_no_labels_give_no_names() -> None:
    names = name_clusters(np.array([0, 0, 1, -1]), {})
    assert [name.source for name in names] == ["too_few_labels", "too_few_labels"]


def test_a_word_of_one_member_does_not_name_a_large_cluster() -> None:
    assert named(["import"] * 29 + ["zebra"], COLORS * 20)[0] == ("import", "distinctive_words")


def test_plural_forms_are_not_said_twice() -> None:
    assert named(["module", "modules", "import"], COLORS)[0][0] == "import / module"


def test_signs_name_a_cluster_only_where_words_do_not() -> None:
    signs, mixed = ['the word "("', 'the word ")"', 'the word "("'], ['the word "["', 'the word "["', "the word list"]
    assert [text for text, _ in named(signs, mixed, COLORS)][:2] == ["( / )", "list / ["]


def test_labels_of_features_without_a_cluster_are_left_out() -> None:
    cluster = np.array([0, 0, 0, 1, 1, 1, -1, -1, -1])
    labels = dict(enumerate(["red"] * 3 + ["blue"] * 3 + ["red"] * 3))
    assert [name.text for name in name_clusters(cluster, labels)] == ["red", "blue"]


def test_names_do_not_depend_on_the_order_of_labels() -> None:
    cluster, texts = np.repeat([0, 1], 4), dict(enumerate(IMPORTS + COLORS))
    assert name_clusters(cluster, texts) == name_clusters(cluster, dict(reversed(texts.items())))
