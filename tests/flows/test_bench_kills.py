"""The bench `kills`: that it sees what it is there to see, and in small that all is well."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random

import pytest

from flows.benches import BenchOptions
from flows.benches._featlas_runs import FeatlasRuns
from flows.benches._killed_runs import EARLY, Undisturbed
from flows.benches._lives import Books, Life, ProviderCounts, Tally, read_books
from flows.benches._provider import serve
from flows.benches.kills import KillsBench, create
from flows.fake_provider import question_name
from labeling.errors import FeatlasError
from labeling.ledger import BatchRow, Ledger
from labeling.types import Completion, LLMRequest

NOTHING = ProviderCounts({})


def lived(
    *kills: tuple[Books, ProviderCounts],
    end: tuple[Books, ProviderCounts],
    printed: int,
    born: ProviderCounts = NOTHING,
) -> Tally:
    life = Life(born)
    for books, asked in kills:
        life.killed(books, asked)
    life.ended(*end, printed=printed)
    return life.tally


def answered(*questions: str, under_way: int = 0, batches: tuple[str, ...] = ()) -> Books:
    return Books(frozenset(questions), under_way, frozenset(batches))


def test_a_life_that_repeats_only_what_was_under_way_is_counted_as_well() -> None:
    tally = lived(
        (answered("a", under_way=2), ProviderCounts({"a": 1, "b": 1})),
        end=(answered("a", "b", "c"), ProviderCounts({"a": 1, "b": 2, "c": 1})),
        printed=2,
    )
    assert tally == Tally(kills=1, kills_at_work=1, lives=1, under_way=2, sent_again=1)


def test_what_was_asked_before_a_life_began_is_not_its_own() -> None:
    tally = lived(
        end=(answered("a"), ProviderCounts({"a": 2}, n_batches=4)),
        printed=0,
        born=ProviderCounts({"a": 1}, n_batches=4),
    )
    assert tally == Tally(lives=1)


def test_asking_what_was_answered_is_seen_whenever_it_happens() -> None:
    at_a_kill = (answered("a"), ProviderCounts({"a": 1})), (answered("a"), ProviderCounts({"a": 2}))
    assert lived(*at_a_kill, end=(answered("a"), ProviderCounts({"a": 2})), printed=0).asked_though_answered == 1
    at_the_end = lived(at_a_kill[0], end=(answered("a"), ProviderCounts({"a": 3})), printed=0)
    assert (at_the_end.asked_though_answered, at_the_end.sent_again, at_the_end.sent_again_too_often) == (2, 2, 2)


def test_a_lost_answer_an_answer_nobody_asked_for_and_a_wrong_number_are_seen() -> None:
    tally = lived(
        (answered("a", "b", under_way=3), ProviderCounts({"a": 1})),
        end=(answered("b"), ProviderCounts({"a": 1})),
        printed=2,
    )
    assert (tally.answers_lost, tally.never_asked, tally.misprinted) == (1, 1, 1)


def test_a_batch_that_the_ledger_does_not_know_was_submitted_twice() -> None:
    tally = lived(end=(answered("a", batches=("x",)), ProviderCounts({"a": 2}, n_batches=2)), printed=0)
    assert (tally.batches, tally.batches_unknown, tally.sent_again_too_often) == (2, 1, 1)


def test_tallies_add_up() -> None:
    assert Tally(kills=1, tables=5) + Tally(kills=2, differing=1) == Tally(kills=3, tables=5, differing=1)


def test_the_books_are_read_from_a_copy_of_the_ledger_as_a_dead_process_left_it(tmp_path: Path) -> None:
    requests = [LLMRequest("openai/tiny", "s", f"question {n}", {}, 10, "label") for n in range(4)]
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as ledger:
        keys = ledger.register(requests)
        ledger.save_batch(BatchRow("ours", "openai", "openai/tiny", "theirs", "submitted", 1, created_at=1.0))
        ledger.claim_many(keys[3:], batch="ours")
        ledger.claim_each(keys[:2])
        ledger.finish(keys[0], Completion("{}", "stop", 1, 0, 0, 1))
        read = read_books(path, folder=tmp_path)
    assert read == Books(frozenset([question_name("s", "question 0")]), 1, frozenset(["theirs"]), 1)
    assert read_books(tmp_path / "none.sqlite", folder=tmp_path) == Books()


def test_kills_are_spread_over_the_time_that_is_left() -> None:
    calm = Undisturbed(seconds=10.0, start_seconds=2.0, asking_seconds=5.0, n_requests=100, tables={})
    random = Random(0)
    moments = [calm.moment(random, 0.5) for _ in range(2000)]
    early = [moment.seconds for moment in moments if not moment.after_first_call]
    later = [moment.seconds for moment in moments if moment.after_first_call]
    assert len(early) / len(moments) == pytest.approx(EARLY, abs=0.03)
    assert 1.0 <= min(early) < 1.1 < 1.9 < max(early) <= 2.0
    assert 0.0 <= min(later) < 0.1
    assert 5.3 < max(later) <= 5.5  # half of the asking, and what comes after it
    assert 0.5 < sum(seconds <= 2.5 for seconds in later) / len(moments) < 0.75


def test_the_number_of_kills_and_the_seed_can_be_chosen() -> None:
    assert create(options=BenchOptions(kills=3, seed=4)) == KillsBench(kills=3, seed=4)
    assert create(options=BenchOptions()) == KillsBench(kills=30, seed=0)


@pytest.mark.slow
def test_a_bench_that_is_stopped_leaves_no_process_behind(tmp_path: Path) -> None:
    with FeatlasRuns(tmp_path) as runs:
        run = runs.start(("sample",), "--config", str(tmp_path / "none.toml"))
        with pytest.raises(FeatlasError, match=r"exit code 1 and said: (?s:.*)There is no config file"):
            run.output()
        runs.start(("sample",), "--set", "corpus.max_tokens=1")
        started = time.monotonic()
    assert time.monotonic() - started < 60
    assert not any(one.is_running for one in runs._runs)
    with pytest.raises(FeatlasError, match="stopped"):
        runs.start(("sample",))


@pytest.mark.slow
def test_a_few_kills_lose_nothing_and_repeat_nothing_that_was_answered() -> None:
    rows = KillsBench(kills=4, seed=3, features=4).measure()
    assert [row for row in rows if not row.ok] == []
    killed = [row.value for row in rows if row.name.endswith("runs killed")]
    assert killed == [2, 2]


def test_a_provider_that_ends_before_it_answers_is_named_with_its_exit_code() -> None:
    with pytest.raises(FeatlasError, match="ended with exit code 2 before it answered"), serve("--no-such-option"):
        pass
