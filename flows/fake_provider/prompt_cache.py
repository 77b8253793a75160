"""Which prefixes of prompts the provider has seen, so that usage can tell what was read from its prompt cache.

Entries are kept until there are too many of them; the providers' five minutes are not imitated.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from flows.fake_provider.asked import TOKEN_CHARACTERS, Asked

MOST_ENTRIES = 100_000


@dataclass(frozen=True)
class CacheUse:
    """Tokens of one prompt that the cache had, and that were put into it."""

    read: int
    written: int


NOT_CACHED = CacheUse(0, 0)


class PromptCache:
    def __init__(self) -> None:
        self._known: dict[bytes, None] = {}  # oldest first

    def look(self, asked: Asked) -> CacheUse:
        """What the cache would do with this prompt now."""
        return self._use(asked, _prefixes(asked))

    def use(self, asked: Asked) -> CacheUse:
        """Read what is known, and keep the rest."""
        prefixes = _prefixes(asked)
        use = self._use(asked, prefixes)
        for prefix in prefixes:
            self._known.pop(prefix, None)
            self._known[prefix] = None
        while len(self._known) > MOST_ENTRIES:
            del self._known[next(iter(self._known))]
        return use

    def _use(self, asked: Asked, prefixes: list[bytes]) -> CacheUse:
        if not prefixes:
            return NOT_CACHED
        known = [length for length, prefix in zip(asked.cacheable, prefixes, strict=True) if prefix in self._known]
        read = max(known, default=0) // TOKEN_CHARACTERS
        return CacheUse(read, asked.cacheable[-1] // TOKEN_CHARACTERS - read)


def _prefixes(asked: Asked) -> list[bytes]:
    digest = blake2b(f"{asked.api} {asked.model}\n".encode(), digest_size=16)
    prefixes, start = [], 0
    for end in asked.cacheable:
        digest.update(asked.prompt[start:end].encode("utf-8", "surrogatepass"))
        prefixes.append(digest.digest())
        start = end
    return prefixes
