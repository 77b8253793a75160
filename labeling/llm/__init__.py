"""Language models behind one seam: providers, the ledger and the scripted model of the tests share this shape.

One file a provider (`anthropic`, `openai`, `scripted`); models are named `provider/model`. A provider's file defines
`create(*, model, base_url) -> LanguageModel`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from labeling.types import LLMRequest, LLMResult


class LanguageModel(Protocol):
    async def complete(self, requests: Sequence[LLMRequest]) -> list[LLMResult]:
        """One result a request, in the same order. What goes wrong with one request is its result, not an exception.

        Raise FeatlasError only for what no request can survive: a missing key, a key that is refused.
        """
