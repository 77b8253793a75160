"""All activations of a sample as an activation table, for users and other programs: it can be read back as a source.

Made from the codes on disk, a shard of documents at a time, in the order of the documents, and from the documents themselves,
which are read and cut into tokens once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
from safetensors.numpy import load_file

from flows.session import Session
from flows.stages.prepare_corpus import PreparedCorpus, read_documents
from flows.stages.sampler_files import codes_file, load_directions
from labeling import evidence
from labeling.activation_table import ACTIVATIONS, DOCUMENTS, FEATURES, TOKENS, TableCard, TableWriter
from labeling.sources import FeatureSetInfo, FeatureSource, NamesFeatures
from labeling.types import TokenizedDocument
from labeling.workspace import Workspace

DOCUMENTS_AT_ONCE = 256


def cache_activations(
    session: Session, source: FeatureSource, info: FeatureSetInfo, *, sample_id: str, corpus: PreparedCorpus
) -> None:
    """Write the table to the workspace's folder of activations, unless it is there; say where.

    Raise FeatlasError when the disk does not take a file; nothing half-written is left then.
    """
    workspace = session.workspace
    folder = workspace.activations / sample_id
    if not folder.exists():
        card = TableCard(
            extent=info.extent,
            model=info.model,
            hook=info.hook,
            dictionary=info.dictionary,
            made_from=f"featlas sample {sample_id}",
        )
        with TableWriter(folder, card) as writer:
            _write_texts(writer, read_documents(session, source, n=corpus.n_documents))
            for frame in _activations(workspace, sample_id, corpus):
                writer.write(ACTIVATIONS, frame)
            writer.write(FEATURES, _features(source, info.n_features))
            directions = load_directions(workspace, sample_id)
            if directions is not None:
                writer.write_directions(directions)
    session.progress.say(f"activations of {info.name}: {_shown(folder)}, an activation table")


def _write_texts(writer: TableWriter, documents: Iterable[TokenizedDocument]) -> None:
    for group in _groups(documents):
        ids = [document.document.document_id for document in group]
        sizes = [len(document.tokens) for document in group]
        writer.write(DOCUMENTS, pl.DataFrame({"document_id": ids, "text": [one.document.text for one in group]}))
        writer.write(
            TOKENS,
            pl.DataFrame(
                {
                    "document_id": np.repeat(ids, sizes),
                    "position": np.concatenate([np.arange(size) for size in sizes]),
                    "token": [token for document in group for token in document.tokens],
                    "start": [start for document in group for start in document.starts],
                }
            ),
        )


def _groups(documents: Iterable[TokenizedDocument]) -> Iterator[list[TokenizedDocument]]:
    group: list[TokenizedDocument] = []
    for document in documents:
        group.append(document)
        if len(group) == DOCUMENTS_AT_ONCE:
            yield group
            group = []
    if group:
        yield group


def _activations(workspace: Workspace, sample_id: str, corpus: PreparedCorpus) -> Iterator[pl.DataFrame]:
    """Rows of one shard after the other, by document, position and feature."""
    for shard in range(corpus.n_shards):
        file = evidence.shard_file(workspace, "windows", corpus.corpus_id, shard)
        windows = pl.read_parquet(file, columns=["window_id", "document_id", "start"], glob=False)
        codes = load_file(codes_file(workspace, sample_id, shard))
        row = codes["window"].astype(np.int64) - int(windows["window_id"][0])
        feature = np.repeat(np.arange(len(codes["offsets"]) - 1), np.diff(codes["offsets"]))
        order = np.argsort((row << 16) | codes["position"], kind="stable")  # by feature already
        row, position = row[order], codes["position"][order].astype(np.int64)
        yield pl.DataFrame(
            {
                "feature": feature[order],
                "document_id": windows["document_id"].gather(row),
                "position": windows["start"].to_numpy()[row] + position,
                "activation": codes["value"][order],
            }
        )


def _features(source: FeatureSource, n_features: int) -> pl.DataFrame:
    """All features there are, with the names that are known: others would end at the last one that was active."""
    features = pl.DataFrame({"feature": np.arange(n_features)})
    if not isinstance(source, NamesFeatures):
        return features.with_columns(pl.lit(None, pl.String).alias("name"))
    return features.join(source.feature_names(), on="feature", how="left", maintain_order="left")


def _shown(folder: Path) -> str:
    """Relative to where the user is, when it is below."""
    here = Path.cwd()
    return str(folder.relative_to(here) if folder.is_relative_to(here) else folder)
