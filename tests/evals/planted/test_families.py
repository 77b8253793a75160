"""Each family of concepts: two strings where one of its concepts holds, two near-misses where it does not."""

from __future__ import annotations

import numpy as np
import pytest

from evals.planted import families
from evals.planted.concepts import Concept, all_concepts, labels_of
from labeling.registry import names

CONCEPTS = {(concept.family, concept.name): concept for concept in all_concepts()}
EXAMPLES = [
    ("places", "European capitals", ("We flew to Rome.", "Oslo is cold."), ("Mr Paris called.", "We flew to Cairo.")),
    ("people", "kinship", ("My mother sang.", "an uncle of hers"), ("the sister company", "the motherboard")),
    (
        "morphology",
        "past tense",
        ("She looked up.", "They walked on."),
        ('he wrote "looked"', "The red bed is looking good."),
    ),
    ("morphology", "-ly", ("He spoke gently.", "It shone brightly."), ("a gentle voice", 'the word "softly"')),
    (
        "numbers",
        "years 1800-1999",
        ("born in 1848", "Since 1999 it rains."),
        ("They packed 1850 boxes.", "born in 2004"),
    ),
    ("numbers", "clock times", ("Come at 7:15 today.", "before 20:30"), ("We won 20:30 then.", "at 7.15")),
    ("amounts", "dollars", ("It cost $20 then.", "We paid $7 each."), ("a budget of $20", "It cost €20.")),
    ("amounts", "degrees", ("It fell to 3 °C at night.", "rose by 12 °C"), ("a mark of 3 °C", "It fell to 3%.")),
    ("negation", "not stop", ("You must not stop.", "They never halt here."), ("You stop.", "do not start")),
    ("voice", "passive", ("The boat was painted.", "They were made here."), ("The painted boat.", "He was painting.")),
    (
        "sentence_places",
        "days first",
        ("Sunday is free.", "We left. Monday came."),
        ("On Sunday we left.", "We left on Monday."),
    ),
    (
        "brackets",
        "colors in brackets",
        ("it (the green one) fell", "a box (green)"),
        ("a green box", '"the green one"'),
    ),
    ("next_word", "before an", ("such an idea", "It is an egg."), ("such a thing", "an")),
    (
        "code",
        "SQL",
        ("SELECT * FROM users;", "x\nDROP TABLE users;"),
        ("Please select one of them;", "select * from users"),
    ),
    ("mail", "subject", ("Subject: lunch", "x\nSubject: Re: lunch"), ("The subject: lunch", "On the Subject: lunch")),
    (
        "languages",
        "French",
        ("Elle est dans le jardin.", "Nous allons avec les enfants."),
        ("He ate le pain.", "Ella está con los niños para una cosa."),
    ),
    (
        "events",
        "debts",
        ("He settled the last loan.", "the debt that they repaid"),
        ("A loan is a thing.", "He settled down."),
    ),
]


@pytest.mark.parametrize(
    ("family", "name", "holds", "does_not"), EXAMPLES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_concept_holds_where_it_should_and_in_no_near_miss(
    family: str, name: str, holds: tuple[str, str], does_not: tuple[str, str]
) -> None:
    concept = CONCEPTS[family, name]
    assert [bool(concept.holds(text)) for text in (*holds, *does_not)] == [True, True, False, False]


def test_every_family_has_an_example_and_at_least_six_concepts() -> None:
    assert {example[0] for example in EXAMPLES} == set(names(families))
    assert len(names(families)) == 14
    counts = {family: sum(concept.family == family for concept in all_concepts()) for family in names(families)}
    assert min(counts.values()) >= 6


def test_spans_are_where_the_concept_is_not_its_whole_sentence() -> None:
    text = "It is said that such an idea is old."
    assert [text[a:b] for a, b in CONCEPTS["next_word", "before an"].holds(text)] == ["such"]
    assert [text[a:b] for a, b in CONCEPTS["next_word", "before an"].context_dropped.holds(text)] == ["such"]  # type: ignore[misc]


@pytest.mark.parametrize("concept", all_concepts(), ids=lambda concept: f"{concept.family}: {concept.name}")
def test_planted_sentences_hold_the_concept_and_decoys_do_not(concept: Concept) -> None:
    rng = np.random.default_rng(0)
    planted = [concept.planted.write(rng) for _ in range(60)]
    decoys = [concept.decoys.write(rng) for _ in range(60)]
    claims = {"broad": concept.broad, "narrow": concept.narrow, "dropped": concept.context_dropped}
    share = {
        name: np.mean([bool(claim.holds(text)) for text in planted]) for name, claim in claims.items() if claim.holds
    }
    assert all(concept.holds(text) for text in planted), "a planted sentence without its concept"
    assert not any(concept.holds(text) for text in decoys), "a decoy that holds the concept"
    assert concept.context_dropped.holds is not None
    assert all(concept.context_dropped.holds(text) for text in decoys), "a decoy that is none"
    assert share["broad"] == share["dropped"] == 1.0
    assert 0.02 < share["narrow"] < 0.8


@pytest.mark.parametrize("concept", all_concepts(), ids=lambda concept: f"{concept.family}: {concept.name}")
def test_the_narrow_claim_holds_only_where_the_concept_does_and_the_sibling_elsewhere(concept: Concept) -> None:
    rng = np.random.default_rng(1)
    texts = [frames.write(rng) for frames in (concept.planted, concept.decoys) for _ in range(60)]
    assert concept.sibling is not None
    assert concept.narrow.holds is not None
    assert concept.sibling.holds is not None
    assert [t for t in texts if concept.narrow.holds(t) and not concept.holds(t)] == []
    assert sum(bool(concept.sibling.holds(text)) for text in texts[:60]) <= 3


def test_lures_hold_the_trap_and_nothing_else_of_the_concept() -> None:
    lured = [concept for concept in all_concepts() if concept.lures is not None]
    assert {concept.family for concept in lured} == {"amounts", "morphology"}
    for concept in lured:
        assert concept.lures is not None
        texts = [concept.lures.write(np.random.default_rng(seed)) for seed in range(20)]
        assert concept.trap.holds is not None
        assert concept.context_dropped.holds is not None
        assert all(concept.trap.holds(text) for text in texts)
        assert not any(concept.holds(text) or concept.context_dropped.holds(text) for text in texts)


def test_labels_that_mean_different_things_have_different_texts() -> None:
    concepts = all_concepts()
    texts: dict[str, str] = {}
    for concept in concepts:
        for wording in concept.wordings:
            assert texts.setdefault(wording, concept.name) == concept.name, wording
    own = {wording for concept in concepts for wording in concept.wordings}
    for concept in concepts:
        others = {concept.narrow.text, concept.broad.text, concept.trap.text, concept.context_dropped.text}
        assert len(others) == 4
        assert not others & own


def test_a_feature_has_a_label_of_every_kind_and_three_true_ones() -> None:
    one, other = all_concepts()[0], all_concepts()[40]
    labels = labels_of(one, other)
    assert len(set(labels["true"])) == 3
    assert len({claim.text for claim in labels["true"]}) == 3
    assert labels["unrelated"][0].text == other.wordings[0]
    assert [kind for kind, claims in labels.items() if claims and claims[0].holds is None] == ["hedged", "truncated"]
    assert labels["truncated"][0].text == " ".join(one.wordings[0].split()[: len(one.wordings[0].split()) // 2])
