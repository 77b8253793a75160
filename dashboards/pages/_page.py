"""What every page needs: a reader for the time of a request, the feature set that is asked about, and a template."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException

from dashboards import queries
from dashboards.comparing import Comparer
from dashboards.connections import Connections
from dashboards.queries import Reader
from labeling.errors import UsageError


def _reader(request: Request) -> Iterator[Reader]:
    with connections(request).reader() as reader:
        yield reader


def connections(request: Request) -> Connections:
    found: Connections = request.app.state.connections
    return found


def comparer(request: Request) -> Comparer | None:
    """What compares scores; None where the program brought nothing."""
    found: Comparer | None = request.app.state.comparer
    return found


ReaderOfRequest = Annotated[Reader, Depends(_reader)]
SetName = Annotated[str | None, Query(alias="set", max_length=400, description="Name of a feature set.")]


@dataclass(frozen=True)
class Chosen:
    """The newest sample of the feature set that a page is about, and of all of them."""

    sample: Mapping[str, Any]
    every: tuple[Mapping[str, Any], ...]

    @property
    def sample_id(self) -> str:
        return str(self.sample["sample_id"])

    @property
    def name(self) -> str:
        return str(self.sample["feature_set"])

    @property
    def controls(self) -> tuple[Mapping[str, Any], ...]:
        """Samples of the feature sets that are controls for this one."""
        return tuple(other for other in self.every if other["control_for"] == self.name)

    def control_samples(self, kind: str) -> list[str]:
        """Samples of the controls of one kind: random_weights or random_directions."""
        wanted = kind == "random_directions"
        kept = (other for other in self.controls if (other["architecture"] == "random_directions") == wanted)
        return [str(other["sample_id"]) for other in kept]


def choose(request: Request, reader: Reader, name: str | None) -> Chosen | None:
    """The named feature set, or the first one; None where nothing is sampled yet. Raise a 404 for an unknown name."""
    every = connections(request).remember(reader, "samples", lambda: tuple(queries.samples(reader).to_dicts()))
    if not every:
        return None
    if name is None:
        return Chosen(every[0], every)
    for sample in every:
        if sample["feature_set"] == name:
            return Chosen(sample, every)
    known = ", ".join(str(sample["feature_set"]) for sample in every)
    raise HTTPException(404, f"There is no feature set {name!r}. Known: {known}.")


def check_known(name: str, value: str, known: Iterable[str]) -> None:
    """Raise UsageError for a parameter that names nothing that there is: a page that left it out would hide the mistake."""
    known = tuple(known)
    if value not in known:
        raise UsageError(f"{name} must be one of {', '.join(known)}, not {value!r}.")


def render(request: Request, template: str, *, chosen: Chosen | None, code: int = 200, **values: Any) -> HTMLResponse:
    """Fill a template. Pages that need a sample and have none say which command makes one."""
    templates = request.app.state.templates
    name = template if chosen is not None or values.pop("without_sample", False) else "nothing.html.j2"
    page = templates.get_template(name).render(
        chosen=chosen, feature_set=chosen.name if chosen else None, path=request.url.path, tau=queries.TAU, **values
    )
    return HTMLResponse(page, code)
