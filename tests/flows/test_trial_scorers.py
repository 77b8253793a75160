"""Runs with every scorer that asks in trials: tables, controls, what is shown, and what a lost answer leaves."""

from __future__ import annotations

import json

import pytest

from flows.fake_provider import LoopbackProvider
from flows.fake_provider.answers import varied_text
from tests.flows.mini import MODEL, Mini, Ran

IN_TRIALS = ("fuzzing", "simulation", "discrimination", "intruder", "specificity", "panel", "saebench")
HEADLINES = {
    "fuzzing": "balanced_marks",
    "simulation": "correlation",
    "discrimination": "accuracy_adjusted",
    "intruder": "accuracy_intruder",
    "specificity": "specificity",
    "panel": "correlation_panel",
    "saebench": "accuracy_saebench",
}
N_FEATURES = 4
CONTROLS = {"shuffled", "other_feature", "neighbor", "generic", "no_label", "random_weights"}


def run(mini: Mini, provider: LoopbackProvider, *arguments: object, scorers: str = ",".join(IN_TRIALS)) -> Ran:
    return mini.featlas(
        "run", "--scorer", scorers, "--model", f"openai/{MODEL}", "--base-url", provider.openai_url,
        "--features", mini.ok_features(N_FEATURES), *arguments,
    )  # fmt: skip


@pytest.fixture(scope="module")
def asked(mini: Mini, tmp_path_factory: pytest.TempPathFactory) -> tuple[Mini, Ran]:
    """A workspace that every scorer in trials has judged, with detection beside them."""
    copied = mini.copy(tmp_path_factory.mktemp("trials"))
    with pytest.MonkeyPatch.context() as patch, LoopbackProvider(varied_text, key="sk-1") as provider:
        patch.setenv("OPENAI_API_KEY", "sk-1")
        ran = run(copied, provider, "--json", scorers=",".join((*IN_TRIALS, "detection")))
    return copied, ran


def test_a_run_with_all_of_them_ends_well(asked: tuple[Mini, Ran]) -> None:
    _, ran = asked
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["failures"] == {}
