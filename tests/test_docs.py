"""The documents say what is true: their SQL runs, their links lead somewhere, and nothing a user can name is missing."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote

import pytest

import dashboards.exporters
import dashboards.formats
import dashboards.reports
import evals.scorers
import flows.benches
import labeling.corpora
import labeling.dictionaries
import labeling.explainers
import labeling.importers
import labeling.llm
import labeling.sources
from evals.scorers.detection import SYSTEM
from flows.cli import COMMANDS
from flows.commands.options import SHORTCUTS
from labeling import registry, snapshot
from labeling.config import ALL_SECTIONS, default_config_text
from labeling.config_files import DEMO
from labeling.explainers.top_and_random import TopAndRandom
from labeling.packages import PACKAGES
from labeling.sources._lens_names import KINDS
from labeling.workspace import Workspace
from tests.dashboards.build import make, publish
from tests.labeling.tiny_models import CONFIGS

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
VARIANTS: tuple[ModuleType, ...] = (
    labeling.explainers,
    evals.scorers,
    labeling.llm,
    labeling.corpora,
    labeling.sources,
    labeling.dictionaries,
    labeling.importers,
    dashboards.exporters,
    flows.benches,
    dashboards.reports,
    dashboards.formats,
)
COMING = {ROOT / "docs" / "images" / "report.png"}
"""Drawn from the demo's report; not in every checkout."""


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def blocks(path: Path, language: str) -> list[str]:
    """Fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", read(path), re.MULTILINE | re.DOTALL)


def everything() -> str:
    return "\n".join(read(path) for path in DOCUMENTS)


def headings(path: Path) -> set[str]:
    """Names of a document's headings in links: lower case, words joined by dashes."""
    titles = re.findall(r"^#+ (.*)$", read(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return publish(make(n_features=12, n_control=4, documents=4), Workspace(tmp_path_factory.mktemp("docs") / "w"))


QUERIES = [pytest.param(sql, id=f"{path.name}-{n}") for path in DOCUMENTS for n, sql in enumerate(blocks(path, "sql"))]


@pytest.mark.parametrize("sql", QUERIES)
def test_every_query_in_the_documents_runs(workspace: Workspace, sql: str) -> None:
    snapshot.query(workspace, sql)


def test_the_readme_and_the_workspace_page_have_queries() -> None:
    assert len(blocks(README, "sql")) >= 3
    assert len(blocks(ROOT / "docs" / "workspace.md", "sql")) >= 5


def test_every_command_is_in_the_readme() -> None:
    missing = [name for name in COMMANDS if not re.search(rf"`(featlas )?{name}`", read(README))]
    assert not missing, f"say in README.md what these commands do: {missing}"


@pytest.mark.parametrize("package", VARIANTS, ids=lambda package: package.__name__)
def test_every_variant_is_named_in_the_documents(package: ModuleType) -> None:
    text = everything()
    missing = [name for name in registry.names(package) if not re.search(rf"[`/ ]{name}(\.py)?[` \n]", text)]
    assert not missing, f"name these of {package.__name__} in README.md or docs/: {missing}"


def test_every_source_file_is_in_the_list_of_files() -> None:
    listed = set(re.findall(r"`(?:[\w.]+/)*([\w.]+\.py)`", read(README)))
    sources = {file.name for package in PACKAGES for file in (ROOT / package).rglob("*.py")} - {"__init__.py"}
    assert not sources - listed, "add half a line to the files in README.md"


def test_every_link_between_documents_leads_somewhere() -> None:
    broken = []
    for path in DOCUMENTS:
        for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"^```.*?^```$", "", read(path), flags=re.M | re.S)):
            place, _, heading = unquote(target).partition("#")
            file = (path.parent / place).resolve() if place else path
            if target.startswith(("http://", "https://")) or file in COMING:
                continue
            if not file.exists() or (heading and heading not in headings(file)):
                broken.append(f"{path.name}: {target}")
    assert not broken


def test_documents_named_in_the_code_exist() -> None:
    files = [*ROOT.glob("*.yaml"), *(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))]
    named = {(file.name, name) for file in files for name in re.findall(r"\bdocs/[\w-]+\.md", read(file))}
    assert [(file, name) for file, name in sorted(named) if not (ROOT / name).exists()] == []


def test_the_configuration_page_shows_the_file_that_init_writes() -> None:
    assert default_config_text() in blocks(ROOT / "docs" / "configuration.md", "toml"), (
        "put the output of `featlas init` into docs/configuration.md"
    )


def test_every_config_key_and_every_option_for_one_is_documented() -> None:
    page = read(ROOT / "docs" / "configuration.md")
    keys = [key.name for kind in ALL_SECTIONS.values() for key in fields(kind)]
    assert [key for key in keys if not re.search(rf"\b{key} = ", page)] == []
    assert [option for option in SHORTCUTS if f"`--{option.replace('_', '-')}`" not in page] == []


def test_the_configuration_page_shows_the_demos_config() -> None:
    assert DEMO in [tomllib.loads(block) for block in blocks(ROOT / "docs" / "configuration.md", "toml")]


def test_the_fixed_parts_of_prompts_are_shown_as_they_are_sent() -> None:
    page = read(ROOT / "docs" / "language-models.md")
    assert TopAndRandom("openai/MODEL").system in page
    assert SYSTEM in page


def test_the_two_commands_of_the_readme_are_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", read(ROOT / "Makefile"), re.MULTILINE))
    assert set(re.findall(r"^    make ([a-z-]+)", read(README), re.MULTILINE)) == {"demo", "test"} <= targets


@dataclass(frozen=True)
class Reads:
    """One line of README's table of what is read."""

    kind: str
    names: frozenset[str]
    ticked: bool
    tests: tuple[tuple[str, str], ...]
    """File below tests/labeling, and a test in it."""


def what_it_reads() -> list[Reads]:
    section = read(README).partition("## What it reads\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:2] == "| "]
    return [
        Reads(kind, frozenset(re.findall(r"`([^`]+)`", names)), tick == "✓", tuple(_named_tests(tests)))
        for kind, _, names, tick, tests in rows[1:]
    ]


def _named_tests(cell: str) -> Iterator[tuple[str, str]]:
    for part in cell.split(";"):
        file, *tests = re.findall(r"`([^`]+)`", part)
        yield from ((file, test) for test in tests)


def _tests_of(file: str) -> set[str]:
    tree = ast.parse(read(ROOT / "tests" / "labeling" / file))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_tick_of_what_is_read_is_backed_by_tests_that_exist() -> None:
    rows = what_it_reads()
    assert [row for row in rows if row.ticked and not row.tests] == []
    named = [pair for row in rows for pair in row.tests]
    assert [(file, test) for file, test in named if test not in _tests_of(file)] == []


def test_everything_that_is_read_has_a_line() -> None:
    by_kind: dict[str, set[str]] = defaultdict(set)
    for row in what_it_reads():
        by_kind[row.kind] |= row.names
    assert by_kind["dictionary"] == {*registry.names(labeling.dictionaries), *labeling.dictionaries.UNITS, "hf://"}
    assert by_kind["model"] == {*KINDS, "bert"}
    assert by_kind["text"] == set(registry.names(labeling.corpora))
    assert by_kind["table"] == {"table", *registry.names(labeling.importers)}


def test_a_family_is_ticked_only_if_a_tiny_model_of_it_is_compared() -> None:
    ticked = {name for row in what_it_reads() if row.kind == "model" and row.ticked for name in row.names}
    assert ticked - {"bert"} <= {kind for kind, _ in CONFIGS.values()}
