"""Many items through few workers: the number of tasks follows the workers, never the items."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from labeling.errors import FeatlasError

Item = TypeVar("Item")
Result = TypeVar("Result")


async def run_bounded(
    items: Sequence[Item], work: Callable[[Item], Awaitable[Result]], *, workers: int
) -> list[Result]:
    """Results in the order of the items, at most `workers` at work at any time. Items are taken one by one, when needed.

    The first FeatlasError stops the rest from being started; what is under way ends first, because its answer may be
    paid for already. Then the error is raised.
    """
    if len(items) == 1:
        return [await work(items[0])]
    results: dict[int, Result] = {}
    errors: list[FeatlasError] = []
    waiting = iter(range(len(items)))

    async def worker() -> None:
        for index in waiting:
            if errors:
                return
            try:
                results[index] = await work(items[index])
            except FeatlasError as error:
                errors.append(error)

    tasks = [asyncio.create_task(worker()) for _ in range(min(workers, len(items)))]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if errors:
        raise errors[0]
    return [results[index] for index in range(len(items))]
