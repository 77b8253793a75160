"""The export `neuronpedia`: explanations in the files that an instance of Neuronpedia imports.

`explanations/batch-N.jsonl.gz` has a row of its table Explanation a line, `scores/batch-N.jsonl.gz` one of ExplanationScore,
and `config/` the methods, models and scores that these name, which must be there first. Column names are Neuronpedia's. The
score with its interval also stands in `notes`, beside the label. Ids are hashes: importing twice adds nothing twice.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from dashboards.export_queries import Choice
from dashboards.exporters._card import code
from dashboards.exporters._labels import LabelFolder
from dashboards.exporters._places import mark
from dashboards.queries import open_reader
from labeling.identity import identify
from labeling.selection import Selection
from labeling.types import JSON
from labeling.workspace import Workspace

ABOUT = "labels with scores, in the files that an instance of Neuronpedia imports"
LINES = 1024
"""Lines of a batch, as many as in Neuronpedia's own exports."""
CREATOR = "Featlas"
OFFLINE = "featlas-offline"
"""Model of a scorer that asks none; Neuronpedia wants a name."""
Row = Mapping[str, Any]
Line = dict[str, JSON]


class NeuronpediaExporter:
    endings: tuple[str, ...] = ()

    def __init__(self, choice: Choice, *, model_id: str | None, source_id: str | None, author_id: str | None) -> None:
        self._choice = choice
        self._model_id, self._source_id, self._author_id = model_id, source_id, author_id or "featlas"

    def write(self, workspace: Workspace, place: Path) -> str:
        place.mkdir()
        kinds = Kinds(self._author_id)
        with open_reader(workspace) as reader, ExitStack() as files:
            folder = LabelFolder(reader, self._choice, place)
            model_id = self._model_id or _last_part(folder.sample["model"] or "unknown")
            source_id = self._source_id or folder.sample["feature_set"]
            place_of = {"modelId": model_id, "layer": source_id}
            explanations = files.enter_context(Batches(place / "explanations"))
            scores = files.enter_context(Batches(place / "scores"))
            for row in folder.labels():
                identity = explanation_id(folder.sample["sample_id"], row)
                explanations.add({"id": identity, **place_of, **explanation(row), "authorId": self._author_id})
                if row["score"] is not None:
                    scores.add(
                        {"explanationId": identity, "initiatedByUserId": self._author_id, **score(identity, row)}
                    )
                kinds.add(row)
            folder.write_readme(
                "Explanations for Neuronpedia", f"Their model is {code(model_id)}, their source {code(source_id)}."
            )
        kinds.write(place / "config")
        mark(place, "neuronpedia")
        return folder.counts.said()


def explanation_id(sample_id: str, row: Row) -> str:
    """The same label of the same feature always gets the same id."""
    made_from = {name: row[name] for name in ("feature", "label", "explainer", "explainer_model")}
    return f"featlas_{identify('neuronpedia explanation', sample_id=sample_id, **made_from)}"


def explanation(row: Row) -> Line:
    """What a row of Neuronpedia's table Explanation says of the label itself."""
    return {
        "index": str(row["feature"]),
        "description": row["label"],
        "typeName": method_name(row),
        "explanationModelName": model_name(row["explainer_model"]),
        "notes": worth(row),
    }


def worth(row: Row) -> str:
    """How good the label is, in words."""
    if row["score"] is None:
        return "Not scored."
    judge = row["scorer"] if row["judge_model"] is None else f"{row['scorer']} with {row['judge_model']}"
    end = "" if row["score_low"] is None else f", 95 % interval {row['score_low']:.3f} to {row['score_high']:.3f}"
    against = "" if row["q"] is None else f"; q against wrong labels {row['q']:.2g}"
    return f"{row['metric']} {row['score']:.3f}{end}, judged by {judge}{against}."


def score(identity: str, row: Row) -> Line:
    """A row of Neuronpedia's table ExplanationScore, less who asked for it."""
    details = {name: row[name] for name in ("score_low", "score_high", "q", "metric", "scorer", "judge_model")}
    return {
        "id": f"featlas_{identify('neuronpedia score', explanation=identity, score=row['score'], **details)}",
        "value": row["score"],
        "explanationScoreTypeName": score_name(row),
        "explanationScoreModelName": model_name(row["judge_model"]) or OFFLINE,
        "jsonDetails": json.dumps(details),
    }


def method_name(row: Row) -> str:
    return f"featlas_{row['explainer']}"


def score_name(row: Row) -> str:
    return f"featlas_{row['scorer']}_{row['metric']}"


def model_name(model: str | None) -> str | None:
    """A language model without its provider, as Neuronpedia names it."""
    return None if model is None else _last_part(model)


class Kinds:
    """The methods, models and scores that rows name."""

    def __init__(self, author_id: str) -> None:
        self._author_id = author_id
        self._seen: dict[str, dict[str, Line]] = {
            kind: {}
            for kind in (
                "explanation_type",
                "explanation_model_type",
                "explanation_score_type",
                "explanation_score_model",
            )
        }

    def add(self, row: Row) -> None:
        self._note(
            "explanation_type", method_name(row), f"Featlas explainer {row['explainer']}", creatorId=self._author_id
        )
        if row["explainer_model"] is not None:
            self._note("explanation_model_type", _last_part(row["explainer_model"]), row["explainer_model"])
        if row["score"] is not None:
            described = f"Featlas scorer {row['scorer']}, {row['metric']}"
            self._note("explanation_score_type", score_name(row), described, creatorId=self._author_id)
            self._note(
                "explanation_score_model", model_name(row["judge_model"]) or OFFLINE, row["judge_model"] or "no model"
            )

    def _note(self, kind: str, name: str, description: str, **more: str) -> None:
        line: Line = {
            "name": name,
            "displayName": name,
            "description": description,
            "creatorName": CREATOR,
            "featured": False,
        }
        self._seen[kind].setdefault(name, line | dict(more))

    def write(self, folder: Path) -> None:
        folder.mkdir()
        for kind, lines in self._seen.items():
            text = "".join(f"{json.dumps(line)}\n" for line in lines.values())
            (folder / f"{kind}.jsonl").write_text(text, encoding="ascii")


class Batches:
    """Writes JSON lines to `batch-0.jsonl.gz`, `batch-1.jsonl.gz`, ..."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder, self._lines = folder, 0
        self._stream: gzip.GzipFile | None = None

    def __enter__(self) -> Batches:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            self._stream.close()

    def add(self, line: Mapping[str, JSON]) -> None:
        if self._lines % LINES == 0:
            self.__exit__(None, None, None)
            file = self._folder / f"batch-{self._lines // LINES}.jsonl.gz"
            self._stream = gzip.GzipFile(file, "wb", compresslevel=6, mtime=0)
        assert self._stream is not None
        self._stream.write(f"{json.dumps(line)}\n".encode("ascii"))
        self._lines += 1


def _last_part(name: str) -> str:
    return name.rpartition("/")[2]


def create(
    *,
    feature_set: str | None,
    explainer: str | None,
    model: str | None,
    features: Selection,
    model_id: str | None,
    source_id: str | None,
    author_id: str | None,
) -> NeuronpediaExporter:
    """Export the labels chosen, under Neuronpedia's ids of model, source (its name of a dictionary) and author."""
    choice = Choice(feature_set, explainer, model, features)
    return NeuronpediaExporter(choice, model_id=model_id, source_id=source_id, author_id=author_id)
