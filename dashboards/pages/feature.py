"""One feature: its contexts, labels, scores, neighbors and where everything comes from; also to embed elsewhere."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import RedirectResponse
from starlette.exceptions import HTTPException

from dashboards import feature_queries, map_queries
from dashboards.bands import Band, bands, shown_windows
from dashboards.links import link
from dashboards.pages._page import Chosen, ReaderOfRequest, SetName, check_known, choose, connections, render
from dashboards.queries import Reader
from dashboards.small_figures import histogram
from dashboards.wording import metric_order
from labeling.types import QUANTILES, STRATA

router = APIRouter()
Number = Annotated[int, Path(ge=0, le=2**31 - 1)]
SplitName = Literal["explain", "select", "score"]
Width = Literal["window", "wide"]
SECTIONS = ("contexts", "histogram", "tokens", "logits", "explanations", "scores", "neighbors", "tags", "origin")
FIRING = ("top", *reversed(QUANTILES), "grey")
"""Strata in which the feature is active, the strongest first."""


@router.get("/jump")
def jump(request: Request, reader: ReaderOfRequest, feature: str = "", name: SetName = None) -> Response:
    """Go to the feature with a number; anything else is searched for in the labels."""
    chosen = choose(request, reader, name)
    where = chosen.name if chosen else None
    if feature.strip().isdecimal() and len(feature.strip()) < 10:
        return RedirectResponse(link(f"/feature/{int(feature)}", set=where), 303)
    return RedirectResponse(link("/features", set=where, q=feature.strip()), 303)


@router.get("/random")
def random(request: Request, reader: ReaderOfRequest, name: SetName = None) -> Response:
    """Go to any feature."""
    chosen = choose(request, reader, name)
    if chosen is None:
        return render(request, "feature.html.j2", chosen=None)
    return RedirectResponse(
        link(f"/feature/{secrets.randbelow(int(chosen.sample['n_features']))}", set=chosen.name), 303
    )


@router.get("/feature/{number}")
def feature(
    request: Request,
    reader: ReaderOfRequest,
    number: Number,
    name: SetName = None,
    split: SplitName = "score",
    n: Annotated[int, Query(ge=1, le=200)] = 5,
    width: Width = "window",
    breaks: bool = False,
) -> Response:
    chosen = choose(request, reader, name)
    if chosen is None:
        return render(request, "feature.html.j2", chosen=None)
    view = {"split": split, "n": n, "width": width, "breaks": breaks}
    values = _everything(
        reader, connections(request).file_threads, chosen, number, split=split, n=n, wide=width == "wide"
    )
    previous, following = feature_queries.beside(reader, chosen.sample_id, number)
    return render(
        request, "feature.html.j2", chosen=chosen, view=view, previous=previous, following=following, embedded=False,
        sections=SECTIONS, **values,
    )  # fmt: skip


@router.get("/embed/feature/{number}")
def embedded(
    request: Request,
    reader: ReaderOfRequest,
    number: Number,
    name: SetName = None,
    show: Annotated[str, Query(max_length=200)] = "contexts,histogram,scores",
    split: SplitName = "score",
    n: Annotated[int, Query(ge=1, le=200)] = 3,
    width: Width = "window",
    breaks: bool = False,
) -> Response:
    """The same without navigation, for a frame in another page; `show` says which sections."""
    chosen = choose(request, reader, name)
    if chosen is None:
        return render(request, "feature.html.j2", chosen=None)
    asked = [part.strip() for part in show.split(",") if part.strip()]
    for section in asked:
        check_known("show", section, SECTIONS)
    wanted = [section for section in SECTIONS if section in asked]
    view = {"split": split, "n": n, "width": width, "breaks": breaks, "show": show}
    values = _everything(
        reader, connections(request).file_threads, chosen, number, split=split, n=n, wide=width == "wide"
    )
    return render(
        request, "feature.html.j2", chosen=chosen, view=view, previous=None, following=None, embedded=True,
        sections=wanted, **values,
    )  # fmt: skip


def row_of(reader: Reader, chosen: Chosen, number: int) -> dict[str, Any]:
    """The feature's row of labels. Raise a 404 for a number that is none."""
    found = feature_queries.feature(reader, chosen.sample_id, number)
    if not found:
        last = int(chosen.sample["n_features"]) - 1
        raise HTTPException(404, f"{chosen.name} has no feature {number}: they are 0 to {last:,}.")
    return found[0]


def _everything(
    reader: Reader, threads: Executor, chosen: Chosen, number: int, *, split: SplitName, n: int, wide: bool
) -> dict[str, Any]:
    row = row_of(reader, chosen, number)
    contexts = threads.submit(  # files are read while the database answers
        feature_queries.contexts, reader, chosen.sample, number, split=split, most=n, strata=STRATA
    )
    values = _from_the_database(reader, chosen, number, tau=row["tau"])
    found = feature_queries.with_documents(reader, chosen.sample["corpus_id"], contexts.result())
    return {"row": row, "number": number, "bands": _bands(reader, chosen, row, found.to_dicts(), wide=wide), **values}


def _from_the_database(reader: Reader, chosen: Chosen, number: int, *, tau: float) -> dict[str, Any]:
    sample_id = chosen.sample_id
    splits = feature_queries.splits(reader, sample_id, number)
    scores = feature_queries.scores(reader, sample_id, number)
    tagged = feature_queries.has_tags(reader, sample_id, number)  # evidence is read only where there are any
    return {
        "splits": {split["split"]: split for split in splits},
        "histogram": histogram(splits, tau=tau),
        "explanations": _with_scores(feature_queries.explanations(reader, sample_id, number), scores),
        "controls": [score for score in scores if score["control"] is not None and score["metric"] == "headline"],
        "tokens": feature_queries.tokens(reader, sample_id, number),
        "logits": feature_queries.logits(reader, sample_id, number),
        "label_free": _by_scorer(s for s in scores if s["explainer"] is None and s["control"] is None),
        **_side_by_side(feature_queries.neighbors(reader, chosen.name, sample_id, number)),
        "tags": feature_queries.tags(reader, sample_id, number) if tagged else [],
        "place": map_queries.place(reader, chosen.name, number),
    }


def _bands(
    reader: Reader, chosen: Chosen, row: Mapping[str, Any], found: Sequence[Mapping[str, Any]], *, wide: bool
) -> tuple[Band, ...]:
    beside: dict[int, dict[str, Any]] = {}
    if wide:
        windows = [item["window_id"] for item in found]
        frame = feature_queries.beside_windows(reader, chosen.sample["corpus_id"], windows)
        beside = {item["window_id"]: item for item in frame.to_dicts()}
    order = (*FIRING, *(name for name in STRATA if name not in FIRING))
    return bands(shown_windows(found, largest=row["max_activation"], beside=beside), order)


def _with_scores(explanations: Sequence[dict[str, Any]], scores: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each explanation with its scores, by scorer: the headline first."""
    for explanation in explanations:
        explanation["scores"] = _by_scorer(
            s for s in scores if s["explanation_id"] == explanation["explanation_id"] and s["control"] is None
        )
    return list(explanations)


def _by_scorer(scores: Iterable[dict[str, Any]]) -> dict[tuple[str, str | None], dict[str, Any]]:
    """Scores by scorer and judge, then by metric."""
    found: dict[tuple[str, str | None], dict[str, Any]] = {}
    for score in sorted(scores, key=lambda score: (score["scorer"], metric_order(score["metric"]))):
        found.setdefault((score["scorer"], score["judge_model"]), {})[score["metric"]] = score
    return found


def _side_by_side(neighbors: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Neighbors by all methods in one list: what each method says of each, the nearest by any first."""
    methods = list(dict.fromkeys(row["method"] for row in neighbors))
    found: dict[int, dict[str, Any]] = {}
    for row in neighbors:
        found.setdefault(row["neighbor"], {**row, "by": {}})["by"][row["method"]] = row
    nearest = sorted(found.values(), key=lambda row: (min(by["rank"] for by in row["by"].values()), row["neighbor"]))
    return {"methods": methods, "neighbors": nearest}
