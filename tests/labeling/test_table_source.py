"""Activation tables: the same events whatever the order of the rows, bounded reading, and rows that can't be right."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from labeling.activation_table import ACTIVATIONS, DOCUMENTS, TOKENS, TableCard, TableWriter
from labeling.errors import FeatlasError, UsageError
from labeling.sources import BringsCorpus, _table_files, _table_sort
from labeling.sources._table_checks import check_token_order, pieces
from labeling.sources._table_prepare import prepare
from labeling.sources.table import TableSource, create, token_ends
from labeling.windows import cut_windows
from tests.labeling.table_builders import Content, frame, words


@dataclass(frozen=True)
class Settings:
    path: str | None
    name: str = "set"
    model: str | None = None
    hook: str | None = None
    dictionary: str | None = None
    control_for: str | None = None


def opened(folder: Path, said: list[str] | None = None) -> TableSource:
    say = (lambda _: None) if said is None else said.append
    return create(feature_sets=[Settings(str(folder))]).prepare(folder.parent / "kept", say=say)


def windows_of(source: TableSource, *, width: int = 4) -> pl.DataFrame:
    documents = source.tokenize(list(source.own_corpus.documents()))
    return cut_windows(documents, corpus_id="c", width=width, seed=0)


def events_of(source: TableSource, windows: pl.DataFrame | None = None) -> list[tuple[object, ...]]:
    """Document, position in it, feature and value of all events, sorted."""
    frame = windows_of(source) if windows is None else windows
    place = {w: (d, s) for w, d, s in frame.select("window_id", "document_id", "start").iter_rows()}
    return sorted(
        (place[w][0], place[w][1] + p, f, v)
        for batch in source.events(frame, sequence=256)
        for w, p, f, v in zip(
            *(c.tolist() for c in (batch.window, batch.position, batch.feature, batch.value)), strict=True
        )
    )


def test_documents_tokens_and_activations_come_from_the_table(tmp_path: Path) -> None:
    source = opened(
        Content(
            documents=[("a", "red hot sea"), ("b", "old  sea")],
            tokens=[("a", 0, "red", 0), ("a", 1, "hot", 4), ("a", 2, "sea", 8), ("b", 0, "old", 0), ("b", 1, "sea", 5)],
            activations=[(7, "a", 1, 2.5), (0, "b", 0, 0.5), (2, "b", 1, 1.0)],
        ).write(tmp_path / "table")
    )
    assert isinstance(source, BringsCorpus)
    documents = list(source.own_corpus.documents())
    assert [(d.name, d.text) for d in documents] == [("a", "red hot sea"), ("b", "old  sea")]
    first, second = source.tokenize(documents)
    assert (first.tokens, first.starts, first.ends) == (("red", "hot", "sea"), (0, 4, 8), (3, 7, 11))
    assert (first.token_ids, second.token_ids) == ((2, 0, 3), (1, 3))  # places in hot, old, red, sea
    assert source.feature_sets[0].n_features == 8
    assert source.directions(0) is None
    windows = cut_windows([first, second], corpus_id="c", width=2, seed=0)
    assert windows["text"].to_list() == ["red hot", "sea", "old  sea"]
    (batch,) = source.events(windows, sequence=256)
    events = (batch.feature, batch.window, batch.position, batch.value)
    assert [column.tolist() for column in events] == [[7, 0, 2], [0, 2, 2], [1, 0, 1], [2.5, 0.5, 1.0]]
    assert batch.n_tokens == 5


ORDERS = {
    "by feature": lambda content: content.activations.sort(),
    "backwards": lambda content: content.activations.reverse(),
    "tokens backwards": lambda content: content.tokens.reverse(),
    "documents backwards": lambda content: content.documents.reverse(),
}


@pytest.mark.parametrize("order", ORDERS)
def test_the_order_of_the_rows_changes_nothing_and_is_said(tmp_path: Path, order: str) -> None:
    content, said = words(n_documents=9, n_words=9), list[str]()
    plain = opened(content.write(tmp_path / "plain"), said)
    assert len(said) == 1
    ORDERS[order](content)
    other = opened(content.write(tmp_path / "other"), said)
    sorted_files = [text.split(": ")[1].split(" ")[0] for text in said if "sorting" in text]
    both = ["tokens.parquet", "activations.parquet"]
    assert sorted_files == (both if "documents" in order else both[:1] if "tokens" in order else both[1:])
    assert events_of(other) == events_of(plain)
    assert len(events_of(plain)) == 9 * 8  # the ninth token is no window, and left out


def test_rows_are_sorted_in_buckets_of_neighboring_documents(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    document, position = draw.integers(0, 40, 500), draw.integers(0, 1000, 500)
    first, second = (draw.integers(-(2**31), 2**31, 500).astype(np.int32) for _ in range(2))
    counts = np.bincount(document, minlength=41)
    parts = (
        _table_sort.Piece(document[i : i + 60], position[i : i + 60], first[i : i + 60], second[i : i + 60])
        for i in range(0, 500, 60)
    )

    def as_frame(piece: _table_sort.Piece) -> pl.DataFrame:
        return pl.DataFrame({"d": piece.document, "p": piece.position, "a": piece.first, "b": piece.second})

    _table_sort.sort_rows(parts, counts, tmp_path / "out", as_frame=as_frame, bucket_rows=50)
    files = sorted((tmp_path / "out").iterdir())
    assert len(files) > 5
    everything = pl.concat([pl.read_parquet(file) for file in files])
    expected = pl.DataFrame({"d": document, "p": position, "a": first, "b": second}).sort("d", "p", "a")
    assert everything.equals(expected)


def test_batches_hold_whole_documents_and_few_rows(tmp_path: Path) -> None:
    folder = words(n_documents=9, n_words=8).write(tmp_path / "table")
    whole, windows = opened(folder), windows_of(opened(folder))
    unprepared = create(feature_sets=[Settings(str(folder))])
    prepared = prepare(folder, tmp_path / "kept", lambda _: None)
    for rows in (1, 16, 20, 30):
        source = TableSource(unprepared, prepared, batch_rows=rows)
        sizes = [len(batch.feature) for batch in source.events(windows, sequence=256)]
        assert max(sizes) <= max(rows, 8)
        assert {size % 8 for size in sizes} == {0}
        assert events_of(source, windows) == events_of(whole, windows)
    some = windows.filter(windows["document_id"].rle_id().is_in([1, 4, 8]))  # others between them were dropped
    assert len(events_of(whole, some)) == 3 * 8
    assert list(whole.events(windows[:0], sequence=256)) == []


def test_the_order_of_tokens_is_checked_across_the_pieces_they_are_read_in(tmp_path: Path) -> None:
    frame(TOKENS.schema, [("a", place, "x", start) for place, start in enumerate((0, 2, 1, 4))]).write_parquet(
        tmp_path / "tokens.parquet"
    )
    tokens = _table_files.open_rows(tmp_path, TOKENS)
    for rows in (1, 2, 3, 9):
        with pytest.raises(FeatlasError, match=r"1 whose start lies before.*position 2"):
            check_token_order(tokens, np.array([4]), pl.Series(["a"]), tmp_path, rows=rows)


def test_pieces_of_documents_have_few_rows_and_leave_none_out() -> None:
    counts = np.array([3, 0, 5, 20, 1, 0, 0, 4, 4, 4])
    found = list(pieces(counts, rows=8))
    assert [first for first, _ in found] == [0, *(end for _, end in found[:-1])]
    assert found[-1][1] == len(counts)
    assert [int(counts[first:end].sum()) for first, end in found] == [8, 20, 5, 8]


def test_a_table_that_was_looked_through_is_not_looked_through_again_until_it_changes(tmp_path: Path) -> None:
    content, said = words(), list[str]()
    folder = content.write(tmp_path / "table")
    first = opened(folder, said)
    again = opened(folder, said)
    assert len(said) == 1
    assert first.feature_sets == again.feature_sets
    content.activations[0] = (*content.activations[0][:3], 99.0)
    content.write(folder)
    changed = opened(folder, said)
    assert len(said) == 2
    assert changed.feature_sets[0].fingerprint != first.feature_sets[0].fingerprint
    assert changed.own_corpus.fingerprint == first.own_corpus.fingerprint


def test_several_files_in_a_folder_and_other_number_types_are_read(tmp_path: Path) -> None:
    content = words(n_documents=4)
    whole = opened(content.write(tmp_path / "whole"))
    parts = content.write(tmp_path / "parts")
    rows = frame(ACTIVATIONS.schema, content.activations)
    (parts / "activations.parquet").unlink()
    (parts / "activations.parquet").mkdir()
    narrow = {"feature": pl.Int32, "position": pl.UInt16, "activation": pl.Float64}
    for number, part in enumerate((rows[:9], rows[9:])):
        part.cast(narrow).write_parquet(parts / "activations.parquet" / f"{number}.parquet")  # type: ignore[arg-type]
    split = opened(parts)
    assert events_of(split) == events_of(whole) != []


def test_documents_with_the_same_text_are_one_and_the_first_ones_activations_count(tmp_path: Path) -> None:
    content = Content(
        documents=[("a", "red sea"), ("b", "red sea")],
        tokens=[(name, place, word, 4 * place) for name in "ab" for place, word in enumerate(("red", "sea"))],
        activations=[(0, "a", 0, 1.0), (0, "b", 0, 9.0)],
    )
    source = opened(content.write(tmp_path / "table"))
    tokenized = source.tokenize(list(source.own_corpus.documents())[:1])
    windows = cut_windows(tokenized, corpus_id="c", width=2, seed=0)
    assert [value for *_, value in events_of(source, windows)] == [1.0]


def test_zeros_are_passed_over(tmp_path: Path) -> None:
    content = words()
    before = opened(content.write(tmp_path / "before"))
    content.activations.append((9, "d2", 7, 0.0))
    after = opened(content.write(tmp_path / "after"))
    assert events_of(after) == events_of(before)


def test_names_and_directions_say_how_many_features_there_are(tmp_path: Path) -> None:
    content = words()
    named = content.write(tmp_path / "named", features=[(f, f"word {f}") for f in range(9)])
    source = opened(named)
    assert source.feature_sets[0].n_features == 9
    assert source.feature_names().rows()[3] == (3, "word 3")
    directions = np.arange(24, dtype=np.float32).reshape(12, 2)
    source = opened(content.write(tmp_path / "directed", directions=directions))
    assert (source.feature_sets[0].n_features, source.feature_sets[0].d_model) == (12, 2)
    assert directions.tolist() == np.asarray(source.directions(0)).tolist()


def test_the_card_says_what_the_activations_were_made_with(tmp_path: Path) -> None:
    folder = words().write(tmp_path / "table", card={"model": "gpt2", "hook": "h.5", "extent": "strongest"})
    info = opened(folder).feature_sets[0]
    assert (info.model, info.hook, info.extent) == ("gpt2", "h.5", "strongest")
    assert "strongest" in opened(folder).own_corpus.name
    words().write(tmp_path / "table", card={"modle": "gpt2"})
    with pytest.raises(FeatlasError, match="modle"):
        opened(folder)


@pytest.mark.parametrize(
    ("text", "starts", "ends"),
    [
        ("the  sea ", (0, 5), (3, 8)),
        ("unhappy", (0, 2), (2, 7)),
        (" the sea", (0, 4), (4, 8)),
        ("a\n\nb", (0, 1, 3), (1, 3, 4)),
        ("né!", (0, 1, 1, 2), (1, 2, 2, 3)),
        ("ab", (0, 2), (2, 2)),
        ("", (), ()),
    ],
)
def test_tokens_end_where_the_next_begins_without_the_space_between(
    text: str, starts: tuple[int, ...], ends: tuple[int, ...]
) -> None:
    assert token_ends(text, starts) == ends


TOKEN = (0, "d1", 2, 1.5)
WRONG = {
    "unknown document": ("activations", (0, "nowhere", 0, 1.0), ["1 of a document_id", "'nowhere'", "documents.parquet"]),
    "negative position": ("activations", (0, "d1", -1, 1.0), ["1 with a negative position", "position -1"]),
    "beyond the tokens": ("activations", (0, "d1", 8, 1.0), ["1 with a position beyond", "position 8"]),
    "repeated": ("activations", (9, "d1", 2, 1.0), ["1 that repeat", "feature 9", "'d1'", "position 2"]),
    "not a number": ("activations", (9, "d1", 2, float("nan")), ["no finite number", "activation nan"]),
    "infinite": ("activations", (9, "d1", 2, float("inf")), ["no finite number", "activation inf"]),
    "negative": ("activations", (9, "d1", 2, -1.0), ["1 with a negative activation", "activation -1.0"]),
    "negative feature": ("activations", (-2, "d1", 2, 1.0), ["1 with a negative feature", "feature -2"]),
    "huge feature": ("activations", (2**31, "d1", 2, 1.0), ["1 with a feature above 2,147,483,647", "2147483648"]),
    "nothing": ("activations", (None, "d1", 2, 1.0), ["1 without a value for feature"]),
    "start outside": ("tokens", ("d1", 8, "x", 1000), ["1 with a start that lies outside", "start 1000"]),
    "start goes back": ("tokens", ("d1", 8, "x", 0), ["1 whose start lies before", "start 0"]),
    "position left out": ("tokens", ("d1", 9, "x", 30), ["1 with a position that is missing", "position 9"]),
    "token of nowhere": ("tokens", ("nowhere", 0, "x", 0), ["1 of a document_id", "'nowhere'"]),
    "document twice": ("documents", ("d1", "other"), ["2 share their document_id", "'d1'"]),
    "no text": ("documents", ("d9", None), ["1 without a value for text", "'d9'"]),
}  # fmt: skip


@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("wrong", WRONG)
def test_rows_that_cannot_be_right_are_counted_with_an_example_and_nothing_is_kept(
    tmp_path: Path, wrong: str, in_order: bool
) -> None:
    file, row, said = WRONG[wrong]
    content = words()
    content.activations.append((9, "d1", 2, 5.0) if wrong == "repeated" else (9, "d2", 1, 5.0))
    getattr(content, file).append(row)
    if in_order:
        content.tokens.sort(key=lambda token: (str(token[0]), token[1]))
        content.activations.sort(key=lambda a: (str(a[1]), a[2]))
    folder = content.write(tmp_path / "table")
    with pytest.raises(FeatlasError) as raised:
        opened(folder)
    message = str(raised.value)
    assert [text for text in [*said, f"{file}.parquet"] if text not in message] == []
    assert "\n" not in message
    assert list((tmp_path / "kept").iterdir()) == []


def test_features_outside_names_and_directions_are_refused(tmp_path: Path) -> None:
    content = words()
    with pytest.raises(FeatlasError, match=r"of a feature that is not known .*0 to 3.*feature 4|feature 5"):
        opened(content.write(tmp_path / "a", directions=np.ones((4, 2), np.float32)))
    with pytest.raises(FeatlasError, match=r"not in features.parquet.*feature 3"):
        opened(content.write(tmp_path / "b", features=[(f, None) for f in (0, 1, 2, 4, 5)]))
    with pytest.raises(FeatlasError, match="do not belong together"):
        opened(content.write(tmp_path / "c", features=[(9, "x")], directions=np.ones((6, 2), np.float32)))
    with pytest.raises(FeatlasError, match="stands there twice"):
        opened(content.write(tmp_path / "d", features=[(f, None) for f in (0, 1, 1)]))


def test_missing_files_columns_and_types_are_named_with_what_was_seen(tmp_path: Path) -> None:
    folder = words().write(tmp_path / "table")
    rows = pl.read_parquet(folder / "activations.parquet")
    for changed, said in (
        (rows.rename({"activation": "value"}), ["no column activation", "value", "position"]),
        (rows.cast({"activation": pl.String}), ["activation", "string", "floating-point"]),
        (rows.cast({"position": pl.Float32}), ["position", "float", "whole number"]),
        (rows[:0], ["no rows"]),
    ):
        changed.write_parquet(folder / "activations.parquet")
        with pytest.raises(FeatlasError) as raised:
            opened(folder)
        assert [text for text in said if text not in str(raised.value)] == []
    (folder / "activations.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(FeatlasError, match="can't be read as Parquet"):
        opened(folder)
    (folder / "activations.parquet").unlink()
    with pytest.raises(FeatlasError, match=r"no activations.parquet. There is: documents.parquet, tokens.parquet"):
        opened(folder)
    with pytest.raises(FeatlasError, match="no activation table at"):
        opened(tmp_path / "nowhere")


def test_one_table_is_one_feature_set(tmp_path: Path) -> None:
    settings = Settings(str(tmp_path))
    with pytest.raises(UsageError, match="one feature set"):
        create(feature_sets=[settings, settings])
    with pytest.raises(UsageError, match="path"):
        create(feature_sets=[Settings(None)])


def test_a_text_that_is_not_in_the_table_has_no_tokens(tmp_path: Path) -> None:
    first = opened(words().write(tmp_path / "a"))
    other = opened(words(seed=5).write(tmp_path / "b"))
    with pytest.raises(FeatlasError, match="not in the activation table"):
        first.tokenize(list(other.own_corpus.documents()))


def test_rows_are_read_a_row_group_at_a_time(tmp_path: Path) -> None:
    rows = pl.DataFrame({"feature": range(100)})
    for number in range(2):
        rows[50 * number : 50 * number + 50].write_parquet(tmp_path / f"{number}.parquet", row_group_size=8)
    read = _table_files.ParquetRows(sorted(tmp_path.iterdir()), {"feature": "whole"})
    assert len(read) == 100
    for begin, end in ((0, 3), (5, 60), (49, 51), (99, 100), (7, 7), (98, 200)):
        assert read.read(begin, end)["feature"].to_list() == list(range(begin, min(end, 100)))
    assert [len(block) for block in read.blocks(20)] == [20, 20, 10, 20, 20, 10]


def test_a_table_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    content = words()
    rows = ((DOCUMENTS, content.documents), (TOKENS, content.tokens), (ACTIVATIONS, content.activations))
    with pytest.raises(pl.exceptions.ColumnNotFoundError), TableWriter(tmp_path / "table") as writer:
        writer.write(DOCUMENTS, frame(TOKENS.schema, content.tokens))
    assert list(tmp_path.iterdir()) == []
    with TableWriter(tmp_path / "table", TableCard(model="m")) as writer:
        for form, some in rows:
            for begin in range(0, len(some), 5):
                writer.write(form, frame(form.schema, some[begin : begin + 5]))
    written, direct = opened(tmp_path / "table"), opened(content.write(tmp_path / "direct"))
    assert events_of(written) == events_of(direct) != []
    assert written.feature_sets[0].model == "m"
    with pytest.raises(UsageError, match="exists already"):
        TableWriter(tmp_path / "table")
