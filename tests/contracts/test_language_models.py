"""What every language-model provider must do, run over every file in `labeling/llm/`."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys

import pytest

import labeling.llm
from flows.fake_provider import LoopbackProvider, always
from labeling import registry
from labeling.llm import LanguageModel, ask, connect
from labeling.types import Completion, CompletionFailure
from tests.labeling.llm_builders import KEY, QUICK, request

MODELS = {"scripted": "example"}
"""Model to ask for where any name will not do."""
ADDRESSES = {"anthropic": ""}
"""Where below the loopback provider a provider looks for its server, if not at `/v1`."""
OFFLINE = {"scripted"}

NAMES = registry.names(labeling.llm)
names = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def model_of(name: str, provider: LoopbackProvider) -> tuple[str, LanguageModel]:
    full_name = f"{name}/{MODELS.get(name, 'tiny')}"
    return full_name, connect(full_name, base_url=provider.url + ADDRESSES.get(name, "/v1"), retry=QUICK)


@names
def test_create_takes_the_settings_that_connect_passes(name: str) -> None:
    create = importlib.import_module(f"labeling.llm.{name}").create
    parameters = inspect.signature(create).parameters
    assert set(parameters) == {"model", "base_url", "max_in_flight", "timeout_seconds", "retry", "limits"}
    assert all(parameter.kind is inspect.Parameter.KEYWORD_ONLY for parameter in parameters.values())


@names
def test_there_is_one_result_for_each_request_and_none_for_none(name: str) -> None:
    with LoopbackProvider() as provider:
        full_name, model = model_of(name, provider)
        results = ask(model, [request(f"question {number}", model=full_name) for number in range(5)])
        assert ask(model, []) == []
    assert [type(result) for result in results] == [Completion] * 5
    assert all(isinstance(one, Completion) and one.input_tokens and one.output_tokens for one in results)


@names
def test_a_model_can_be_asked_several_times_from_different_event_loops(name: str) -> None:
    with LoopbackProvider() as provider:
        full_name, model = model_of(name, provider)
        for _ in range(3):
            (result,) = ask(model, [request("again", model=full_name)])
            assert isinstance(result, Completion)


@pytest.mark.parametrize("name", sorted(set(NAMES) - OFFLINE))
def test_a_request_that_fails_is_a_result(name: str) -> None:
    with LoopbackProvider(faults=always("empty")) as provider:
        full_name, model = model_of(name, provider)
        (result,) = ask(model, [request("why?", model=full_name)])
    assert isinstance(result, CompletionFailure)
    assert result.reason == "empty"


@names
def test_importing_a_provider_does_not_import_its_sdk(name: str) -> None:
    code = f"import sys, labeling.llm.{name}; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"anthropic", "openai", "prefect", "torch", "polars", "duckdb"} & set(loaded)
