from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from html import unescape
from pathlib import Path

import polars as pl
import pytest

from dashboards.app import HEADERS, create_app
from dashboards.pages.sql import EXAMPLES
from dashboards.queries import open_reader
from dashboards.reports.feature import create
from labeling.statements import literal
from labeling.workspace import Workspace
from tests.dashboards.build import NASTY, make, publish
from tests.dashboards.serving import Served, serving, serving_app

TRUE, SHUFFLED = "token_pattern~~pattern~~", "token_pattern~~pattern~~shuffled"
COMPARED = f"set=demo&a={TRUE}&b={SHUFFLED}"
PAGES = (
    "/",
    "/scoreboard",
    "/scoreboard?columns=quantiles&sort=recall_q5",
    f"/scoreboard?columns=evidence&{COMPARED}",
    "/features",
    "/features?q=often&in=label&sort=score&dir=asc",
    "/feature/0",
    "/feature/0?split=explain&n=20&width=wide&breaks=1",
    "/feature/0/judgments",
    "/feature/1",
    "/feature/1/evidence?explanation=s1-1",
    "/embed/feature/0",
    "/map",
    "/map?color=score&q=comma",
    "/map?color=density",
    "/neighborhood/0",
    "/runs",
    "/runs/run1",
    "/sql",
    "/sql?q=select+label,+score+from+labels&plot=1",
)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    place = Workspace(tmp_path_factory.mktemp("pages") / "workspace")
    return publish(make(n_features=120), place)


@pytest.fixture(scope="module")
def served(workspace: Workspace) -> Iterator[Served]:
    with serving(workspace) as server:
        yield server


@pytest.mark.parametrize("address", PAGES)
def test_a_page_shows_hostile_text_as_text(served: Served, address: str) -> None:
    page = served.get(address)
    assert page.status == 200, page.text
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "<script>alert" not in page.text
    assert "=1+1 49" not in page.text  # what a template would make of it
    assert not re.search(r"[\x00-\x08\x1b\u202e]", page.text)


def test_template_syntax_in_a_label_is_shown_as_it_is(served: Served) -> None:
    for address in ("/feature/1", "/features?q=script"):
        assert "=1+1 {{ 7*7 }}" in served.get(address).text


@pytest.mark.parametrize("address", PAGES)
def test_a_page_loads_nothing_from_elsewhere_and_runs_nothing_inline(served: Served, address: str) -> None:
    page = served.get(address)
    tags = re.findall(r"<[a-zA-Z][^>]*>", page.text)
    assert [tag for tag in tags if re.search(r"""\s(on\w+|style)\s*=|(?:href|src)=["']?(?:https?:)?//""", tag)] == []
    assert re.findall(r"<script(?![^>]*\ssrc=)[^>]*>", page.text) == []
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert ("frame-ancestors *" in policy) == address.startswith("/embed/")
    assert page.headers["x-content-type-options"] == "nosniff"


def test_every_link_of_every_page_leads_somewhere(served: Served) -> None:
    waiting, seen, broken = ["/"], set[str](), []
    while waiting and len(seen) < 250:
        address = waiting.pop()
        if (shape := re.sub(r"\d+", "N", address)) in seen:
            continue
        seen.add(shape)
        page = served.get(address)
        if page.status not in (200, 303):
            broken.append((address, page.status))
        elif page.status == 303:
            waiting.append(page.headers["location"])
        elif page.headers["content-type"].startswith("text/html"):
            waiting += page.links()
    assert broken == []
    assert len(seen) > 60


def test_a_feature_page_shows_contexts_labels_scores_neighbors_and_origin(served: Served) -> None:
    page = served.get("/feature/1", set="demo").text
    for heading in ("Where it fires", "How strongly", "What explainers wrote", "Neighbors", "Where this comes from"):
        assert heading in page
    assert 'title="activation' in page
    assert "Silent: one of its tokens" in page
    assert page.count("<code>headline</code>") == 2  # two scorers
    assert "fires on 0.10 % of tokens (300 of 300,000)" in page
    assert 'rel="prev"' in page and 'rel="next"' in page  # noqa: PT018


def test_output_tokens_stand_on_the_page_and_the_card_of_a_feature_that_has_them(
    served: Served, workspace: Workspace
) -> None:
    page = served.get("/feature/1", set="demo").text
    assert re.findall(r"<code>(top|bottom)(\d)", page.split('id="logits"')[1]) == [
        (side, str(rank)) for side in ("top", "bottom") for rank in range(3)
    ]
    assert 'id="logits"' not in served.get("/feature/2", set="demo").text
    with open_reader(workspace) as reader:
        cards = [repr(create(feature=number).write(reader, command="").blocks) for number in (1, 2)]
    assert ["more and less likely" in card for card in cards] == [True, False]


def test_the_embedded_view_has_only_what_was_asked_for(served: Served) -> None:
    page = served.get("/embed/feature/1", set="demo", show="contexts").text
    assert 'id="contexts"' in page
    assert "What explainers wrote" not in page
    assert "<nav" not in page


@pytest.mark.parametrize("asked", [{}, {"show": "contexts,scores"}, {"show": "scores"}])
def test_the_embedded_view_has_scores_without_what_explainers_wrote(served: Served, asked: dict[str, str]) -> None:
    page = served.get("/embed/feature/1", set="demo", **asked).text
    assert page.count("<code>headline</code>") == 2  # two scorers
    assert "Intruder found" in page
    assert "What explainers wrote" not in page


def test_scores_stand_once_where_explanations_are_shown_too(served: Served) -> None:
    page = served.get("/embed/feature/1", set="demo", show="explanations,scores").text
    assert page.count("<code>headline</code>") == 2
    assert 'id="scores"' not in page
    assert "<code>headline</code>" not in served.get("/embed/feature/1", set="demo", show="explanations").text


def test_switches_of_the_embedded_view_keep_its_sections(served: Served) -> None:
    page = served.get("/embed/feature/1", set="demo", show="contexts,scores", n=2)
    switches = [address for address in page.links() if address.startswith("/embed/")]
    assert len(switches) == 10
    assert all("show=contexts%2Cscores" in address for address in switches)


def test_judged_windows_are_hits_misses_or_without_an_answer(served: Served) -> None:
    page = served.get("/feature/1/judgments", set="demo", scorer="pattern").text
    counts = {name: int(n) for name, n in re.findall(r">(all windows|misses|without an answer) \((\d+)\)", page)}
    assert counts["all windows"] == page.count('class="verdict"')
    assert counts["without an answer"] == 1
    assert "window too long" in page
    only = served.get("/feature/1/judgments", set="demo", scorer="pattern", show="misses").text
    assert only.count('class="verdict">miss<') == only.count('class="verdict"') == counts["misses"]


def test_two_rows_of_the_scoreboard_are_compared_over_the_features_they_share(served: Served) -> None:
    page = served.get("/scoreboard", set="demo", a=TRUE, b=SHUFFLED).text
    said = re.sub(r"<[^>]*>", "", page.split('id="compare"')[1].split("</section>")[0])
    assert re.search(r"A is higher: A − B = \+0\.\d", said)
    assert "p &lt; 0.001" in said
    assert "Paired over the same features" in said
    other = served.get("/scoreboard", set="demo", a=TRUE, b="token_pattern~~pattern~~random_weights").text
    assert "Not paired, the features are different ones" in other


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ({"a": TRUE, "b": TRUE}, 200, "are the same row"),
        ({"a": TRUE, "b": "~~pattern~~no_label"}, 200, "0 and 0 features have a value of headline"),
        ({"a": TRUE, "b": "nobody"}, 400, "b must name a row"),
        ({"a": TRUE, "b": SHUFFLED, "by": "nothing"}, 400, "by must be a metric of the scoreboard"),
    ],
)
def test_what_cannot_be_compared_is_told(served: Served, asked: dict[str, str], status: int, said: str) -> None:
    page = served.get("/scoreboard", set="demo", **asked)
    assert page.status == status
    assert said in page.text


def board(served: Served, **asked: str) -> list[list[str]]:
    """Texts of the rows of the scoreboard, cell by cell."""
    rows = served.get("/scoreboard", set="demo", **asked).text.split("<tbody>")[1].split("</tbody>")[0].split("<tr")[1:]
    return [
        [re.sub(r"<[^>]*>", " ", cell).strip() for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.S)] for row in rows
    ]


def test_controls_that_no_explainer_wrote_stand_below_the_labels_they_are_controls_of(served: Served) -> None:
    rows = [(by, scorer, which.split("  ")[0]) for by, scorer, which, *_ in board(served)]
    start = rows.index(("token_pattern", "pattern", "True labels"))
    assert ("any explainer", "pattern", "A generic label") in rows[start : start + 8]
    assert ("any explainer", "pattern", "No label") in rows[start : start + 8]
    assert {scorer for _, scorer, _ in rows[start : start + 8]} == {"pattern"}


def test_rows_of_the_scoreboard_are_sorted_by_features_lost_cost_and_tokens_too(served: Served) -> None:
    def scorers(**asked: str) -> list[str]:
        return [scorer for _, scorer, which, *_ in board(served, **asked) if which == "True labels"]

    assert scorers(sort="n_unscored") == ["embedding", "pattern"]
    assert scorers(sort="n_unscored", dir="asc") == ["pattern", "embedding"]
    assert scorers(sort="headline", dir="asc") == ["embedding", "pattern"]
    head = served.get("/scoreboard", set="demo", columns="cost", sort="tokens_each").text
    assert 'aria-sort="descending"' in head
    assert "sort=tokens_each&amp;dir=asc" in head
    assert "Tokens of prompts and answers" in head


@pytest.mark.parametrize(("x", "y"), [("average_precision_lift", "weighted_correlation"), ("headline", "recall_q5")])
def test_points_of_any_metrics_lie_inside_the_figure(served: Served, x: str, y: str) -> None:
    figure = served.get("/scoreboard", set="demo", x=x, y=y).text.split('id="metrics"')[1]
    points = re.findall(r'<circle cx="([\d.-]+)" cy="([\d.-]+)"', figure)
    assert all(60 <= float(across) <= 530 and 20 <= float(up) <= 310 for across, up in points)
    assert len({across for across, _ in points}) > 4
    assert len({up for _, up in points}) > 4
    if y == "weighted_correlation":  # controls are below 0
        assert ">-0.1</text>" in figure


def test_strips_of_a_column_are_drawn_on_the_scale_of_its_metric(served: Served) -> None:
    page = served.get("/scoreboard", set="demo", columns="corpus").text.split("</table>")[0]
    lifts = re.findall(r"<b>(7\.\d+)</b>.*?<circle cx=\"([\d.]+)%", page, re.S)
    assert lifts
    assert all(abs(float(place) - 100 * float(value) / 8) < 0.1 for value, place in lifts)
    below = re.findall(r"<b>\N{MINUS SIGN}(0\.\d+)</b>.*?<circle cx=\"([\d.]+)%", page, re.S)
    assert below
    assert all(abs(float(place) - 50 * (1 - float(value))) < 0.1 for value, place in below)


def test_a_run_says_what_its_labels_and_scores_cost(tmp_path: Path) -> None:
    made = make(n_features=4, n_control=2)
    made.tables["explanations"][0] |= {"cost_usd": 1.0, "request_keys": ["a"]}
    for row in made.tables["score_groups"]:
        if row["scorer"] == "pattern" and row["control"] in ("", "shuffled") and row["sample_id"] == "s1":
            row |= {"requests": 3, "cost_usd": 0.25}  # on every metric, and counted once
    with serving(publish(made, Workspace(tmp_path / "workspace"))) as served:
        assert '<td class="num nowrap">$1.50</td>' in re.sub(r"\s*\n\s*", "", served.get("/runs").text)
        page = re.sub(r"<[^>]*>|\n", " ", served.get("/runs/run1").text)
    assert re.search(r"Cost\s+\$1\.50\s+for the labels and scores", page)
    assert re.search(r"requests for scores\s+pattern\s+with controls\s+6\s+\$0\.50", page)


def test_the_scoreboard_says_how_far_to_trust_its_scores(served: Served) -> None:
    page = served.get("/scoreboard", set="demo", columns="evidence").text
    assert "87% of the labels beat wrong ones" in page
    assert "Brier skill 0.31" in page
    assert page.count('<g class="true"><line class="whisker"') >= 4
    assert '0.080 <span class="range">0.06–0.10</span>' in page  # the judge changes its mind


def test_a_feature_page_shows_what_scores_mean_tags_neighbors_by_every_method_and_the_feature_itself(
    served: Served,
) -> None:
    page = served.get("/feature/1", set="demo").text
    assert '<td class="num" title="p 0.0003; of 3,000 scores of wrong labels, 95 % are below 0.550">0.012</td>' in page
    assert 'title="0.600 to 0.700">0.660<' in page
    assert "Intruder found" in page.split("The feature itself, whatever its label")[1]
    neighbors = page.split('id="neighbors"')[1]
    assert neighbors.index(">decoder cosine<") < neighbors.index(">firing overlap<")
    assert '<span class="none" title="not among the nearest by this method">–</span>' in neighbors
    assert "a person" in page.split('id="tags"')[1]


def test_tokens_side_by_side_turn_no_other_token_around(served: Served) -> None:
    neighbors = served.get("/feature/1", set="demo").text.split('id="neighbors"')[1].split("</section>")[0]
    assert neighbors.count("<bdi><code>") == neighbors.count("<code>") > 4


@pytest.mark.parametrize("address", ["/map", "/neighborhood/0"])
def test_maps_say_what_their_axes_are(served: Served, address: str) -> None:
    assert "map x and y have no unit" in served.get(address, set="demo").text.split("<svg")[1]


def test_what_an_explainer_was_shown_is_listed_in_its_order(served: Served) -> None:
    page = served.get("/feature/1/evidence", set="demo", explanation="s1-1").text
    assert "3 windows of the split" in page
    assert "No window" not in page
    assert "There is no such explanation" in served.get("/feature/1/evidence", set="demo", explanation="x").text


@pytest.mark.parametrize(
    ("address", "least"),
    [("/feature/1/judgments.csv?set=demo", 5), ("/failures.csv", 2), ("/scoreboard.csv?set=demo", 50)],
)
def test_lists_beside_that_of_features_are_csv_files_too(served: Served, address: str, least: int) -> None:
    page = served.get(address)
    assert page.headers["content-type"].startswith("text/csv")
    assert len(list(csv.reader(io.StringIO(page.text)))) > least


def list_of(served: Served, **asked: str) -> list[int]:
    """All features of a list, page after page."""
    found: list[int] = []
    page = served.get("/features", set="demo", **asked)
    while True:
        found += [int(n) for n in re.findall(r'<td class="num"><a href="/feature/(\d+)', page.text)]
        more = re.search(r'rel="next"[^>]*href="([^"]+)"', page.text)
        if more is None:
            return found
        page = served.get(more.group(1).replace("&amp;", "&"))


@pytest.mark.parametrize("sort", ["score_low", "score", "feature", "firing_rate"])
@pytest.mark.parametrize("direction", ["asc", "desc"])
def test_pages_of_a_list_hold_every_feature_once_in_order(
    served: Served, workspace: Workspace, sort: str, direction: str
) -> None:
    found = list_of(served, sort=sort, dir=direction)
    assert sorted(found) == list(range(120))
    rows = pl.read_csv(served.get("/features.csv", set="demo", sort=sort, dir=direction).text.encode())
    assert rows["feature"].to_list() == found
    values = rows[sort].drop_nulls().to_list()
    assert values == sorted(values, reverse=direction == "desc")
    assert rows[sort][: len(values)].null_count() == 0  # missing ones last


@pytest.mark.parametrize(
    ("asked", "sql"),
    [
        ({"q": "OFTEN after"}, "contains(lower(label), 'often after')"),
        ({"q": "the", "in": "label", "status": "ok"}, "contains(lower(label), 'the') AND status = 'ok'"),
        ({"low": "0.6", "high": "0.8"}, "score_low >= 0.6 AND score_high <= 0.8"),
        ({"score": "0.7", "q_most": "0.05"}, "score >= 0.7 AND q <= 0.05"),
        ({"cluster": "2", "explainer": "token_pattern"}, "cluster = 2 AND explainer = 'token_pattern'"),
        ({"failed": "1"}, "feature IN (SELECT feature FROM explanations WHERE state = 'failed' AND sample_id = 's1')"),
        ({"q": "'; DROP TABLE labels --"}, "false"),
        ({"q": "100%_"}, "false"),
        ({"tag": NASTY}, f"feature IN (SELECT feature FROM tags WHERE tag = {literal(NASTY)})"),
        ({"rate_from": "0.0005", "rate_to": "0.002"}, "firing_rate BETWEEN 0.0005 AND 0.002"),
        (
            {"q": ",", "in": "text"},
            "feature IN (SELECT feature FROM feature_tokens WHERE token = ',' AND sample_id = 's1')",
        ),
    ],
)
def test_filters_keep_what_sql_keeps(served: Served, asked: dict[str, str], sql: str) -> None:
    statement = f"select feature from labels where feature_set = 'demo' and {sql} order by feature"
    wanted = pl.read_csv(served.get("/sql.csv", q=statement).text.encode(), schema={"feature": pl.Int64})
    assert sorted(list_of(served, **asked)) == wanted["feature"].to_list()


def test_csv_cells_that_a_spreadsheet_would_run_are_neutralized(served: Served) -> None:
    rows = list(csv.reader(io.StringIO(served.get("/sql.csv", q="select '=1+1' as a, '@x' as b, -1 as c").text)))
    assert rows == [["a", "b", "c"], ["'=1+1", "'@x", "-1"]]


def test_names_of_csv_columns_and_listed_values_that_a_spreadsheet_would_run_are_neutralized(served: Served) -> None:
    statement = """select 1 as "=cmd", 2 as "'=cmd", 3 as "+b", '@x'::ENUM('@x', 'y') as e, ['=1', 'b'] as l"""
    rows = list(csv.reader(io.StringIO(served.get("/sql.csv", q=statement).text)))
    assert rows == [["'=cmd", "''=cmd", "'+b", "e", "l"], ["1", "2", "3", "'@x", "'=1 | b"]]


@pytest.mark.parametrize(
    ("address", "status", "said"),
    [
        ("/feature/100000", 404, "has no feature 100000"),
        ("/feature/-1", 400, "number"),
        ("/feature/x", 400, "number"),
        ("/features?low=abc", 400, "low must be a number"),
        ("/features?sort=label;drop", 400, "sort"),
        ("/features?after=1", 400, "after must be"),
        ("/features?status=fine", 400, "status must be one of ok, weak, dense, dead, not &#39;fine&#39;."),
        ("/features.csv?status=fine", 400, "status must be one of ok"),
        ("/scoreboard?sort=nothing", 400, "sort must be one of headline, "),
        ("/scoreboard?x=nothing", 400, "x must be one of headline, "),
        ("/scoreboard?y=nothing", 400, "y must be one of headline, "),
        ("/embed/feature/1?show=scores,graph", 400, "show must be one of contexts, histogram, "),
        ("/features?set=nowhere", 404, "There is no feature set &#39;nowhere&#39;. Known: demo, demo-random."),
        ("/map?at=1,2,3", 400, "four numbers"),
        ("/map?at=5,1,0,1", 400, "ascending"),
        (f"/sql?q={'x' * 20_001}", 400, "20000 characters"),
        ("/feature/1?n=0", 400, "n: Input should be greater"),
        ("/feature/1?split=test", 400, "split"),
        ("/embed/feature/1?width=huge", 400, "width"),
        ("/sql.csv", 400, "q: Field required"),
        ("/sql.exe?q=select+1", 400, "form"),
        ("/features?set=%00", 404, "There is no feature set"),
        ("/runs/nobody", 404, "There is no run"),
        ("/nowhere", 404, "no such page"),
        ("/static/../app.py", 404, "Nothing here"),
        ("/static/%2e%2e%2fapp.py", 404, "Nothing here"),
        ("/static/report.html.j2", 404, "Nothing here"),
    ],
)
def test_a_mistake_in_an_address_is_told_on_a_page(served: Served, address: str, status: int, said: str) -> None:
    page = served.get(address)
    assert page.status == status
    assert said in page.text
    assert "Traceback" not in page.text


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("127.0.0.1:80", 200),
        ("[::1]:8600", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
    ],
)
def test_requests_addressed_to_somebody_else_are_refused(served: Served, host: str, status: int) -> None:
    assert served.get("/runs", host=host).status == status


def test_nothing_can_be_changed_over_the_network(served: Served) -> None:
    assert {served.get("/sql", method=method).status for method in ("POST", "PUT", "DELETE", "PATCH")} == {405}


@pytest.mark.parametrize(
    ("path", "host", "method", "status"),
    [
        ("/nowhere", None, "GET", 404),
        ("/feature/x", None, "GET", 400),
        ("/runs", "evil.example", "GET", 421),
        ("/runs", None, "POST", 405),
        ("/static/pages.css", None, "GET", 200),
        ("/features.csv", None, "GET", 200),
        ("/jump", None, "GET", 303),
    ],
)
def test_every_answer_carries_the_policy(served: Served, path: str, host: str | None, method: str, status: int) -> None:
    page = served.get(path, host=host, method=method)
    assert page.status == status
    assert guarded(page.headers)


def guarded(headers: Mapping[str, str]) -> bool:
    """Whether an answer has all headers that keep browsers from doing more than showing it."""
    policy = headers.get("content-security-policy", "")
    return "default-src 'none'" in policy and {name.lower() for name in HEADERS} <= {name.lower() for name in headers}


def test_a_page_that_fails_says_so_under_the_policy(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    app = create_app(workspace)

    @app.get("/fails")
    def fails() -> None:
        raise ZeroDivisionError("a secret of the program")

    with serving_app(app) as served:
        page = served.get("/fails")
    assert (page.status, "This page failed" in page.text, "secret" in page.text) == (500, True, False)
    assert guarded(page.headers)
    assert "a secret of the program" in caplog.text


@pytest.mark.parametrize("path", ["/", "/features.csv?set=demo", "/static/pages.js", "/nowhere", "/jump"])
def test_head_answers_as_get_without_a_body(served: Served, path: str) -> None:
    page, head = served.get(path), served.get(path, method="HEAD")
    assert (head.status, head.text) == (page.status, "")
    assert head.headers.keys() == page.headers.keys()
    assert head.headers.get("content-length") == page.headers.get("content-length")


@pytest.mark.parametrize(
    "statement",
    [
        "delete from snapshot.labels",
        "create table x as select 1",
        "attach '/tmp/x.duckdb' as x",
        "copy (select 1) to '/tmp/featlas-was-here.csv'",
        "select * from read_text('/etc/passwd')",
        "select * from read_csv('/etc/passwd')",
        "select * from '/etc/passwd'",
        "select * from glob('/etc/*')",
        "select * from read_parquet('/tmp/*.parquet')",
        "select getenv('HOME')",
        "export database '/tmp/featlas-was-here'",
        "install httpfs",
        "load httpfs",
        "set memory_limit = '100GB'",
        "pragma database_list",
        "select 1; delete from labels",
    ],
)
def test_the_sql_page_only_reads(served: Served, statement: str) -> None:
    page = served.get("/sql", q=statement)
    assert page.status == 400
    assert 'class="notice failed"' in page.text
    assert 'class="answer"' not in page.text
    assert not Path("/tmp/featlas-was-here.csv").exists()
    assert served.get("/sql.csv", q=statement).status == 400


def test_the_sql_page_answers_as_table_plot_and_files(served: Served) -> None:
    statement = "select feature, score from labels where score is not null order by feature"
    page = served.get("/sql", q=statement, plot="1").text
    assert "<svg" in page
    assert '<th class="num">score</th>' in page
    rows = pl.read_csv(served.get("/sql.csv", q=statement).text.encode())
    assert len(rows) == page.split('<table class="answer">')[1].count("<tr>") - 1
    assert served.get("/sql.parquet", q=statement).headers["content-disposition"].endswith("answer.parquet")


def statement_of(page: str) -> str:
    """What a browser sends again: the text of the page's field, without the newline that parsers drop."""
    return unescape(page.split("data-run>")[1].split("</textarea>")[0]).removeprefix("\n")


@pytest.mark.parametrize("statement", [*EXAMPLES.values(), "\nselect\t'</textarea><script>alert(1)</script>&amp;'\n"])
def test_a_statement_stays_as_it_was_typed(served: Served, statement: str) -> None:
    page = served.get("/sql", q=statement)
    assert (page.status, statement_of(page.text)) == (200, statement)
    assert "<script>alert" not in page.text


def test_a_statement_is_read_with_the_line_ends_that_forms_send(served: Served) -> None:
    page = served.get("/sql", q="select length('a\r\nb')\r\n").text
    assert statement_of(page) == "select length('a\nb')\n"
    assert '<td class="num" dir="auto">3</td>' in page


def test_the_configuration_of_a_run_keeps_its_lines(served: Served) -> None:
    shown = served.get("/runs/run1").text.split("<pre>")[1].split("</pre>")[0]
    assert unescape(shown) == '{\n  "sample": {\n    "seed": 0\n  }\n}'


@pytest.mark.parametrize(
    "statement",
    [
        "select cluster, sum(feature) from labels group by all",
        "select 0.5 as x, 1 as y union all select 1.5, 3",
        "select label, sum(feature) as n from labels group by label limit 5",
        "select sum(feature) as n from labels",
        "select 1::uhugeint as x, null as y",
    ],
)
def test_decimals_and_huge_numbers_are_plotted(served: Served, statement: str) -> None:
    page = served.get("/sql", q=statement, plot="1")
    assert page.status == 200
    assert 'aria-label="Plot of the answer"' in page.text


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("[1, 2]", "1 | 2"),
        ("[[1], [2, 3]]", "[[1], [2, 3]]"),
        ("{'a': 1, 'b': [2]}", "{'a': 1, 'b': [2]}"),
        ("map {'a': 1}", "{'a': 1}"),
        ("[1, 2]::INTEGER[2]", "[1, 2]"),
        ("'=x'::BLOB", "b'=x'"),
        ("[{'a': date '2020-01-02'}]", "[{'a': datetime.date(2020, 1, 2)}]"),
        ("[interval 1 day]", "[1 day]"),
        ("union_value(k := 1)", "1"),
        ("NULL::STRUCT(a INTEGER)", ""),
    ],
)
def test_every_kind_of_value_is_a_cell_and_a_value_of_the_files(served: Served, value: str, cell: str) -> None:
    page = served.get("/sql.csv", q=f"select {value} as v, 1 as n")
    assert (page.status, list(csv.reader(io.StringIO(page.text)))) == (200, [["v", "n"], [cell, "1"]])
    assert served.get("/sql", q=f"select {value} as v").status == 200
    assert served.get("/sql.parquet", q=f"select {value} as v").status == 200


def test_a_statement_that_takes_too_long_is_stopped(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboards.pages.sql.SECONDS", 0.3)
    page = served.get(
        "/sql", q="select count(*) from range(1000000000) a, range(1000000) b where a.range % 7 = b.range % 5"
    )
    assert "was stopped after 0.3 seconds" in page.text


def test_the_page_of_dictionary_columns_names_the_large_tables_too(served: Served) -> None:
    page = served.get("/sql").text
    assert all(f"<code>{table}</code>" in page for table in ("labels", "scores", "contexts", "judgments", "windows"))


def test_features_are_found_by_number_and_by_words(served: Served) -> None:
    assert served.get("/jump", set="demo", feature="7").headers["location"] == "/feature/7?set=demo"
    assert served.get("/jump", set="demo", feature="a b").headers["location"] == "/features?set=demo&q=a+b"
    assert re.fullmatch(r"/feature/\d+\?set=demo", served.get("/random", set="demo").headers["location"])
