"""A question as the provider understood it, in the same words for both APIs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

from flows.fake_provider.http_server import JSON

TOKEN_CHARACTERS = 4
"""What counts as a token here: four characters."""
SHORTEST_CACHED_TOKENS = 1_024
"""The providers cache no shorter prefix."""


@dataclass(frozen=True)
class Asked:
    """One question, asked by itself or in a batch."""

    api: Literal["anthropic", "openai"]
    model: str
    system: str
    user: str
    """The last message."""
    schema: Mapping[str, JSON]
    max_output_tokens: int
    body: Mapping[str, JSON]
    headers: Mapping[str, str]
    """Of the HTTP request that brought it."""
    digest: str
    """Hash of the body's content: equal for questions that are paid for twice, in a batch or not."""
    seen_before: int
    """How often the same body came before."""
    prompt: str = ""
    """All text that is sent, in its order."""
    cacheable: tuple[int, ...] = ()
    """Lengths of the prefixes of `prompt` that may be kept in the prompt cache, in characters, ascending."""
    batch: str | None = None
    """Identifier of the batch it came in."""
    custom_id: str = ""
    """Its name in the batch."""

    @property
    def input_tokens(self) -> int:
        return len(self.prompt) // TOKEN_CHARACTERS


@dataclass(frozen=True)
class Received:
    """What is known of a question besides its body."""

    headers: Mapping[str, str]
    digest: str
    seen_before: int
    batch: str | None = None
    custom_id: str = ""


def digest_of(body: JSON) -> str:
    """Hash that does not depend on the order of keys or on white space."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return blake2b(text.encode(), digest_size=16).hexdigest()


def question_name(system: str, user: str) -> str:
    """Name of a question by its words, whichever API it came through."""
    return blake2b(f"{len(system)} {system}{user}".encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def text_of(content: JSON) -> str:
    """Text of a message's content, which is a string or a list of blocks."""
    return content if isinstance(content, str) else "".join(block.get("text", "") for block in content or [])
