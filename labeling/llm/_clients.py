"""Several clients of one SDK, each with few connections, used as if they were one.

An SDK's connection pool looks at every connection for every request, so that with 512 in flight most of the time goes
there: many small pools cost as little as one. Knows no SDK, only the HTTP library of both.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from ssl import SSLContext

CONNECTIONS_EACH = 32


@lru_cache(maxsize=1)
def ssl_context() -> SSLContext:
    """One for all clients, as the HTTP library makes it: reading the certificates takes 25 ms, whatever the address."""
    from httpx2 import create_ssl_context

    return create_ssl_context()


class SDKClient(Protocol):
    def close(self) -> Awaitable[None]: ...


AnyClient = TypeVar("AnyClient", bound=SDKClient)


class Clients(Generic[AnyClient]):
    """Opens one more client when all have `CONNECTIONS_EACH` requests under way."""

    def __init__(self, open_client: Callable[[], AnyClient]) -> None:
        self._open = open_client
        self._clients: list[AnyClient] = []
        self._under_way: list[int] = []

    @contextmanager
    def one(self) -> Iterator[AnyClient]:
        """A client that has a connection to spare."""
        index = next((i for i, n in enumerate(self._under_way) if n < CONNECTIONS_EACH), len(self._clients))
        if index == len(self._clients):
            self._clients.append(self._open())
            self._under_way.append(0)
        self._under_way[index] += 1
        try:
            yield self._clients[index]
        finally:
            self._under_way[index] -= 1

    async def close(self) -> None:
        for client in self._clients:
            await client.close()
