"""Single values of a config: from what a file, a variable or an option holds to the type a key declares, and back.

It knows types and limits, not which keys exist.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from labeling.errors import UsageError
from labeling.selection import FORMS, Selection, parse_selection
from labeling.types import JSON


@dataclass(frozen=True)
class KeyDoc:
    """What a key means and which values it may have. Limits of a list hold for each entry."""

    doc: str
    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None
    example: JSON = None
    """Value written into the starting file in place of a default."""
    hint: JSON = None
    """Value shown in a commented-out line of the starting file, for keys without a default."""


@dataclass(frozen=True)
class Origin:
    """Where a value stands, for messages."""

    place: str
    key: str
    text: bool = False
    """Whether numbers and lists arrive as text (`"3"`, `"a,b"`): variables and options do, a file does not."""


class _MisfitError(Exception):
    """A value that is not what the key declares."""


def read_value(kind: type[Any], key: str, value: object, origin: Origin) -> Any:
    """`value` as the type that `kind` declares for `key`. Raise UsageError with the value seen and those allowed."""
    declared = get_type_hints(kind)[key]
    doc: KeyDoc = next(f for f in fields(kind) if f.name == key).metadata["key"]
    try:
        return _convert(value, declared, doc, text=origin.text)
    except _MisfitError:
        seen = "a value that is not shown" if _hides_secret(value) else repr(value)
        raise UsageError(f"{origin.place}: {origin.key} is {seen}; allowed: {_allowed(declared, doc)}.") from None


def refuse_unknown(kind: str, seen: Iterable[str], known: Collection[str], *, where: str) -> None:
    """Raise UsageError for the first name that is not known, with the nearest known one and the list."""
    for name in seen:
        if name in known:
            continue
        if looks_secret(name):
            raise UsageError(
                f"{where}: {name!r} can't stand in a config, which is stored with every run. "
                "Keys are read from ANTHROPIC_API_KEY and OPENAI_API_KEY only."
            )
        near = get_close_matches(name, list(known), n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"{where}: there is no {kind} {name!r}.{hint} Known: {', '.join(known)}.")


def looks_secret(name: str) -> bool:
    """Whether a key of this name would hold a secret."""
    return bool(re.search(r"(^|[_-])(api[_-]?)?(keys?|secret|password|credentials?|access[_-]?token)$", name.lower()))


def as_json(section: Any) -> dict[str, JSON]:
    """A section's values as JSON: tuples become lists, a selection the text that gives it."""
    return {f.name: _plain(getattr(section, f.name)) for f in fields(section)}


def _plain(value: object) -> JSON:
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Selection) else value


def toml_value(value: JSON) -> str:
    """A value as TOML writes it."""
    if isinstance(value, tuple | list):
        return "[" + ", ".join(toml_value(entry) for entry in value) + "]"
    if isinstance(value, bool) or not isinstance(value, int):
        return json.dumps(str(value) if isinstance(value, Selection) else value)  # JSON's strings are TOML's
    return f"{value:_}" if value >= 10_000 else str(value)


def _convert(value: object, declared: Any, doc: KeyDoc, *, text: bool) -> Any:
    if get_origin(declared) is UnionType:  # `X | None`: a key that may be left out
        declared = next(kind for kind in get_args(declared) if kind is not NoneType)
    if get_origin(declared) is tuple:
        return _convert_list(value, get_args(declared)[0], doc, text=text)
    if get_origin(declared) is Literal:
        return _require(value, value in get_args(declared))
    if declared is Selection:
        return _convert_selection(value)
    if declared is bool:
        return _convert_flag(value, text=text)
    if declared is str:
        return _require(value, isinstance(value, str) and bool(value.strip()) and value.isprintable())
    return _convert_number(value, declared, doc, text=text)


def _convert_list(value: object, entry: Any, doc: KeyDoc, *, text: bool) -> tuple[Any, ...]:
    if isinstance(value, str) and (text or entry is str):
        value = value.split(",") if text else [value]  # in a file, one name may stand without brackets
    if not isinstance(value, list | tuple) or not value:
        raise _MisfitError
    entries = tuple(_convert(v.strip() if isinstance(v, str) else v, entry, doc, text=text) for v in value)
    return tuple(_require(entries, len(set(entries)) == len(entries)))


def _convert_selection(value: object) -> Selection:
    try:
        return parse_selection(value)
    except UsageError:
        raise _MisfitError from None


def _convert_flag(value: object, *, text: bool) -> Any:
    if text and isinstance(value, str):
        value = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(value.lower())
    return _require(value, isinstance(value, bool))


def _convert_number(value: object, kind: type[Any], doc: KeyDoc, *, text: bool) -> Any:
    if text and isinstance(value, str):
        try:
            value = kind(value)
        except ValueError:
            raise _MisfitError from None
    if isinstance(value, bool) or not isinstance(value, int | kind) or not math.isfinite(value):
        raise _MisfitError
    low, high = (
        doc.at_least if doc.at_least is not None else -math.inf,
        doc.at_most if doc.at_most is not None else math.inf,
    )
    return _require(kind(value), low <= value <= high and (doc.above is None or value > doc.above))


def _require(value: Any, fits: bool) -> Any:
    if not fits:
        raise _MisfitError
    return value


def _allowed(declared: Any, doc: KeyDoc) -> str:
    if get_origin(declared) is UnionType:
        declared = next(kind for kind in get_args(declared) if kind is not NoneType)
    if get_origin(declared) is tuple:
        return f"a list without repeats, each entry {_allowed(get_args(declared)[0], doc)}"
    if get_origin(declared) is Literal:
        return ", ".join(repr(choice) for choice in get_args(declared))
    if declared is Selection:
        return FORMS
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "one line of text"}[declared]
    limits = [("of at least", doc.at_least), ("above", doc.above), ("of at most", doc.at_most)]
    bounds = [f"{word} {limit:,}" for word, limit in limits if limit is not None]
    return " ".join([words, " and ".join(bounds)]).strip()


def _hides_secret(value: object) -> bool:
    return isinstance(value, str) and bool(re.search(r"://[^/]*@|\bsk-", value))
