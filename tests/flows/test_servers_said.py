"""A run says which server its requests go to when that is not the provider's own, and who named it."""

from __future__ import annotations

import pytest

from flows.fake_provider import LoopbackProvider
from flows.llm import server_lines
from tests.flows.mini import Mini, featlas, judge
from tests.flows.test_llm_pipeline import KEY, run

MODELS = ["openai/some", "openai/other", "scripted/example"]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def test_nothing_is_said_of_a_providers_own_server() -> None:
    assert server_lines(MODELS, None, "a file") == []
    assert server_lines(MODELS, "https://api.openai.com/v1/", "a file") == []
    assert server_lines(["scripted/example"], "http://127.0.0.1:1/v1", "a file") == []


def test_another_server_is_named_once_without_what_may_be_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "https://me:secret@host.example:8443/v1?key=hidden"
    (line,) = server_lines(MODELS, secret, "mini.toml")
    assert line == "Requests to openai go to host.example:8443 (llm.base_url, from mini.toml)"
    monkeypatch.setenv("OPENAI_BASE_URL", secret)
    assert server_lines(MODELS, None, "") == ["Requests to openai go to host.example:8443 (OPENAI_BASE_URL)"]


@pytest.mark.slow
def test_an_address_that_the_last_run_left_behind_is_said(mini_copy: Mini, monkeypatch: pytest.MonkeyPatch) -> None:
    with LoopbackProvider(judge) as provider:
        first = run(mini_copy, provider, "--max-requests", "5000", command="label")
        host = f"127.0.0.1:{provider.port}"
        assert f"Requests to openai go to {host} (llm.base_url, from the command line)" in first.err
        monkeypatch.chdir(mini_copy.workspace)  # no config file here
        again = featlas("label", "--workspace", mini_copy.workspace)
        assert again.code == 0, again.err
        assert f"go to {host} (llm.base_url, from the config of the workspace's last run)" in again.err
        assert "As in the workspace's last run: llm.max_requests = 5000. Options replace them." in again.err
        assert "As in the workspace's last run" not in first.err
        collected = featlas("batches", "collect", "--workspace", mini_copy.workspace)
        assert "Requests to" not in collected.err  # nothing is under way, so nobody is asked
