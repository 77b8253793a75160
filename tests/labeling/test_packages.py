"""The start-up guard: the four packages come from one place, or the intruder is named."""

import subprocess
import sys
from pathlib import Path

import pytest

from labeling.packages import PACKAGES, check_packages

ROOT = Path(__file__).resolve().parents[2]
GUARD = "from labeling.packages import check_packages; check_packages()"


def guard(*path: Path) -> str:
    """What the guard says with these folders and the standard library to import from; empty when it is content."""
    program = f"import sys; sys.path[:0] = {[str(folder) for folder in path]!r}; {GUARD}"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=False)
    return done.stderr


def test_packages_of_one_checkout_pass() -> None:
    check_packages()
    assert guard(ROOT) == ""


@pytest.mark.parametrize("name", [name for name in PACKAGES if name != "labeling"])
def test_a_package_from_elsewhere_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").touch()
    said = guard(tmp_path, ROOT)
    assert f"Another package named {name!r}" in said
    assert str(tmp_path / name) in said


def test_a_single_file_of_the_same_name_is_named(tmp_path: Path) -> None:
    (tmp_path / "evals.py").touch()
    assert str(tmp_path / "evals.py") in guard(tmp_path, ROOT)


def test_a_missing_package_is_named(tmp_path: Path) -> None:
    (tmp_path / "labeling").mkdir()
    for file in ("__init__.py", "errors.py", "packages.py"):
        (tmp_path / "labeling" / file).write_text((ROOT / "labeling" / file).read_text())
    assert "The package 'evals' of featlas was not found" in guard(tmp_path)
