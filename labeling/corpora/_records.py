"""From one record (a JSON object, a row of a table) to a document: its text, and a name for people.

A column is a key of the record, or a dotted path into nested records: `meta.text`. A key that has the dots in its own
name comes first.
"""

from __future__ import annotations

from collections.abc import Mapping

from labeling.corpora._problems import Misfit, Tally, excerpt
from labeling.identity import text_id
from labeling.types import JSON, Document

DEFAULT_COLUMN = "text"
NAME_COLUMNS = tuple(folder + key for key in ("title", "url", "name", "id") for folder in ("", "meta.", "metadata."))
"""Where a name for people is looked for, in this order."""
NAME_CHARACTERS = 200
REPLACED = "\N{REPLACEMENT CHARACTER}"


def value_at(record: Mapping[str, JSON], column: str) -> JSON:
    """The value of a column; None where there is none."""
    if column in record:
        return record[column]
    head, _, rest = column.partition(".")
    inner = record.get(head)
    return value_at(inner, rest) if rest and isinstance(inner, Mapping) else None


def read_record(
    record: Mapping[str, JSON], *, column: str, place: str, tally: Tally, replaced: int = 0
) -> Document | Misfit:
    """The record as a document, or why it is none.

    `replaced` says how many characters of the record were replaced before; half surrogates, which JSON can spell and
    no file can hold, are replaced here.
    """
    text = value_at(record, column)
    if text is None:
        seen = "null" if column in record else f"no {column!r} among the keys {excerpt(', '.join(record))}"
        return Misfit("no text", place, seen)
    if not isinstance(text, str):
        return Misfit("not text", place, f"{column!r} is of type {type(text).__name__}: {excerpt(repr(text))}")
    if not text.strip():
        return Misfit("empty", place, f"{column!r} is {excerpt(repr(text))}")
    whole = without_half_surrogates(text)
    before = text.count(REPLACED)
    replaced = min(replaced, before) + whole.count(REPLACED) - before
    if replaced:
        tally.add("characters replaced", f"{place}: {around_replaced(whole)}", replaced)
    return Document(document_id=text_id(whole), name=name_of(record) or place, text=whole)


def without_half_surrogates(text: str) -> str:
    """Join surrogate pairs; replace halves."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def around_replaced(text: str) -> str:
    place = max(text.find(REPLACED), 0)
    return excerpt(text[max(place - 30, 0) : place + 30])


def name_of(record: Mapping[str, JSON]) -> str | None:
    """A name for people from the usual keys, or None."""
    for column in NAME_COLUMNS:
        value = value_at(record, column)
        if isinstance(value, int) and not isinstance(value, bool):
            value = f"{column} {value}"
        if isinstance(value, str) and (name := " ".join(without_half_surrogates(value).split())):
            return name[:NAME_CHARACTERS]
    return None
