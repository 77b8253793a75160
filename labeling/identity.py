"""Identities: stable hashes of what something was made from, so that nothing overwrites other evidence."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import Any


def identify(kind: str, /, **parts: Any) -> str:
    """16 hexadecimal digits from everything that makes the thing what it is. Parts must be JSON values."""
    canonical = json.dumps([kind, parts], sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return blake2b(canonical.encode(), digest_size=8).hexdigest()


def text_id(text: str) -> str:
    """Identity of a document: the hash of its text."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
