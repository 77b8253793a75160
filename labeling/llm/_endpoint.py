"""Where requests go and with which key: the arguments and the environment in, one checked `Endpoint` out.

The key lives in this object and in the SDK's client, nowhere else. `Endpoint.scrub` takes it out of any text that
came back from a server before people or files get to see that text.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from labeling.errors import UsageError
from labeling.llm._secrets import SHORTEST_ENCODED, without_secret
from labeling.llm._servers import OwnServer

LONGEST_DETAIL = 600
"""Characters of a server's own words that are kept in messages and failure details."""


@dataclass(frozen=True)
class Endpoint:
    """One model at one server."""

    provider: str
    model: str
    url: str = field(repr=False)
    key_name: str
    """Environment variable that holds the key."""
    key: str = field(repr=False)
    key_is_placeholder: bool = False

    @property
    def full_name(self) -> str:
        return f"{self.provider}/{self.model}"

    @property
    def shown_url(self) -> str:
        """The address without user name, password and query, which can hold secrets."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def scrub(self, text: str) -> str:
        """Shorten a server's words and take the key and a secret address out of them."""
        text = self._without_key(" ".join(text.replace(self.url, self.shown_url).split()))
        return text if len(text) <= LONGEST_DETAIL else text[:LONGEST_DETAIL] + "..."

    def without_key(self, answer: str) -> str:
        """Take the key out of an answer, should a server repeat it. A word such as `none` is no key: it may be the answer."""
        return answer if len(self.key) < SHORTEST_ENCODED else self._without_key(answer)

    def _without_key(self, text: str) -> str:
        return text if self.key_is_placeholder else without_secret(text, self.key, f"[{self.key_name}]")


def read_endpoint(
    *,
    provider: str,
    model: str,
    base_url: str | None,
    server: OwnServer,
    key_name: str,
    key_optional: bool,
) -> Endpoint:
    """Choose address (argument, then environment, then default) and key (environment only).

    `key_optional` lets servers other than the default one go without a key. Raise UsageError when a key is missing
    or cannot be one, or when the address is none.
    """
    url = server.named(base_url)
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        shown = url.rpartition("@")[2]
        raise UsageError(
            f"The address of {provider} is {shown!r}. Allowed: http://host:port/path or https://...; "
            f"set llm.base_url or {server.variable}."
        )
    key = os.environ.get(key_name, "").strip()
    placeholder = not key and key_optional and url != server.url
    if not key and not placeholder:
        raise UsageError(_missing_key(provider, model, key_name, key_optional))
    if key and not (key.isascii() and key.isprintable() and " " not in key):
        raise UsageError(f"{key_name} holds characters that no key has (spaces, line breaks or letters outside ASCII).")
    return Endpoint(provider, model, url, key_name, key or "none", placeholder)


def _missing_key(provider: str, model: str, key_name: str, key_optional: bool) -> str:
    own_server = " A server of your own needs none: set llm.base_url (it usually ends in /v1)." if key_optional else ""
    return (
        f"{provider}/{model} needs a key, and the environment variable {key_name} is not set. Set it "
        f"(export {key_name}=...) and run again; keys are read from the environment only, never stored.{own_server}"
    )
