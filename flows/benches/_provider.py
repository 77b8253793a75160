"""The fake provider in a process of its own, so that what is measured shares no CPU time and no fate with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import flows
from labeling.errors import FeatlasError

HERE = Path(flows.__file__).resolve().parents[1]
"""Where our packages lie: what a child process imports is what is measured here."""
ANSWER_SECONDS = 10.0
"""The provider answers these calls from memory."""


@dataclass(frozen=True)
class Provider:
    """A provider that runs, and where."""

    url: str
    """For the OpenAI SDK."""
    anthropic_url: str

    def counts(self) -> dict[str, int]:
        counts: dict[str, int] = self._get("counts")
        return counts

    def questions(self) -> dict[str, int]:
        """How often each question came, by the name that `fake_provider.question_name` gives it."""
        questions: dict[str, int] = self._get("questions")
        return questions

    def _get(self, what: str) -> Any:
        with urllib.request.urlopen(f"{self.anthropic_url}/{what}", timeout=ANSWER_SECONDS) as reply:
            return json.load(reply)


@contextmanager
def serve(*options: str) -> Iterator[Provider]:
    """Start a provider with these options of `python -m flows.fake_provider`, and end it, whatever happens to us."""
    command = [sys.executable, "-m", "flows.fake_provider", "--until-input-ends", *options]
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=child_environment(), start_new_session=True
    )
    assert child.stdout is not None
    assert child.stdin is not None
    try:
        place = json.loads(_first_line(child, child.stdout))
        yield Provider(place["openai"], place["anthropic"])
    finally:
        child.kill()
        child.wait()
        child.stdin.close()
        child.stdout.close()


def _first_line(child: subprocess.Popen[bytes], said: IO[bytes]) -> bytes:
    """Where the provider answers. Raise FeatlasError when it ended instead."""
    line = said.readline()
    if not line:
        raise FeatlasError(
            f"The fake provider ended with exit code {child.wait(ANSWER_SECONDS)} before it answered; it should say "
            "where it listens. What it printed above says why."
        )
    return line


def child_environment() -> dict[str, str]:
    """Our environment for a child, without what it says of configs and servers, and with our packages first."""
    kept = {name: value for name, value in os.environ.items() if not _is_setting(name)}
    path = [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**kept, "PYTHONPATH": os.pathsep.join(path)}


def _is_setting(name: str) -> bool:
    return name.startswith("FEATLAS_") or name in ("PREFECT_API_URL", "OPENAI_BASE_URL", "ANTHROPIC_BASE_URL")
