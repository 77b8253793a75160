"""A real browser for tests: Debian's Chromium, driven by Playwright, which remembers what went wrong on a page."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Page, sync_playwright


@dataclass
class Watched:
    """A page, with what its console said and whom it asked."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@contextmanager
def browsing(*, dark: bool = False, width: int = 1280) -> Iterator[Watched]:
    """An empty page. Skip the test where there is no browser; continuous integration has one."""
    program = shutil.which("chromium")
    if program is None and not os.environ.get("CI"):
        pytest.skip("needs the program chromium; continuous integration installs it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light")
            watched = Watched(page)
            page.on("console", lambda message: watched.complaints.append(message.text))
            page.on("pageerror", lambda error: watched.complaints.append(str(error)))
            page.on("request", lambda request: watched.asked.append(request.url))
            yield watched
        finally:
            browser.close()
