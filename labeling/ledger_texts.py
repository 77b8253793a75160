"""The table `texts` of the ledger: every distinct text of its prompts once, found again by its content.

Instructions, schemas, templates and excerpts are all just texts here. Rows are never changed or removed, so that an id
stays good for ever. It commits nothing.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b

CHUNK = 500
"""Rows a query takes at once."""
WORTH_PACKING = 100
"""Characters from which a text may become shorter by compression."""


def store_texts(connection: sqlite3.Connection, texts: Iterable[str]) -> dict[str, int]:
    """Id of each text; the ones that are not there yet are added. Needs the write lock."""
    by_hash: dict[int, set[str]] = {}
    for text in texts:
        by_hash.setdefault(_hash(text), set()).add(text)
    ids: dict[str, int] = {}
    for chunk in _chunks(sorted(by_hash)):
        query = f"SELECT hash, text_id, text FROM texts WHERE hash IN ({_marks(chunk)})"
        # The short hash only finds candidates: equal is what has equal characters.
        found = ((number, text_id, _unpack(stored)) for number, text_id, stored in connection.execute(query, chunk))
        ids |= {text: text_id for number, text_id, text in found if text in by_hash[number]}
    for number, some in by_hash.items():
        for text in (text for text in some if text not in ids):
            added = connection.execute("INSERT INTO texts (hash, text) VALUES (?, ?)", (number, _pack(text)))
            assert added.lastrowid is not None
            ids[text] = added.lastrowid
    return ids


def read_texts(connection: sqlite3.Connection, ids: Sequence[int]) -> Mapping[int, str]:
    """Text of each id. Raise KeyError for an id that is not there."""
    found: dict[int, str] = {}
    for chunk in _chunks(sorted(set(ids))):
        query = f"SELECT text_id, text FROM texts WHERE text_id IN ({_marks(chunk)})"
        found |= {text_id: _unpack(stored) for text_id, stored in connection.execute(query, chunk)}
    if missing := set(ids) - found.keys():
        raise KeyError(f"texts without a row: {sorted(missing)}")
    return found


def _hash(text: str) -> int:
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6).digest()
    return int.from_bytes(digest, signed=True)  # six bytes are what SQLite stores in six bytes


def _pack(text: str) -> str | bytes:
    """As it is, or compressed where that is shorter or the only way to write it."""
    data = text.encode("utf-8", "surrogatepass")
    packable = len(data) >= WORTH_PACKING or data != text.encode("utf-8", "replace")
    if not packable:
        return text
    packed = zlib.compress(data, 9, wbits=-15)
    return packed if len(packed) < len(data) or data != text.encode("utf-8", "replace") else text


def _unpack(stored: str | bytes) -> str:
    """Raise zlib.error when a stored text is damaged."""
    if isinstance(stored, str):
        return stored
    return zlib.decompress(stored, wbits=-15).decode("utf-8", "surrogatepass")


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


def _chunks(values: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]
