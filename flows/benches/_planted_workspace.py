"""Make a workspace of planted features with the ordinary pipeline, and gather what is known of every window in it.

Text is planted and written as activation tables, the stage `sample` reads them like any other; negatives, quantiles and
splits are its own. The panel is the whole `score` split here, so that the stratum of every window is on disk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from evals.planted.concepts import Concept, all_concepts, family_claim
from evals.planted.corpus import plant_sentences
from evals.planted.extents import BoolArray, PlantedText, in_windows, number_tokens
from evals.planted.features import PlantedFeature, feature_sets
from evals.planted.population import Knowledge, Meaning, Population
from evals.planted.predicates import Predicate
from evals.planted.shapes import Activations
from evals.planted.table import activate, write_table
from flows.progress import silent_progress
from flows.session import open_session
from flows.shards import run_serially
from flows.stages.choose_contexts import POOL_WINDOWS
from flows.stages.items import SampleFacts
from flows.stages.sample import Sample, sample_all
from flows.stages.split_windows import split_windows
from labeling import corpora, evidence
from labeling.config import Config, CorpusConfig, FeatureSetConfig
from labeling.config_files import demo_config
from labeling.errors import FeatlasError, UsageError
from labeling.registry import create
from labeling.sources._tokenizers import load_tokenizer, tokenize
from labeling.types import STRATA, Document, IntArray, Split, Windows
from labeling.workspace import Workspace

TOKENIZER = "embedded/minilm"
RANDOM = STRATA.index("random")


@dataclass(frozen=True)
class Size:
    """How much is planted in how much text, and how often a null is drawn from it."""

    characters: int
    planted: int
    """Sentences of each concept."""
    decoys: int
    """Near-misses of each concept."""
    families: tuple[str, ...] | None = None
    """None: all of them."""
    null_draws: int = 1_000
    """Shuffled labels in each third of the features by density, at least."""


SIZES: Mapping[str, Size] = {
    "small": Size(250_000, 120, 40, ("brackets", "negation", "places"), null_draws=300),
    "default": Size(1_200_000, 200, 50),
    "large": Size(3_000_000, 500, 125),
}


@dataclass(frozen=True, eq=False)
class Planted:
    """A sampled workspace, and the truth about it."""

    root: Path
    config: Config
    concepts: tuple[Concept, ...]
    features: Mapping[str, tuple[PlantedFeature, ...]]
    text: PlantedText
    activations: Mapping[str, Sequence[Activations]]
    samples: Mapping[str, Sample]
    facts: Mapping[str, SampleFacts]
    populations: Mapping[str, Population]
    knowledge: Knowledge
    """Of the windows of the split `score`."""

    @property
    def windows(self) -> Windows:
        """Of the split `score`."""
        return self.knowledge.windows


def plant(root: Path, size: Size, *, corpus: str | None = None, seed: int = 0) -> Planted:
    """Plant, sample, and gather. Raise UsageError when the text at `corpus` is too short."""
    concepts = tuple(c for c in all_concepts() if size.families is None or c.family in size.families)
    text = _tokenized(_read(corpus, size.characters), concepts, size, seed)
    features = feature_sets(concepts)
    activations = {name: activate(text, some, seed=seed) for name, some in features.items()}
    for name, some in features.items():
        write_table(root / "tables" / name, text, some, activations[name], seed=seed)
    place, config = root / "workspace", _config(root, list(features), seed)
    with open_session(place, config, command="bench", progress=silent_progress(), runner=run_serially) as session:
        samples = {sample.feature_set.name: sample for sample in sample_all(session)}
        facts = {
            name: SampleFacts.read(session.store, sample_id=sample.sample_id, corpus_id=sample.corpus.corpus_id)
            for name, sample in samples.items()
        }
    corpus_id = next(iter(facts.values())).corpus_id
    knowledge = learn(place, corpus_id, "score", text, features, concepts)
    if len(knowledge.windows) > POOL_WINDOWS:
        raise FeatlasError(
            f"The score split has {len(knowledge.windows):,} windows, but the strata of {POOL_WINDOWS:,} at most are known. "
            "Use a smaller size."
        )
    first, end = token_ranges(place, corpus_id, "score", text)
    populations = {
        name: _population(place, facts[name], knowledge.windows, activations[name], first, end) for name in features
    }
    return Planted(place, config, concepts, features, text, activations, samples, facts, populations, knowledge)


def learn(
    root: Path,
    corpus_id: str,
    split: Split,
    text: PlantedText,
    features: Mapping[str, Sequence[PlantedFeature]],
    concepts: Sequence[Concept],
) -> Knowledge:
    """What every label says about every window of a split."""
    first, end = token_ranges(root, corpus_id, split, text)
    return Knowledge(split_windows(root, corpus_id, split), _meanings(text, features, concepts, first, end))


def token_ranges(root: Path, corpus_id: str, split: Split, text: PlantedText) -> tuple[IntArray, IntArray]:
    """First token of each window of a split, and the one after its last, in the numbering of the text."""
    windows = split_windows(root, corpus_id, split)
    number = {document.document.document_id: i for i, document in enumerate(text.documents)}
    starts = (
        evidence.scan(Workspace(root), "windows", corpus_id)
        .filter(pl.col("split") == split)
        .select("window_id", "start")
        .sort("window_id")
        .collect()["start"]
        .to_numpy()
    )
    first = text.first[[number[document] for document in windows.document_id]] + starts
    return first, first + windows.n_tokens


def _read(corpus: str | None, characters: int) -> list[Document]:
    documents, size = list[Document](), 0
    source = create(corpora, "embedded" if corpus is None else "files", kind="corpus", path=corpus)
    for document in source.documents():
        documents.append(document)
        size += len(document.text)
        if size >= characters:
            return documents
    if corpus is not None and size < characters // 4:
        raise UsageError(
            f"The text at {corpus} has {size:,} characters; at least {characters // 4:,} are needed, so that sentences "
            "can be planted with text of yours between them. Give --corpus more text."
        )
    return documents


def _tokenized(documents: Sequence[Document], concepts: Sequence[Concept], size: Size, seed: int) -> PlantedText:
    generator = np.random.default_rng([seed, 1])
    planted = plant_sentences(documents, concepts, planted=size.planted, decoys=size.decoys, generator=generator)
    unique = {document.document_id: document for document in planted}
    tokenized = tokenize(load_tokenizer(TOKENIZER), list(unique.values()))
    return number_tokens([document for document in tokenized if document.token_ids])


def _config(root: Path, names: Sequence[str], seed: int) -> Config:
    overrides = {"sample.threads": 1, "sample.seed": seed, "sample.panel": POOL_WINDOWS}
    plain = demo_config(environment={}, overrides=overrides)
    sections = {name: getattr(plain, name) for name in ("sample", "label", "score", "llm", "cluster")}
    tables = tuple(FeatureSetConfig(name=name, source="table", path=str(root / "tables" / name)) for name in names)
    return Config(features=tables, corpus=CorpusConfig(max_tokens=10**9), **sections)


def _population(
    root: Path, facts: SampleFacts, windows: Windows, activations: Sequence[Activations], first: IntArray, end: IntArray
) -> Population:
    strongest = np.stack([_strongest_in(active, first, end) for active in activations])
    stratum = np.full(strongest.shape, RANDOM, np.int8)
    known = evidence.scan(Workspace(root), "panel_activity", facts.sample_id).collect()
    codes = known["stratum"].replace_strict(list(STRATA), range(len(STRATA)), return_dtype=pl.Int8).to_numpy()
    stratum[known["feature"].to_numpy(), windows.rows_of(known["window_id"].to_numpy())] = codes
    return Population(windows, strongest, stratum, facts.features.sort("feature")["tau"].to_numpy().astype(np.float32))


def _strongest_in(active: Activations, first: IntArray, end: IntArray) -> np.ndarray:
    """Largest activation in each window."""
    strongest = np.zeros(len(first), np.float32)
    place = np.searchsorted(first, active.token, side="right") - 1
    inside = (place >= 0) & (active.token < end[np.maximum(place, 0)])
    np.maximum.at(strongest, place[inside], active.value[inside])
    return strongest


def _meanings(
    text: PlantedText,
    features: Mapping[str, Sequence[PlantedFeature]],
    concepts: Sequence[Concept],
    first: IntArray,
    end: IntArray,
) -> dict[str, Meaning]:
    """What every label says about every window. An unrelated label is the true one of another feature."""

    def covered(holds: Predicate) -> BoolArray:
        return in_windows(text.occurrences(holds), n_tokens=text.n_tokens, first=first, end=end)

    families = {c.family: [o for o in concepts if o.family == c.family] for c in concepts}
    related = {family: covered(family_claim(members)) for family, members in families.items()}
    meanings: dict[str, Meaning] = {}
    for feature in (feature for some in features.values() for feature in some):
        for kind, claims in feature.labels.items():
            for claim in claims if kind != "unrelated" else ():
                if claim.text not in meanings and claim.holds is not None:
                    own = covered(claim.holds)
                    meanings[claim.text] = Meaning(own, related[feature.concept.family] & ~own)
    for feature in (feature for some in features.values() for feature in some):
        true, broad = feature.labels["true"][0], feature.labels.get("broad", ())
        for claim in feature.labels.get("hedged", ()):
            known = meanings[true.text]
            meanings.setdefault(claim.text, Meaning(known.covered, known.related, hedged=True))
        for claim in feature.labels.get("truncated", ()):
            meanings.setdefault(claim.text, meanings[(broad[0] if broad else true).text])
    return meanings
