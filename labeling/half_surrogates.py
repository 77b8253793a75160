"""Half surrogates: what JSON can spell (a broken emoji in an answer) and neither UTF-8 nor a table can hold."""

from __future__ import annotations


def writable(text: str) -> str:
    """The text with a question mark in place of each half."""
    return text.encode("utf-8", "replace").decode()
