"""Files of labels in every form: what is taken, and what is left out with its kind, feature and place."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from labeling.errors import FeatlasError, UsageError
from labeling.label_files import MAX_CHARACTERS, LabelFile, LabelSource, read_label_file

ROWS = [{"feature": 3, "label": "cats", "author": "Ada"}, {"feature": 7, "label": "dogs, wild", "author": "Ada"}]


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def lines(rows: list[dict[str, object]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def csv(folder: Path) -> Path:
    return write(folder / "labels.csv", 'feature,label,author\n3,cats,Ada\n7,"dogs, wild",Ada\n')


def tsv(folder: Path) -> Path:
    return write(folder / "labels.tsv", "\ufefffeature\tlabel\tauthor\r\n3\tcats\tAda\r\n7\tdogs, wild\tAda\r\n")


def jsonl(folder: Path) -> Path:
    return write(folder / "labels.jsonl", lines([*ROWS]))


def packed(folder: Path) -> Path:
    return write(folder / "labels.jsonl.gz", gzip.compress(lines([*ROWS]).encode()))


def listed(folder: Path) -> Path:
    return write(folder / "labels.json", json.dumps(ROWS))


def parquet(folder: Path) -> Path:
    pl.DataFrame(ROWS).with_columns(pl.col("feature").cast(pl.Float64)).write_parquet(folder / "labels.parquet")
    return folder / "labels.parquet"


def texts(file: LabelFile) -> dict[int, tuple[str, str]]:
    return {label.feature: (label.text, label.author) for label in file.labels}


@pytest.mark.parametrize("form", [csv, tsv, jsonl, packed, listed, parquet])
def test_every_form_gives_the_same_labels(form: Callable[[Path], Path], tmp_path: Path) -> None:
    file = read_label_file(form(tmp_path))
    assert texts(file) == {3: ("cats", "Ada"), 7: ("dogs, wild", "Ada")}
    assert file.left_out == ()


def test_an_object_of_texts_by_feature_is_a_file_of_labels_by_its_own_name(tmp_path: Path) -> None:
    file = read_label_file(write(tmp_path / "mine.json", '{"3": "cats", "7": "dogs"}'))
    assert texts(file) == {3: ("cats", "mine.json"), 7: ("dogs", "mine.json")}


def test_an_export_of_neuronpedia_names_method_and_model_as_the_author(tmp_path: Path) -> None:
    row: dict[str, object] = {
        "modelId": "gemma-2-2b",
        "layer": "0-gemmascope-mlp-16k",
        "index": "3",
        "description": " references to cats ",
        "typeName": "oai_token-act-pair",
        "explanationModelName": "gpt-4o-mini",
    }
    content = gzip.compress(lines([row, {**row, "index": "4", "description": "dogs"}]).encode())
    write(tmp_path / "explanations" / "batch-0.jsonl.gz", content)
    write(tmp_path / "activations" / "batch-0.jsonl", "not labels")
    file = read_label_file(tmp_path)
    assert texts(file) == {
        3: ("references to cats", "oai_token-act-pair gpt-4o-mini"),
        4: ("dogs", "oai_token-act-pair gpt-4o-mini"),
    }


def test_a_folder_of_delphi_is_read_by_file_names_and_its_placeholder_is_no_label(tmp_path: Path) -> None:
    write(tmp_path / "layers.2_latent3.txt", '"words about cats"')
    write(tmp_path / "layers.2_latent17.txt", "plain words")
    write(tmp_path / "layers.2_latent20.txt", '"Explanation could not be parsed."')
    write(tmp_path / "layers.2_latent21.txt", b"\xff\xfe")
    file = read_label_file(tmp_path)
    assert texts(file) == {3: ("words about cats", "delphi"), 17: ("plain words", "delphi")}
    assert [(one.problem, one.feature) for one in file.left_out] == [("placeholder", 20), ("damaged", None)]


def test_several_places_of_a_model_are_feature_sets_and_one_is_not(tmp_path: Path) -> None:
    for module in ("layers.2", "layers.5"):
        write(tmp_path / "both" / f"{module}_latent3.txt", json.dumps(f"label of {module}"))
    write(tmp_path / "one" / "layers.2_latent3.txt", '"label"')
    both = read_label_file(tmp_path / "both").labels
    assert {(label.feature_set, label.text) for label in both} == {
        ("layers.2", "label of layers.2"),
        ("layers.5", "label of layers.5"),
    }
    assert [label.feature_set for label in read_label_file(tmp_path / "one").labels] == [None]


BAD: list[tuple[dict[str, object], str]] = [
    ({"feature": 1, "label": ""}, "empty"),
    ({"feature": 1, "label": " \t "}, "empty"),
    ({"feature": 1, "label": "x" * 2000}, "too long"),
    ({"feature": 1, "label": None}, "no text"),
    ({"feature": 1, "label": ["a"]}, "no text"),
    ({"feature": 1}, "no text"),
    ({"label": "cats"}, "no feature number"),
    ({"feature": -1, "label": "cats"}, "no feature number"),
    ({"feature": 1.5, "label": "cats"}, "no feature number"),
    ({"feature": True, "label": "cats"}, "no feature number"),
    ({"feature": "L2/17", "label": "cats"}, "no feature number"),
    ({"feature": 1, "label": "a \N{REPLACEMENT CHARACTER} b"}, "damaged"),
    ({"feature": 3, "label": "good", "author": None}, "duplicate"),
]


@pytest.mark.parametrize(("row", "problem"), BAD, ids=[f"{problem} {n}" for n, (_, problem) in enumerate(BAD)])
def test_what_is_no_label_is_left_out_by_kind_and_the_rest_is_taken(
    row: dict[str, object], problem: str, tmp_path: Path
) -> None:
    file = read_label_file(write(tmp_path / "labels.jsonl", lines([{"feature": 3, "label": "good"}, row])))
    assert [label.text for label in file.labels] == ["good"]
    assert [one.problem for one in file.left_out] == [problem]
    assert file.left_out[0].place == "labels.jsonl, line 2"


def test_bytes_that_are_no_text_cost_their_own_line_alone(tmp_path: Path) -> None:
    broken = read_label_file(write(tmp_path / "a.jsonl", b'{"feature": 3, "label": "cats"}\n{"\xff\n[1]\nnull\n'))
    assert Counter(one.problem for one in broken.left_out) == {"damaged": 3}
    latin = read_label_file(write(tmp_path / "b.csv", b"feature,label\n3,cats\n4,caf\xe9\n"))
    assert [(one.problem, one.feature) for one in latin.left_out] == [("damaged", 4)]
    assert texts(latin) == {3: ("cats", "b.csv")}


def test_the_longest_label_is_taken_whole(tmp_path: Path) -> None:
    file = read_label_file(write(tmp_path / "labels.json", json.dumps({"3": "x" * MAX_CHARACTERS})))
    assert file.labels[0].text == "x" * MAX_CHARACTERS


def test_further_labels_of_one_author_are_told_apart(tmp_path: Path) -> None:
    rows = [{"feature": 3, "label": text, "author": "Ada"} for text in ("cats", "felines", "cats")]
    file = read_label_file(write(tmp_path / "labels.json", json.dumps(rows)))
    assert file.authors == ["Ada", "Ada (2)"]
    assert [(label.text, label.author) for label in file.labels] == [("cats", "Ada"), ("felines", "Ada (2)")]
    assert [one.problem for one in file.left_out] == ["duplicate"]


def test_labels_in_any_language_are_labels(tmp_path: Path) -> None:
    file = read_label_file(write(tmp_path / "labels.json", json.dumps({"3": "猫に関する言葉", "4": "=HYPERLINK(1)"})))
    assert texts(file)[3][0] == "猫に関する言葉"


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("none.csv", None, UsageError, "There is no file of labels"),
        ("labels.xlsx", "x", UsageError, "is no file of labels by its name"),
        ("labels.csv", "a,b\n1,2\n", FeatlasError, "no label that can be taken .of 1.*line 2: no feature number"),
        ("labels.csv", "", FeatlasError, "no label that can be taken"),
        ("labels.json", "{", FeatlasError, "is no JSON"),
        ("labels.parquet", "x", FeatlasError, "can't be read as Parquet"),
    ],
)
def test_what_holds_no_label_at_all_is_refused(
    name: str, content: str | None, error: type[Exception], message: str, tmp_path: Path
) -> None:
    if content is not None:
        write(tmp_path / name, content)
    with pytest.raises(error, match=message):
        read_label_file(tmp_path / name)


def test_a_changed_file_is_read_again_and_changes_its_author_s_version_alone(tmp_path: Path) -> None:
    rows = [{"feature": 3, "label": "cats", "author": "Ada"}, {"feature": 3, "label": "pets", "author": "Bo"}]
    path = write(tmp_path / "labels.json", json.dumps(rows))
    sources = [LabelSource(path, author, "small") for author in ("Ada", "Bo")]
    before = [source.labels().version for source in sources]
    write(path, json.dumps([{**rows[0], "label": "felines"}, rows[1]]))
    after = [source.labels().version for source in sources]
    assert after[0] != before[0]
    assert after[1] == before[1]


def test_a_label_without_a_feature_set_is_of_the_only_one(tmp_path: Path) -> None:
    rows = [{"feature": 3, "label": "cats"}, {"feature": 3, "label": "dogs", "feature_set": "other"}]
    labels = LabelSource(write(tmp_path / "f.json", json.dumps(rows)), "f.json", "small").labels()
    found = [labels.find(name, 3, unnamed="small") for name in ("small", "other", "third")]
    assert [label and label.text for label in found] == ["cats", "dogs", None]
