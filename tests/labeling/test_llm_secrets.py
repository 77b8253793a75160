"""Keys in whatever form a server repeats them are in no answer, message, log or ledger."""

from __future__ import annotations

import html
import json
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from flows.fake_provider import LoopbackProvider
from labeling.ledger import Ledger
from labeling.ledger_model import LedgerModel
from labeling.llm import ask
from labeling.llm._endpoint import Endpoint
from labeling.llm._faults import status_fault
from labeling.llm._secrets import without_secret
from tests.labeling.llm_builders import PROVIDERS, requests, texts, tiny

KEY = 'sk-a/b+c="d>0123456789?~<~'
"""With everything that some encoding changes."""
Form = Callable[[str], str]
FORMS: dict[str, Form] = {
    "plain": lambda key: key,
    "bearer": lambda key: f"Authorization: Bearer {key}",
    "url": lambda key: f"?key={quote(key, safe='')}&more=1",
    "url, lower case": lambda key: quote_plus(key).lower(),
    "json": lambda key: json.dumps({"key": key}),
    "html": lambda key: html.escape(key),
    "hexadecimal": lambda key: key.encode().hex(),
    "base64": lambda key: b64encode(key.encode()).decode(),
    "base64 of a header": lambda key: b64encode(f"Bearer {key}".encode()).decode(),
    "base64 of credentials": lambda key: f"Basic {b64encode(f'u:{key}'.encode()).decode()}",
    "base64 inside of more": lambda key: b64encode(f"x{key} and more".encode()).decode(),
    "base64 for addresses": lambda key: urlsafe_b64encode(f"xy{key}!".encode()).decode(),
}
ENDPOINT = Endpoint("openai", "tiny", "http://host/v1", "OPENAI_API_KEY", KEY)


def pieces(text: str) -> set[str]:
    """All parts of ten characters: enough of a key to know it by."""
    return {text[start : start + 10] for start in range(len(text) - 9)}


SECRET = set.union(
    *(pieces(form) for form in (KEY, quote(KEY, safe=""), json.dumps(KEY)[1:-1], html.escape(KEY), KEY.encode().hex())),
    *(
        pieces(encode(b"\0" * before + KEY.encode()).decode()[4:-4])
        for before in range(3)
        for encode in (b64encode, urlsafe_b64encode)
    ),
)


@pytest.mark.parametrize("form", FORMS)
def test_no_form_of_a_key_is_left_in_a_text(form: str) -> None:
    repeated = FORMS[form](KEY)
    left = without_secret(f"before {repeated} after", KEY, "[KEY]")
    assert "[KEY]" in left
    assert left.startswith("before ")
    assert left.endswith(" after")
    assert not pieces(left) & SECRET


@pytest.mark.parametrize("form", FORMS)
def test_errors_of_a_server_hold_no_form_of_the_key(form: str) -> None:
    fault = status_fault(ENDPOINT, 400, {"error": {"message": FORMS[form](KEY)}}, {})
    assert "[OPENAI_API_KEY]" in fault.detail
    assert KEY not in fault.detail


def test_text_without_the_key_stays_as_it_is() -> None:
    text = 'Any text, even "c2stYS9i" or sk-a/b, and 100 % of it: ' + "QUJD" * 50
    assert without_secret(text, KEY, "[KEY]") == text


def test_a_word_that_is_given_as_a_key_is_left_in_answers_and_not_in_messages() -> None:
    word = Endpoint("openai", "tiny", "http://host/v1", "OPENAI_API_KEY", "none")
    assert word.without_key('{"label": "none of these"}') == '{"label": "none of these"}'
    assert word.scrub("the key none is wrong") == "the key [OPENAI_API_KEY] is wrong"


@pytest.mark.parametrize("name", PROVIDERS)
def test_answers_that_repeat_the_key_bring_no_form_of_it_into_the_ledger(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    for variable in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.setenv(variable, KEY)
    said = "\n".join(form(KEY) for form in FORMS.values())
    with LoopbackProvider(lambda asked: said) as provider, Ledger(tmp_path / "ledger.sqlite") as ledger:
        (answer,) = texts(ask(LedgerModel(tiny(provider, name), ledger), requests(1, model=f"{name}/tiny")))
    stored = b"".join(file.read_bytes() for file in tmp_path.iterdir()).decode("latin-1")
    assert "[OPENAI_API_KEY]" in stored or "[ANTHROPIC_API_KEY]" in stored
    for text in (answer, stored, caplog.text):
        assert not pieces(text) & SECRET
