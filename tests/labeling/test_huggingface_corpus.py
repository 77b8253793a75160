"""Hugging Face data sets through the real library: folders on this machine, and a hub over loopback HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from labeling.corpora.huggingface import HuggingFaceCorpus, create, resolve
from labeling.errors import FeatlasError, UsageError
from tests.labeling.loopback_hub import LoopbackHub

WITHOUT = "the package datasets is not installed: pip install -e '.[datasets]'"
needs_datasets = pytest.mark.skipif(find_spec("datasets") is None, reason=WITHOUT)
COMMIT = "b" * 40


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as a repository of the hub holds it, and a cache of its own."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "repository"
    folder.mkdir()
    for split, n in (("train", 300), ("test", 2)):
        records = [{"text": f"{split} {i}", "url": f"{split}/{i}", "n": i} for i in range(n)]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


def named(found: HuggingFaceCorpus) -> list[tuple[str, str]]:
    return [(document.name, document.text) for document in found.documents()]


@needs_datasets
def test_a_folder_of_data_files_is_read_in_order(repository: Path) -> None:
    found = create(path=str(repository))
    assert named(found) == [(f"train/{i}", f"train {i}") for i in range(300)]
    assert named(create(path=str(repository), split="test")) == [("test/0", "test 0"), ("test/1", "test 1")]
    assert named(create(path=str(repository), split="test", column="url"))[0] == ("test/0", "test/0")


@needs_datasets
def test_a_folder_that_save_to_disk_wrote_is_read_and_rows_without_text_are_counted(tmp_path: Path) -> None:
    import datasets

    rows = datasets.Dataset.from_dict({"text": ["a", None, " ", "b"], "title": ["A", "B", "C", "D"]})
    rows.save_to_disk(str(tmp_path / "one"))
    datasets.DatasetDict({"train": rows, "test": rows}).save_to_disk(str(tmp_path / "two"))
    for found in (create(path=str(tmp_path / "one")), create(path=str(tmp_path / "two"), split="test")):
        assert named(found) == [("A", "a"), ("D", "b")]
        assert {problem: (one.count, one.example) for problem, one in found.problems.items()} == {
            "no text": (1, "row 2: null"),
            "empty": (1, "row 3: 'text' is ' '"),
        }


@needs_datasets
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"split": "tset"}, "Available splits: ['train', 'test']"),
        ({"subset": "en"}, "BuilderConfig 'en' not found"),
        ({"column": "txt"}, "no column 'txt'. Did you mean 'text'? Known: text, url, n."),
    ],
)
def test_a_split_subset_or_column_that_is_not_there_is_refused(
    repository: Path, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError) as refused:
        named(create(path=str(repository), **settings))
    assert said in str(refused.value)


@needs_datasets
def test_a_column_of_numbers_is_an_error_that_names_the_first_row(repository: Path) -> None:
    with pytest.raises(FeatlasError, match=r"none of its 300 records .* row 1: not text, 'n' is of type int: 0"):
        named(create(path=str(repository), column="n"))


@needs_datasets
def test_a_file_that_the_library_can_not_parse_is_told_with_what_can(repository: Path) -> None:
    (repository / "train.jsonl").write_text('{"text": "x"}\n{bad\n')
    with pytest.raises(FeatlasError, match=r"can't be read past row 0: JSON parse error.*corpus 'jsonl'"):
        named(create(path=str(repository)))


@needs_datasets
def test_the_fingerprint_follows_files_and_settings(repository: Path) -> None:
    settings: list[dict[str, Any]] = [{}, {"split": "test"}, {"column": "url"}, {"subset": "en"}]
    seen = [create(path=str(repository), **one).fingerprint for one in settings]
    assert create(path=str(repository), split="train", column="text").fingerprint == seen[0]
    (repository / "test.jsonl").write_text('{"text": "other"}\n')
    seen.append(create(path=str(repository)).fingerprint)
    assert len(set(seen)) == 5


READ = """
from labeling.corpora.huggingface import create
for path in ("owner/data", "hf://owner/data@main", "owner/data@{commit}"):
    found = create(path=path)
    print(found.fingerprint, sum(1 for _ in found.documents()), next(found.documents()).name)
try:
    create(path="owner/other").fingerprint
except Exception as error:
    print(type(error).__name__, error)
"""


@needs_datasets
@pytest.mark.slow
def test_a_data_set_of_the_hub_is_streamed_at_one_commit(repository: Path, tmp_path: Path) -> None:
    with LoopbackHub(repository, COMMIT).serving() as hub:
        environment = os.environ | {
            "HF_ENDPOINT": hub.address,
            "HF_HOME": str(tmp_path / "hub"),
            "PYTHONPATH": str(Path.cwd()),
        }
        ran = subprocess.run(  # the library reads the address of the hub when it is imported
            [sys.executable, "-c", READ.format(commit=COMMIT)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
    lines = ran.stdout.splitlines()
    assert ran.returncode == 0, ran.stderr
    assert len(set(lines[:3])) == 1
    assert lines[0].endswith(" 300 train/0")
    assert lines[3].startswith("FeatlasError The revision of the data set owner/other can't be looked up")
    asked = [route for route in hub.asked if "/resolve/" in route]
    assert asked
    assert all(COMMIT in route for route in asked)


def test_a_full_commit_needs_no_hub() -> None:
    assert resolve("owner/data", COMMIT) == COMMIT


def test_without_the_package_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(FeatlasError, match=r"pip install 'datasets>=4'"):
        create(path="owner/data")


@needs_datasets
@pytest.mark.parametrize(
    ("path", "said"),
    [(None, "needs a path"), ("two words", "neither a folder nor the name of a data set"), (__file__, "is a file")],
)
def test_paths_that_can_not_be_right_are_refused(path: str | None, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        create(path=path)
