"""A Completion from the token counts of a reply, read alike for every provider. Pure."""

from __future__ import annotations

from labeling.types import JSON, Completion

MOST_TOKENS = 10**9


def counted(
    text: str,
    stop_reason: str,
    *,
    prompt_tokens: JSON,
    output_tokens: JSON,
    cache_read: JSON = None,
    cache_written: JSON = None,
) -> Completion:
    """Take counts as a server says them, None where it says nothing. `prompt_tokens` includes what the cache did.

    Some servers say 0 where they did not count: a prompt is never empty, and 0 tokens of answer beside it say as little.
    """
    read, said = _count(prompt_tokens) or None, _count(output_tokens)
    if read is None:
        return Completion(text, stop_reason, None, None, said or None, 0.0, cache_write_input_tokens=None)
    cached, written = _count(cache_read) or 0, _count(cache_written) or 0
    return Completion(text, stop_reason, read, cached, said, 0.0, cache_write_input_tokens=written)


def _count(said: JSON) -> int | None:
    """A number of tokens; None for what is none, such as negative ones and those that no server could have read."""
    if not isinstance(said, int | float) or not 0 <= said <= MOST_TOKENS:  # NaN, too, is not between them
        return None
    return int(said)
