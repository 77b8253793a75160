"""Servers that refuse schemas or log-probabilities are asked without: found out once, the same in the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from flows.fake_provider import LoopbackProvider
from labeling.errors import FeatlasError
from labeling.ledger import Ledger, request_key
from labeling.ledger_model import LedgerModel
from labeling.llm import _extras, ask
from labeling.llm._dispatch import Reply
from labeling.llm._endpoint import Endpoint
from labeling.llm._faults import Fault, status_fault
from labeling.types import Completion, LLMRequest, NumberToken
from tests.labeling.llm_builders import KEY, KEY_NAMES, PROVIDERS, SCHEMA, request, requests, texts, tiny

ENDPOINT = Endpoint("openai", "tiny", "http://host/v1", "OPENAI_API_KEY", KEY)
ANSWER = Completion("yes", "stop", 1, 0, 1, 0.0)
each_provider = pytest.mark.parametrize("name", PROVIDERS)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for variable in KEY_NAMES:
        monkeypatch.setenv(variable, KEY)
    yield
    _extras._WITHOUT.clear()  # a later test's server may have the same port


@each_provider
def test_a_server_that_refuses_schemas_is_asked_without_and_stays_known(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with LoopbackProvider(lambda asked: asked.user, takes_schemas=False) as provider:
        model = tiny(provider, name)
        first = ask(model, requests(1, model=f"{name}/tiny"))
        later = ask(model, requests(20, model=f"{name}/tiny"))
    assert texts(first) == ["question 0"]
    assert texts(later) == [f"question {number}" for number in range(20)]
    assert provider.counts()["calls"] == 1 + 21  # one refusal, of the first
    assert [asked.schema for asked in provider.asked] == [{}] * 21
    (said,) = [record.getMessage() for record in caplog.records if "schema" in record.getMessage()]
    assert "takes no JSON schema" in said
    assert KEY not in said


@each_provider
def test_requests_that_find_it_out_together_say_it_once(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with LoopbackProvider(lambda asked: "yes", takes_schemas=False, latency_seconds=0.05) as provider:
        results = ask(tiny(provider, name, max_in_flight=8), requests(8, model=f"{name}/tiny"))
    assert texts(results) == ["yes"] * 8
    assert [isinstance(result, Completion) and result.attempts for result in results] == [1] * 8
    assert sum("takes no JSON schema" in record.getMessage() for record in caplog.records) == 1


@each_provider
def test_the_ledger_knows_the_request_as_it_was(name: str, tmp_path: Path) -> None:
    asked = request("why?", model=f"{name}/tiny")
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        with LoopbackProvider(lambda asked: "because", takes_schemas=False) as provider:
            ask(LedgerModel(tiny(provider, name), ledger), [asked])
        assert ledger.request(request_key(asked)).schema == SCHEMA
        with LoopbackProvider() as other:
            assert texts(ask(LedgerModel(tiny(other, name), ledger), [asked])) == ["because"]
        assert other.asked == []


@pytest.mark.parametrize(
    "said",
    [
        "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.",
        "This response_format type is unavailable now",
        "This model does not support response format `json_schema`.",
        "output_config: Extra inputs are not permitted",
        "litellm.UnsupportedParamsError: tiny does not support parameters: ['response_format']",
        "{'detail': [{'loc': ['body', 'response_format', 'type'], 'msg': 'Input should be text'}]}",
    ],
)
@pytest.mark.parametrize("status", [400, 422])
def test_the_words_of_known_servers_are_understood(said: str, status: int) -> None:
    sent = Sent(status_fault(ENDPOINT, status, {"error": {"message": said}}, {}), ANSWER)
    assert sent.outcome() == ANSWER
    assert sent.with_schema == [True, False]
    assert not _extras.takes(ENDPOINT, "schema")


def test_a_server_that_names_schemas_in_whatever_it_refuses_keeps_getting_them() -> None:
    refused = status_fault(ENDPOINT, 422, "no such field: seed; the body was {'response_format': ...}", {})
    sent = Sent(refused, refused)
    assert sent.outcome() == refused
    assert sent.with_schema == [True, False]
    assert _extras.takes(ENDPOINT, "schema")


@pytest.mark.parametrize(
    "fault",
    [
        status_fault(ENDPOINT, 400, {"error": {"message": "temperature is not supported"}}, {}),
        status_fault(ENDPOINT, 400, {"error": {"message": "prompt is too long for this response_format"}}, {}),
        status_fault(ENDPOINT, 500, {"error": {"message": "response_format"}}, {}),
        Fault("timeout", True, "json_schema"),
    ],
)
def test_other_faults_are_not_asked_again_without_a_schema(fault: Fault) -> None:
    sent = Sent(fault, ANSWER)
    assert sent.outcome() == fault
    assert sent.with_schema == [True]


WANTS_LOGPROBS = replace(request("why?"), top_logprobs=5)
SEVEN = NumberToken(0, 1, (("7", 0.8), ("6", 0.1), ("8", 0.1)))


def answer_of(provider: LoopbackProvider, asked: LLMRequest) -> Completion:
    (result,) = ask(tiny(provider), [asked])
    assert isinstance(result, Completion)
    return result


def test_log_probabilities_come_where_they_are_asked_for_and_only_there() -> None:
    with LoopbackProvider(lambda asked: "7") as provider:
        assert answer_of(provider, WANTS_LOGPROBS).number_tokens == (SEVEN,)
        assert answer_of(provider, request("why?")).number_tokens is None
    assert [asked.body.get("top_logprobs") for asked in provider.asked] == [5, None]
    assert ["logprobs" in asked.body for asked in provider.asked] == [True, False]


def test_a_server_that_refuses_log_probabilities_is_asked_without_and_stays_known(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with LoopbackProvider(lambda asked: "7", logprobs="refuses") as provider:
        first = [answer_of(provider, WANTS_LOGPROBS), answer_of(provider, WANTS_LOGPROBS)]
    assert [(answer.text, answer.number_tokens) for answer in first] == [("7", None)] * 2
    assert ["logprobs" in asked.body for asked in provider.asked] == [True, False, False]
    assert all(asked.schema == SCHEMA for asked in provider.asked)
    (said,) = [record.getMessage() for record in caplog.records if "log-prob" in record.getMessage()]
    assert "gives no log-probabilities" in said


def test_a_server_that_takes_neither_is_asked_without_both() -> None:
    with LoopbackProvider(lambda asked: "7", logprobs="refuses", takes_schemas=False) as provider:
        assert answer_of(provider, WANTS_LOGPROBS).text == "7"
        assert answer_of(provider, WANTS_LOGPROBS).text == "7"
    assert provider.counts()["calls"] == 4
    assert not _extras.takes(replace(ENDPOINT, url=provider.openai_url), "schema")
    assert not _extras.takes(replace(ENDPOINT, url=provider.openai_url), "logprobs")


def test_a_server_that_ignores_log_probabilities_gives_its_answer_alone() -> None:
    with LoopbackProvider(lambda asked: "7", logprobs="ignores") as provider:
        answer = answer_of(provider, WANTS_LOGPROBS)
    assert (answer.text, answer.number_tokens, provider.counts()["calls"]) == ("7", None, 1)


@pytest.mark.parametrize("status", [400, 403, 422])
@pytest.mark.parametrize(
    "said",
    [
        "You are not allowed to request logprobs from this model.",
        "Unsupported parameter: 'logprobs' is not supported with this model.",
        "Value error, top_logprobs must be at most 5",
    ],
)
def test_refusals_of_log_probabilities_stop_no_run(said: str, status: int) -> None:
    fault = _extras.refusal(ENDPOINT, status, {"error": {"message": said}}, {})
    assert (fault.reason, fault.retryable) == ("logprobs_refused", False)
    assert Sent(fault, ANSWER).outcome() == ANSWER
    with pytest.raises(FeatlasError, match="may not use"):
        _extras.refusal(ENDPOINT, 403, {"error": {"message": "Not on your plan."}}, {})


class Sent:
    """Replies in turn, and which of the requests brought a schema."""

    def __init__(self, *outcomes: Completion | Fault) -> None:
        self.left = list(outcomes)
        self.with_schema: list[bool] = []

    async def send(self, extras: _extras.Extras) -> Reply:
        self.with_schema.append("schema" in extras)
        return Reply(self.left.pop(0))

    def outcome(self) -> Completion | Fault:
        return asyncio.run(_reply(self)).outcome


async def _reply(sent: Sent) -> Reply:
    return await _extras.send_with_or_without(ENDPOINT, sent.send)
