"""The dashboard as a person uses it, in a real browser: nothing complains, nobody else is asked, and clicks lead on."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from labeling.workspace import Workspace
from tests.dashboards.browsing import browsing
from tests.dashboards.build import make, publish
from tests.dashboards.serving import Served, serving
from tests.dashboards.test_pages import PAGES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    workspace = publish(make(n_features=2000), Workspace(tmp_path_factory.mktemp("browser") / "workspace"))
    with serving(workspace) as server:
        yield server


def address(served: Served, path: str) -> str:
    return f"http://127.0.0.1:{served.port}{path}"


def test_every_page_opens_without_a_complaint_and_asks_nobody_else(served: Served) -> None:
    with browsing() as watched:
        for path in PAGES:
            watched.page.goto(address(served, path))
        assert watched.complaints == []
        assert {url.split("/")[2] for url in watched.asked if not url.startswith("data:")} == {
            f"127.0.0.1:{served.port}"
        }


@pytest.mark.parametrize("width", [360, 1280])
def test_pages_fit_the_screen(served: Served, width: int) -> None:
    with browsing(width=width) as watched:
        for path in PAGES:
            watched.page.goto(address(served, path))
            wide = watched.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert (path, wide) == (path, 0)


def test_pages_follow_the_dark_mode_of_the_system(served: Served) -> None:
    with browsing(dark=True) as watched:
        watched.page.goto(address(served, "/"))
        background = watched.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert all(int(part) < 60 for part in re.findall(r"\d+", background)[:3])


def test_a_person_searches_filters_and_pages_on(served: Served) -> None:
    with browsing() as watched:
        page = watched.page
        page.goto(address(served, "/features?set=demo"))
        page.fill("input[name=q]", "comma")
        page.select_option("select[name=status]", "ok")
        page.click("main button:has-text('Show')")
        assert "q=comma" in page.url
        first = page.locator("table.list td a").first.inner_text()
        page.keyboard.press("n")  # next page
        page.wait_for_url("**after=**")
        assert page.locator("table.list td a").first.inner_text() != first
        page.locator("table.list td a").first.click()
        assert "/feature/" in page.url


def test_a_person_switches_contexts_drills_down_and_walks_on_by_keys(served: Served) -> None:
    with browsing() as watched:
        page = watched.page
        page.goto(address(served, "/feature/1?set=demo"))
        assert "activation" in (page.locator("mark").first.get_attribute("title") or "")
        page.click("text=with text around")
        assert page.locator(".beside").count() > 0
        page.click("text=broken")
        page.locator("a[href*='scorer=pattern']").first.click()
        assert page.locator(".verdict").count() > 0
        page.goto(address(served, "/feature/1?set=demo"))
        page.keyboard.press("ArrowRight")
        page.wait_for_url("**/feature/2?**")
        page.keyboard.press("/")
        page.keyboard.type("11\n")
        page.wait_for_url("**/feature/11?**")


def test_a_person_zooms_into_the_map_until_a_feature_opens(served: Served) -> None:
    with browsing() as watched:
        page = watched.page
        page.goto(address(served, "/map?set=demo"))
        assert "features of a cell" in page.inner_text("main")
        page.locator("svg.map a circle").last.click(force=True)
        page.wait_for_url("**at=**")
        assert "Each point is a feature" in page.inner_text("main")
        page.locator("svg.map a circle").first.click(force=True)
        page.wait_for_url("**/feature/**")
        page.go_back()
        page.keyboard.press("0")
        page.wait_for_url(lambda url: "/map" in url and "at=" not in url)


def test_a_person_asks_in_sql(served: Served) -> None:
    with browsing() as watched:
        page = watched.page
        page.goto(address(served, "/sql"))
        page.fill("textarea", "select feature, score from labels where score is not null limit 7")
        page.press("textarea", "Control+Enter")
        page.wait_for_selector("table.answer")
        assert page.locator("table.answer tbody tr").count() == 7
        with page.expect_download() as download:
            page.click("text=CSV")
        assert download.value.suggested_filename == "answer.csv"


def test_a_person_runs_an_example_of_several_lines(served: Served) -> None:
    with browsing() as watched:
        page = watched.page
        page.goto(address(served, "/sql"))
        page.click("text=Best labels")
        page.click("main button:has-text('Run')")
        page.wait_for_url("**%0D%0A**")  # forms end lines so
        assert page.locator("table.answer tbody tr").count() == 20
        assert page.locator("textarea").input_value().count("\n") == 4


def test_a_choice_is_shown_at_once(served: Served) -> None:
    with browsing() as watched:
        page = watched.page
        page.goto(address(served, "/map?set=demo"))
        page.select_option("select[name=color]", "score")
        page.wait_for_url("**color=score**")
        page.select_option("select[name=set]", "demo-random")
        page.wait_for_url("**set=demo-random**")
