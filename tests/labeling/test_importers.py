"""Importers: what other programs wrote becomes a table with the same activations; what they do not know is not made up."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from labeling import importers
from labeling.activation_table import read_card
from labeling.errors import FeatlasError, UsageError
from labeling.importers import delphi, neuronpedia, plain_runs, trimmed
from labeling.registry import create, names

TEXTS = ["the café by the sea was cold", "the sea was the café"]
END = 0


def read(folder: Path) -> dict[str, pl.DataFrame]:
    return {file.stem: pl.read_parquet(file) for file in folder.glob("*.parquet")}


def run(kind: str, path: Path, table: Path, tokenizer: str | None = None) -> list[str]:
    said: list[str] = []
    create(importers, kind, kind="export", path=path, tokenizer=tokenizer).write(table, say=said.append)
    return said


def test_the_importers_are_found_by_name() -> None:
    assert names(importers) == ("delphi", "neuronpedia")


def test_runs_between_special_tokens() -> None:
    assert list(plain_runs([True, False, False, True, True, False])) == [(1, 3), (5, 6)]
    assert list(plain_runs([False])) == [(0, 1)]
    assert list(plain_runs([True])) == list(plain_runs([])) == []


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer whose é is two tokens, saved in a folder."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    backend.train_from_iterator(["the sea was cold by the sea"] * 5, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|endoftext|>")
    fast.save_pretrained(tmp_path_factory.mktemp("tokenizer"))
    return fast


def cache(folder: Path, tokenizer: PreTrainedTokenizerFast, model: Path | None) -> np.ndarray:
    """Two rows of tokens, each a text after an end mark, and the second with another after it; 6 latents in two files."""
    first, second = (tokenizer.encode(text) for text in TEXTS)
    width = max(len(first), len(second) + 3) + 1
    rows = [[END, *first], [END, *second, END, *first]]
    tokens = np.array([(row + [END] * width)[:width] for row in rows], dtype=np.int64)
    locations = np.array([(0, 1, 0), (0, 3, 2), (1, 0, 1), (1, 2, 1), (1, len(second) + 2, 2)])
    folder.mkdir(parents=True)
    for start in (0, 3):
        values = np.array([1.5, 2.5, 99.0, 3.5, 4.5]) + start
        values[1] = -2.0 if start else values[1]
        data = {"locations": locations.astype(np.uint16), "activations": values.astype(np.float16), "tokens": tokens}
        save_file(data, folder / f"{start}_{start + 2}.safetensors")
    config = {"dataset_repo": "some/text", "dataset_split": "train", "ctx_len": width}
    (folder / "config.json").write_text(json.dumps({**config, "model_name": str(model)} if model else config))
    return tokens


def test_delphis_cache_becomes_a_table_with_the_same_activations(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    tokenizer.save_pretrained(tmp_path / "model")
    module = tmp_path / "latents" / "layers.1.mlp"
    cache(module, tokenizer, tmp_path / "model")
    said = run("delphi", module, tmp_path / "table")
    table = read(tmp_path / "table")
    texts = table["documents"]["text"].to_list()
    assert texts[:2] == TEXTS
    assert TEXTS[0].startswith(texts[2])  # what the row's end cut off
    for name, text in table["documents"].iter_rows():
        tokens = table["tokens"].filter(pl.col("document_id") == name)
        assert tokens["position"].to_list() == list(range(len(tokens)))
        ids = tokenizer.convert_tokens_to_ids(tokens["token"].to_list())
        again = tokenizer(text, return_offsets_mapping=True)
        if again["input_ids"] == ids:  # a cut character is read back as other tokens
            assert tokens["start"].to_list() == trimmed(text, [start for start, _ in again["offset_mapping"]])
    rows = (
        table["activations"].sort("feature", "document_id").select("feature", "document_id", "position", "activation")
    )
    assert rows.rows() == [
        *((0, "0", 0, 1.5), (1, "1", 1, 3.5), (2, "0", 2, 2.5), (2, "2", 0, 4.5)),
        *((3, "0", 0, 4.5), (4, "1", 1, 6.5), (5, "2", 0, 7.5)),
    ]
    assert table["features"]["feature"].to_list() == [0, 1, 2, 3, 4, 5]
    card = read_card(tmp_path / "table")
    assert (card.extent, card.model, card.hook) == ("all", str(tmp_path / "model"), "layers.1.mlp")
    assert "some/text" in str(card.made_from)
    assert said[1].startswith("3 activations were left out")  # two on an end mark, one negative


def test_tokens_that_part_a_character_start_together(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = tokenizer.encode(TEXTS[0])
    text, starts = delphi.decode(tokenizer.backend_tokenizer, ids)
    assert text == TEXTS[0]
    place = starts.index(7)
    assert text[7] == "é"
    assert starts[place : place + 3] == [7, 7, 9]  # the last is a word after a space
    cut, starts = delphi.decode(tokenizer.backend_tokenizer, ids[: place + 1])
    assert (cut[:7], starts[-1]) == ("the caf", 7)
    letters = tokenizer.convert_tokens_to_ids(["s", "e", "a", "Ġ", "w"])  # not how the tokenizer would cut it
    assert delphi.decode(tokenizer.backend_tokenizer, letters) == ("sea w", [0, 1, 2, 3, 4])
    letters = [*letters, *ids[1:3], *ids] * 5  # longer than what is looked back at
    text, starts = delphi.decode(tokenizer.backend_tokenizer, letters)
    assert [text[start] for start in starts] == [text[start] for start in exact_starts(tokenizer, letters)]
    assert starts == exact_starts(tokenizer, letters)


def exact_starts(tokenizer: PreTrainedTokenizerFast, ids: list[int]) -> list[int]:
    """By the text of every longer beginning."""
    backend = tokenizer.backend_tokenizer
    lengths = [len(backend.decode(ids[:end]).rstrip(delphi.REPLACEMENT)) for end in range(len(ids))]
    return trimmed(backend.decode(ids), lengths)


def test_starts_are_moved_past_white_space_unless_it_is_all_there_is() -> None:
    assert trimmed("the red \n sea", [0, 3, 7, 9]) == [0, 4, 7, 10]
    assert trimmed("", []) == []


def test_a_cache_that_cannot_be_read_is_refused(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.save_pretrained(tmp_path / "model")
    cache(tmp_path / "latents" / "m", tokenizer, None)
    with pytest.raises(UsageError, match="--tokenizer"):
        run("delphi", tmp_path / "latents" / "m", tmp_path / "t")
    with pytest.raises(UsageError, match="folders m"):
        run("delphi", tmp_path / "latents", tmp_path / "t")
    with pytest.raises(FeatlasError, match="can't be loaded"):
        run("delphi", tmp_path / "latents" / "m", tmp_path / "t", str(tmp_path))
    assert run("delphi", tmp_path / "latents" / "m", tmp_path / "t", str(tmp_path / "model"))
    with pytest.raises(UsageError, match="exists already"):
        run("delphi", tmp_path / "latents" / "m", tmp_path / "t", str(tmp_path / "model"))
    file = tmp_path / "latents" / "m" / "0_2.safetensors"
    save_file({"locations": np.zeros((1, 3), np.uint16), "activations": np.ones(1, np.float16)}, file)
    with pytest.raises(FeatlasError, match=r"no tensor 'tokens', only .*save_tokens"):
        run("delphi", tmp_path / "latents" / "m", tmp_path / "u", str(tmp_path / "model"))
    assert not (tmp_path / "u").exists()
    assert not list(tmp_path.glob(".*"))


RECORDS: list[dict[str, Any]] = [
    {
        "index": "3",
        "tokens": ["<bos>", "the", "▁red", "▁sea"],
        "values": [50.0, 0, 2.5, 0],
        "modelId": "m",
        "layer": "5-res",
    },
    {"index": "3", "tokens": ["<bos>", "the", "▁red", "▁sea"], "values": [50.0, 0, 2.5, 0], "binContains": 0.1},
    {"index": "1", "tokens": ["the", "▁red", "▁sea"], "values": [0, 0, 1.0]},
    {"index": "1", "tokens": ["old", "<eos>", "new"], "values": [-0.5, 9, 4.0]},
    {"index": "0", "tokens": [], "values": []},
]


def export(folder: Path) -> Path:
    """As Neuronpedia exports a source."""
    (folder / "activations").mkdir(parents=True)
    (folder / "explanations").mkdir()
    for number, some in enumerate((RECORDS[:2], RECORDS[2:])):
        with gzip.open(folder / "activations" / f"batch-{number}.jsonl.gz", "wt") as file:
            file.writelines(json.dumps(record) + "\n" for record in some)
    labels = [{"index": "3", "description": "red things"}, {"index": "4", "description": "nothing"}]
    (folder / "explanations" / "batch-0.jsonl").write_text("\n".join(json.dumps(label) for label in labels))
    return folder


def test_neuronpedias_records_become_texts_that_features_share(tmp_path: Path) -> None:
    said = run("neuronpedia", export(tmp_path / "5-res"), tmp_path / "table")
    table = read(tmp_path / "table")
    text_of = dict(table["documents"].iter_rows())
    assert sorted(text_of.values()) == ["new", "the red sea"]
    tokens = table["tokens"].filter(pl.col("document_id") == next(n for n, t in text_of.items() if t != "new"))
    assert tokens.select("position", "token", "start").rows() == [(0, "the", 0), (1, " red", 4), (2, " sea", 8)]
    rows = [(f, text_of[d], p, a) for f, d, p, a in table["activations"].iter_rows()]
    assert sorted(rows) == [(1, "new", 0, 4.0), (1, "the red sea", 2, 1.0), (3, "the red sea", 1, 2.5)]
    assert table["features"].rows() == [(0, None), (1, None), (2, None), (3, "red things"), (4, "nothing")]
    card = read_card(tmp_path / "table")
    assert (card.extent, card.model, card.hook) == ("strongest", "m", "5-res")
    assert "can't be scored" in said[1]


def test_other_forms_of_the_same_records_give_the_same_table(tmp_path: Path) -> None:
    bare = [{key: value for key, value in record.items() if key != "index"} for record in RECORDS]
    forms = {
        "list.json": json.dumps(RECORDS),
        "plain.jsonl": "\n\n".join(json.dumps(record) for record in RECORDS),
        "dashboard.json": json.dumps(
            {
                "features": [
                    {"feature_index": int(r["index"]), "activations": [b]} for r, b in zip(RECORDS, bare, strict=True)
                ]
            }
        ),
        "api.jsonl": "\n".join(
            json.dumps({"index": r["index"], "activations": [b]}) for r, b in zip(RECORDS, bare, strict=True)
        ),
    }
    tables = []
    for name, content in forms.items():
        (tmp_path / name).write_text(content)
        run("neuronpedia", tmp_path / name, tmp_path / f"table-{name}")
        tables.append(read(tmp_path / f"table-{name}"))
    for table in tables[1:]:
        assert all(table[name].equals(tables[0][name]) for name in ("documents", "tokens", "activations", "features"))


def test_batches_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        (tmp_path / f"batch-{number}.jsonl").touch()
    (tmp_path / "notes.txt").touch()
    assert [f.name for f in neuronpedia.find_files(tmp_path)] == ["batch-1.jsonl", "batch-2.jsonl", "batch-10.jsonl"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"index": "1", "tokens": ["a"], "values": [1, 2]}', ["line 2", "1 tokens and 2 values"]),
        ('{"index": "1", "tokens": ["a"], "values": [NaN]}', ["line 2", "finite"]),
        ('{"index": "1", "tokens": ["a"], "values": [null]}', ["line 2", "finite"]),
        ('{"index": "1", "description": "a label"}', ["line 2", "description", "tokens"]),
        ("[1]", ["line 2", "list"]),
        ('{"index"', ["can't be read as JSON"]),
    ],
)
def test_records_that_cannot_be_right_are_refused_with_their_place(tmp_path: Path, line: str, said: list[str]) -> None:
    file = tmp_path / "batch-0.jsonl"
    file.write_text(f"{json.dumps(RECORDS[0])}\n{line}\n")
    with pytest.raises(FeatlasError) as raised:
        run("neuronpedia", file, tmp_path / "table")
    assert [text for text in [*said, str(file)] if text not in str(raised.value)] == []
    assert [path.name for path in tmp_path.iterdir()] == ["batch-0.jsonl"]


def test_what_is_no_export_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"batch-0\.jsonl\.gz"):
        run("neuronpedia", tmp_path / "nowhere", tmp_path / "t")
    with pytest.raises(UsageError, match="--tokenizer"):
        run("neuronpedia", export(tmp_path / "e"), tmp_path / "t", "gpt2")
