"""Planted features as an activation table: what is written is what the source `table` reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from safetensors.numpy import load_file

from evals.planted.concepts import all_concepts
from evals.planted.features import feature_sets
from evals.planted.table import activate, directions, write_table
from tests.evals.planted.texts import planted_text

TEXT = planted_text("We flew to Rome in June .", "Mr Paris saw Paris and Cairo .")
CONCEPTS = [concept for concept in all_concepts() if concept.family in ("people", "places")]
FEATURES = feature_sets(CONCEPTS)["binary"]
EUROPE = next(i for i, feature in enumerate(FEATURES) if feature.concept.name == "European capitals")


def test_a_feature_is_active_on_the_tokens_of_its_concept_and_on_no_decoy() -> None:
    active = activate(TEXT, FEATURES, seed=0)[EUROPE]
    assert active.token.tolist() == [3, 10]


def test_the_table_holds_documents_tokens_activations_names_and_directions(tmp_path: Path) -> None:
    folder = tmp_path / "table"
    write_table(folder, TEXT, FEATURES, activate(TEXT, FEATURES, seed=0), seed=0)
    active = pl.read_parquet(folder / "activations.parquet").filter(pl.col("feature") == EUROPE)
    assert active.select("position", "activation").rows() == [(3, 1.0), (3, 1.0)]
    assert active["document_id"].to_list() == [d.document.document_id for d in TEXT.documents]
    tokens = pl.read_parquet(folder / "tokens.parquet")
    assert tokens["token"].to_list()[7:10] == ["Mr", "Paris", "saw"]
    assert tokens["start"].to_list()[7:10] == [0, 3, 9]
    assert pl.read_parquet(folder / "features.parquet")["name"][EUROPE] == "places: European capitals, binary"
    assert load_file(folder / "directions.safetensors")["directions"].shape == (len(FEATURES), 64)


def test_features_in_similar_company_point_the_same_way() -> None:
    text = planted_text("a night in Rome now", "b day by Cairo then", "a night in Tokyo now", *(["x y z"] * 30))
    active = activate(text, FEATURES, seed=0)
    names = [feature.concept.name for feature in FEATURES]
    found = directions(text, active, seed=0)
    rome, cairo, tokyo = (found[names.index(f"{where} capitals")] for where in ("European", "African", "Asian"))

    def cosine(one: np.ndarray, other: np.ndarray) -> float:
        return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))

    assert cosine(rome, tokyo) > cosine(rome, cairo) + 0.2
