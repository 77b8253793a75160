"""What an answer costs, from a dated table of prices. A model that is not in the table has no known cost, never 0.

A second table, the user's own, stands over the first: its entries win, and it may name models that the first lacks.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from labeling.errors import FeatlasError
from labeling.types import Completion

SNAPSHOT_DATE = re.compile(r"-(\d{8}|\d{4}-\d{2}-\d{2})$")
"""Providers put a date behind a model's name; the price is that of the name without it."""

BATCH_SHARE = 0.5
"""Share of the list price that both providers bill for what is asked in a batch."""


@dataclass(frozen=True)
class ModelPrice:
    """US dollars per million tokens."""

    input: float
    output: float
    cached_input: float
    cache_write: float


FREE = ModelPrice(0.0, 0.0, 0.0, 0.0)
"""The price of a server of one's own, which costs nothing however many tokens it is."""


@dataclass(frozen=True)
class Prices:
    as_of: str
    """Day of the table, YYYY-MM-DD."""
    models: Mapping[str, ModelPrice]

    def price_of(self, model: str) -> ModelPrice | None:
        """Price of `provider/model`; None when it is not known."""
        return self.models.get(model) or self.models.get(SNAPSHOT_DATE.sub("", model))

    def with_own(self, own: Prices) -> Prices:
        """This table with the entries of another one over it."""
        return Prices(self.as_of, {**self.models, **own.models})

    def cost_usd(self, model: str, completion: Completion) -> float | None:
        """US dollars for an answer of `provider/model`; None when the price or the tokens are not known."""
        price = self.price_of(model)
        if price == FREE:
            return 0.0
        if price is None or completion.input_tokens is None or completion.output_tokens is None:
            return None
        cached, written = completion.cached_input_tokens or 0, completion.cache_write_input_tokens or 0
        dollars = (
            (completion.input_tokens - cached - written) * price.input
            + cached * price.cached_input
            + written * price.cache_write
            + completion.output_tokens * price.output
        )
        return dollars / 1_000_000 * (BATCH_SHARE if completion.batch else 1.0)


def load_prices(path: Path) -> Prices:
    """Read a table like `data/prices.json`. Raise FeatlasError when it is not one."""
    try:
        table = json.loads(path.read_text())
        models = {name: _model_price(entry) for name, entry in table["models"].items()}
        return Prices(str(table["as_of"]), models)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FeatlasError(
            f"The price table {path} cannot be read ({type(error).__name__}: {error}). It must be JSON with `as_of` "
            "and, under `models`, `input` and `output` in US dollars per million tokens for each provider/model."
        ) from error


def _model_price(entry: Mapping[str, float]) -> ModelPrice:
    """Without a price of its own, a cached token costs what any other does."""
    plain = _dollars(entry["input"])
    return ModelPrice(
        input=plain,
        output=_dollars(entry["output"]),
        cached_input=_dollars(entry.get("cached_input", plain)),
        cache_write=_dollars(entry.get("cache_write", plain)),
    )


def _dollars(value: float) -> float:
    if isinstance(value, bool) or not 0 <= float(value) < math.inf:
        raise ValueError(f"{value!r} is no price; allowed: 0 or more")
    return float(value)
