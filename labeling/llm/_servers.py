"""Which server a provider's requests go to when it is not the provider's own. It sends nothing and needs no key."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from urllib.parse import urlsplit


@dataclass(frozen=True)
class OwnServer:
    """What a provider's file says of itself, as OWN_SERVER."""

    url: str
    variable: str
    """Environment variable that names another server."""

    def named(self, base_url: str | None) -> str:
        """The address that counts: argument, then environment, then the provider's own."""
        return base_url or os.environ.get(self.variable, "").strip() or self.url


@dataclass(frozen=True)
class OtherServer:
    host: str
    """Name and port, without what may hold a secret."""
    variable: str | None
    """Environment variable that names it; None where an argument does."""


def other_server(provider: str, base_url: str | None) -> OtherServer | None:
    """The server that a provider's requests go to; None when it is the provider's own, or none is asked."""
    module = f"labeling.llm.{provider}"
    own = getattr(import_module(module), "OWN_SERVER", None) if provider.isidentifier() and find_spec(module) else None
    if own is None:
        return None
    host = _host(own.named(base_url))
    return None if host == _host(own.url) else OtherServer(host, None if base_url else own.variable)


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]
