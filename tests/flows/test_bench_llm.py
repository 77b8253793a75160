"""The bench `llm` in small: that it measures what it says, not how fast the machine is today."""

from __future__ import annotations

import pytest

from flows.benches.llm import LLMBench, Load


def test_the_best_time_is_that_of_full_rounds() -> None:
    assert Load(requests=640, in_flight=64, latency_seconds=1.0).best_seconds == 10


@pytest.mark.slow
def test_a_small_bench_has_every_row_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    small = LLMBench(
        loads=(Load(8, 4, 0.05),),
        shards=3,
        shard=Load(8, 4, 0.05),
        calls=8,
        repeats=1,
        faulty=40,
        limited_seconds=1.0,
        pending=(600, 6_000),
        kills=None,
    )
    rows = {row.name: row for row in small.measure()}
    assert all(row.value is not None for row in rows.values())
    assert "wall over best, 3 shards of 8 requests, 4 in flight" in rows
    assert rows["shards: lost"].ok
    assert rows["30 % faulty: answered"].value + rows["30 % faulty: failed with a reason"].value == 40  # type: ignore[operator]
    for name in ("failed without a reason", "neither answered nor failed in the ledger", "answered twice"):
        assert rows[f"30 % faulty: {name}"].ok
    assert rows["memory, 6,000 over 600 pending"].ok
