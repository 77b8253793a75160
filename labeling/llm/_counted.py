"""A Completion from the token counts of a reply, read alike for every provider. Pure."""

from __future__ import annotations

from labeling.types import JSON, Completion


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
    known = bool(prompt_tokens)
    return Completion(
        text=text,
        stop_reason=stop_reason,
        input_tokens=int(prompt_tokens) if known else None,
        cached_input_tokens=int(cache_read or 0) if known else None,
        cache_write_input_tokens=int(cache_written or 0) if known else None,
        output_tokens=int(output_tokens) if output_tokens or (known and output_tokens is not None) else None,
        latency_seconds=0.0,
    )
