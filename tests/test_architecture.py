"""Rules of the whole repository, checked over the syntax tree: who may import whom, and what every module has."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pytest

from labeling.packages import PACKAGES

ROOT = Path(__file__).resolve().parent.parent

MAY_IMPORT = {
    "labeling": {"labeling"},
    "evals": {"evals", "labeling"},
    "dashboards": {"dashboards", "labeling"},
    "flows": set(PACKAGES),
}
ONLY_IN = {
    "prefect": ("flows/*",),
    "duckdb": ("labeling/store.py", "labeling/snapshot.py", "dashboards/queries.py"),
    "anthropic": ("labeling/llm/anthropic.py", "labeling/llm/_anthropic_batches.py"),
    "openai": ("labeling/llm/openai.py", "labeling/llm/_openai_batches.py"),
    "httpx": (),  # the SDKs' own business, and another package in each of them
    "httpx2": ("labeling/llm/_clients.py",),  # their clients share one TLS context
    "data": (),
    "tests": (),
}
PURE = ("labeling/types.py", "labeling/contexts.py", "evals/metrics.py", "evals/intervals.py")
INPUT_OUTPUT = {
    "duckdb",
    "http",
    "io",
    "os",
    "pathlib",
    "shutil",
    "socket",
    "sqlite3",
    "subprocess",
    "tempfile",
    "urllib",
}
HEAVY = ("torch", "prefect", "sklearn", "transformers", "duckdb", "polars", "anthropic", "openai", "scipy", "igraph")
OWN_GENERATORS = {"default_rng", "Generator", "SeedSequence", "PCG64", "Philox", "Random", "SystemRandom"}
"""What may be called of `random` and `numpy.random`: all else reads or seeds the generator of the whole process."""


@dataclass(frozen=True)
class Module:
    """A source file. `path` is relative to the repository, with forward slashes."""

    path: str
    tree: ast.Module

    @property
    def package(self) -> str:
        return self.path.split("/")[0]


def module(path: str, source: str) -> Module:
    return Module(path, ast.parse(source))


def source_files() -> list[Module]:
    files = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
    return [module(file.relative_to(ROOT).as_posix(), file.read_text(encoding="utf-8")) for file in files]


MODULES = source_files()


def imports(of: Module) -> Iterator[tuple[int, str]]:
    """Line and full name of everything imported, inside functions too."""
    for node in ast.walk(of.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.lineno, node.module or ""


def calls(of: Module) -> Iterator[tuple[int, str]]:
    """Line and name of everything called, as written: `open`, `np.random.seed`."""
    for node in ast.walk(of.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            yield node.lineno, ast.unparse(node.func)


def wrong_direction(of: Module) -> list[str]:
    return [
        f"{of.path}:{line} imports {name}"
        for line, name in imports(of)
        if (top := name.split(".")[0]) in PACKAGES and top not in MAY_IMPORT[of.package]
    ]


def out_of_place(of: Module) -> list[str]:
    return [
        f"{of.path}:{line} imports {name}"
        for line, name in imports(of)
        if (top := name.split(".")[0]) in ONLY_IN and not any(fnmatch(of.path, place) for place in ONLY_IN[top])
    ]


def relative_imports(of: Module) -> list[str]:
    return [f"{of.path}:{n.lineno}" for n in ast.walk(of.tree) if isinstance(n, ast.ImportFrom) and n.level]


def input_and_output(of: Module) -> list[str]:
    opened = [f"{of.path}:{line} calls {name}" for line, name in calls(of) if _touches_files(name)]
    return opened + [
        f"{of.path}:{line} imports {name}" for line, name in imports(of) if name.split(".")[0] in INPUT_OUTPUT
    ]


def _touches_files(call: str) -> bool:
    last = call.split(".")[-1]
    return last == "open" or last.startswith(("read_", "scan_", "sink_", "write_"))


def prints(of: Module) -> list[str]:
    return [f"{of.path}:{line}" for line, name in calls(of) if name == "print"]


def global_randomness(of: Module) -> list[str]:
    owners = {"np.random", "numpy.random"} | ({"random"} & {name for _, name in imports(of)})
    return [
        f"{of.path}:{line} calls {name}"
        for line, name in calls(of)
        if name == "torch.manual_seed"
        or (name.rpartition(".")[0] in owners and name.split(".")[-1] not in OWN_GENERATORS)
    ]


def unannotated(of: Module) -> list[str]:
    """Functions and methods with a public name that leave a parameter or the result without a type."""
    return [
        f"{of.path}:{f.lineno} {f.name}"
        for f in ast.walk(of.tree)
        if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef)
        and not f.name.startswith("_")
        and (f.returns is None or any(a.annotation is None and a.arg not in ("self", "cls") for a in _parameters(f)))
    ]


def _parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.arg]:
    a = function.args
    return [*a.posonlyargs, *a.args, *a.kwonlyargs, *([a.vararg] if a.vararg else []), *([a.kwarg] if a.kwarg else [])]


def undocumented(of: Module) -> list[str]:
    return [] if ast.get_docstring(of.tree) else [of.path]


RULES = [wrong_direction, out_of_place, relative_imports, prints, global_randomness, unannotated, undocumented]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_module_keeps_the_rule(rule: object) -> None:
    assert callable(rule)
    assert [found for source in MODULES for found in rule(source)] == []


@pytest.mark.parametrize("path", PURE)
def test_pure_modules_touch_no_file_network_or_database(path: str) -> None:
    assert [found for source in MODULES if source.path == path for found in input_and_output(source)] == []
    assert (ROOT / path).is_file()


BROKEN = [
    (wrong_direction, "labeling/a.py", "import evals.metrics"),
    (wrong_direction, "labeling/a.py", "def f():\n    from flows import session"),
    (wrong_direction, "evals/a.py", "from dashboards import queries"),
    (wrong_direction, "dashboards/a.py", "import flows"),
    (out_of_place, "evals/a.py", "from prefect import flow"),
    (out_of_place, "flows/a.py", "import duckdb"),
    (out_of_place, "labeling/llm/openai.py", "import anthropic"),
    (out_of_place, "labeling/llm/openai.py", "import httpx"),
    (relative_imports, "labeling/a.py", "from . import types"),
    (prints, "flows/a.py", "print(1)"),
    (global_randomness, "evals/a.py", "np.random.shuffle(x)"),
    (global_randomness, "evals/a.py", "import random\nrandom.seed(0)"),
    (global_randomness, "evals/a.py", "torch.manual_seed(0)"),
    (unannotated, "evals/a.py", "def f(x) -> int: ..."),
    (unannotated, "evals/a.py", "class A:\n    def f(self, *, x: int): ..."),
    (undocumented, "evals/a.py", "x = 1"),
    (input_and_output, "evals/metrics.py", "from pathlib import Path"),
    (input_and_output, "evals/metrics.py", "pl.scan_parquet(name)"),
    (input_and_output, "evals/metrics.py", "open(name)"),
]


@pytest.mark.parametrize(("rule", "path", "source"), BROKEN)
def test_a_broken_rule_is_found(rule: object, path: str, source: str) -> None:
    assert callable(rule)
    assert len(rule(module(path, source))) == 1


def test_folders_of_modules_are_packages_and_other_files_are_listed_to_be_installed() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        listed = tomllib.load(file)["tool"]["setuptools"]["package-data"]
    patterns = [f"{package}/{pattern}" for package, some in listed.items() for pattern in some]
    files = [
        f for package in PACKAGES for f in (ROOT / package).rglob("*") if f.is_file() and "__pycache__" not in f.parts
    ]
    assert {f.parent for f in files if f.suffix == ".py" and not (f.parent / "__init__.py").is_file()} == set()
    others = [f.relative_to(ROOT).as_posix() for f in files if f.suffix != ".py"]
    assert [name for name in others if not any(fnmatch(name, pattern) for pattern in patterns)] == []


def test_help_is_shown_without_importing_anything_heavy() -> None:
    program = (
        "import sys; from flows.cli import featlas; featlas(['--help'], standalone_mode=False); "
        f"heavy = sorted(set({HEAVY!r}) & set(sys.modules)); sys.exit(f'imported: {{heavy}}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage:" in done.stdout


def test_the_contributing_guide_names_files_that_exist() -> None:
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:labeling|evals|flows|dashboards|tests)/[a-z_/.]+)`", guide))
    assert len(named) > 5
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
