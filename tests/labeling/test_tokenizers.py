import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from labeling.errors import UsageError
from labeling.identity import text_id
from labeling.sources._batches import batches
from labeling.sources._tokenizers import Tokenizer, load_tokenizer, starting_with, tokenize, wrap
from labeling.types import Document, TokenizedDocument
from labeling.windows import cut_windows
from tests.labeling.tiny_models import byte_level_tokenizer

LINES = [
    "The quick brown fox jumps over the lazy dog, the end of the story.",
    "naïve café Größe résumé",
    "x = f(y)\r\n\treturn None",
    "日本語のテキスト",
] * 4
TEXTS = [
    "The dog's end 🎉 of the story.",
    "Größe, cafe\u0301 and ﬁne Ⅳ: ﷺ",
    "日本語 the 👩‍👩‍👧 family",
    "a\r\n\tb\x00c \ufffd\ufffd d",
    "  two  spaces, and ▁ itself  ",
    "<|endoftext|> </s> [SEP] <s>",
    "İstanbul ŉ ǰ",
    "",
    " ",
    "\u0301",
]
DOCUMENTS = [Document(text_id(text), "text", text) for text in TEXTS]


def byte_level(normalizer: Any = None) -> Backend:
    backend = Backend(models.BPE())
    backend.normalizer = normalizer
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.ByteLevel(trim_offsets=True)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=330, initial_alphabet=alphabet, special_tokens=["<|endoftext|>"], show_progress=False
    )
    backend.train_from_iterator(LINES, trainer)
    return backend


def byte_fallback(normalizer: Any) -> Backend:
    """The form in which Llama 2 and Gemma keep their SentencePiece model."""
    backend = Backend(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    backend.normalizer = normalizer
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    backend.train_from_iterator(LINES[:1], trainer)  # so that letters of other alphabets are bytes
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair=None, special_tokens=[("<s>", backend.token_to_id("<s>"))]
    )
    return backend


def unigram() -> Backend:
    """SentencePiece's unigram model with its usual normalizer, which changes lengths."""
    backend = Backend(models.Unigram())
    backend.normalizer = normalizers.NFKC()
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=90, special_tokens=["<unk>", "</s>"], unk_token="<unk>", show_progress=False
    )
    backend.train_from_iterator(LINES, trainer)
    return backend


def word_piece() -> Backend:
    backend = Backend(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=120, special_tokens=["[UNK]", "[CLS]", "[SEP]"], show_progress=False)
    backend.train_from_iterator(LINES, trainer)
    backend.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    return backend


def legacy_llama() -> Backend:
    return byte_fallback(normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]))


FAMILIES = {
    "byte-level": byte_level,
    "byte-level after NFC": lambda: byte_level(normalizers.NFC()),
    "metaspace with byte fallback": lambda: byte_fallback(normalizers.Replace(" ", "▁")),
    "metaspace with a space put before": legacy_llama,
    "unigram after NFKC": unigram,
    "word piece": word_piece,
}


@pytest.fixture(scope="module")
def families() -> dict[str, Tokenizer]:
    return {name: wrap(make()) for name, make in FAMILIES.items()}


def cut(tokenizer: Tokenizer, text: str) -> TokenizedDocument:
    return tokenize(tokenizer, [Document(text_id(text), "text", text)])[0]


def pieces(document: TokenizedDocument) -> list[tuple[str, str]]:
    """Each token as it is shown, and the text it stands on."""
    text = document.document.text
    places = zip(document.tokens, document.starts, document.ends, strict=True)
    return [(token, text[start:end]) for token, start, end in places]


@pytest.mark.parametrize("name", FAMILIES)
def test_tokens_and_the_gaps_between_them_join_to_the_document(families: dict[str, Tokenizer], name: str) -> None:
    for document in tokenize(families[name], DOCUMENTS):
        text, bounds = document.document.text, [0]
        for start, end in zip(document.starts, document.ends, strict=True):
            bounds += [start, end]
        bounds.append(len(text))
        assert bounds == sorted(bounds)
        assert bounds[-2] <= len(text)
        assert "".join(text[a:b] for a, b in pairwise(bounds)) == text


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "word piece"])
def test_only_white_space_is_left_between_tokens(families: dict[str, Tokenizer], name: str) -> None:
    for document in tokenize(families[name], DOCUMENTS):
        text = document.document.text
        ends, starts = [0, *document.ends], [*document.starts, len(text)]
        gaps = "".join(text[end:start] for end, start in zip(ends, starts, strict=True))
        assert gaps.strip().strip("\u0301") == ""  # NFC and NFKC make one letter of e and its accent


@pytest.mark.parametrize("name", FAMILIES)
def test_tokens_are_shown_as_text(families: dict[str, Tokenizer], name: str) -> None:
    for document in tokenize(families[name], DOCUMENTS):
        assert not [token for token in document.tokens if re.search("[ĠĊÃĉ]", token)]
        assert not [token for token in document.tokens if "▁" in token and "▁" not in document.document.text]


def test_byte_level_tokens_of_one_character_name_their_bytes(families: dict[str, Tokenizer]) -> None:
    assert pieces(cut(families["byte-level"], "the 🎉 the\r\n")) == [
        ("the", "the"),
        (" ", " "),
        ("<0xF0>", "🎉"),
        ("<0x9F>", ""),
        ("<0x8E>", ""),
        ("<0x89>", ""),
        (" the", "the"),
        ("\r\n", "\r\n"),
    ]


def test_metaspace_tokens_are_text_and_unknown_letters_their_bytes(families: dict[str, Tokenizer]) -> None:
    assert pieces(cut(families["metaspace with byte fallback"], "the 🎉ß\r")) == [
        ("the ", "the "),
        ("<0xF0>", "🎉"),
        ("<0x9F>", ""),
        ("<0x8E>", ""),
        ("<0x89>", ""),
        ("<0xC3>", "ß"),
        ("<0x9F>", ""),
        ("\r", "\r"),
    ]


def test_a_space_that_the_tokenizer_puts_before_the_text_takes_no_character_of_it() -> None:
    found = pieces(cut(wrap(legacy_llama()), "Zen"))
    assert "".join(piece for _, piece in found) == "Zen"
    assert found[0] == (" ", "")


def test_normalized_letters_keep_their_place(families: dict[str, Tokenizer]) -> None:
    assert pieces(cut(families["unigram after NFKC"], "ﬁ Ⅳ"))[:4] == [(" f", "ﬁ"), ("i", ""), (" ", " "), ("IV", "Ⅳ")]


def test_word_pieces_keep_their_mark(families: dict[str, Tokenizer]) -> None:
    assert pieces(cut(families["word piece"], "Größen the")) == [
        ("große", "Größe"),
        ("##n", "n"),
        ("the", "the"),
    ]


@pytest.mark.parametrize(("name", "special"), [("byte-level", "<|endoftext|>"), ("word piece", "[SEP]")])
def test_special_tokens_that_a_text_spells_out_are_ordinary_text(
    families: dict[str, Tokenizer], name: str, special: str
) -> None:
    tokenizer = families[name]
    assert tokenizer.backend.token_to_id(special) not in cut(tokenizer, f"the {special} end").token_ids


def test_what_the_tokenizer_puts_around_a_text_is_found() -> None:
    assert (wrap(word_piece()).before, wrap(word_piece()).after) == ((1,), (2,))
    assert (wrap(legacy_llama()).before, wrap(legacy_llama()).after) == ((1,), ())
    assert (wrap(byte_level()).before, wrap(byte_level()).after) == ((), ())


def started(tokenizer: Tokenizer, *, prepend_bos: bool | None, causal: bool = True) -> Tokenizer:
    return starting_with(tokenizer, model="m", causal=causal, prepend_bos=prepend_bos)


def counted(tokenizer: Tokenizer, texts: list[str], sequence: int = 8) -> tuple[list[list[int]], list[list[bool]]]:
    """Ids and whether they count, by row, longest first."""
    documents = [Document(text_id(text), "text", text) for text in texts]
    windows = cut_windows(tokenize(tokenizer, documents), corpus_id="c", width=4, seed=0)
    (batch,) = batches(windows, sequence=sequence, tokenizer=tokenizer)
    assert len(batch.window) == len(batch.position) == int(batch.counted.sum())
    return batch.token_ids.tolist(), batch.counted.tolist()


def bytes_tokenizer(folder: Path, **special: str) -> Tokenizer:
    byte_level_tokenizer(**special).save_pretrained(folder)
    return load_tokenizer(str(folder))


BOS = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"}


def test_a_dictionary_trained_with_bos_gets_it_and_it_never_counts(tmp_path: Path) -> None:
    tokenizer = started(bytes_tokenizer(tmp_path, **BOS), prepend_bos=True)
    ids, counts = counted(tokenizer, ["abcdefgh", "ijkl"])
    assert [row[0] for row in ids] == [0, 0]
    assert counts == [[False] + [True] * 8, [False] + [True] * 4 + [False] * 4]
    assert ids[1][5:] == [2] * 4


def test_without_bos_the_first_position_of_a_causal_models_sequence_never_counts(tmp_path: Path) -> None:
    tokenizer = bytes_tokenizer(tmp_path, **BOS)
    text = "abcdefghijklmnop"
    assert counted(started(tokenizer, prepend_bos=None), [text])[1] == [[False] + [True] * 7] * 2
    assert counted(started(tokenizer, prepend_bos=None, causal=False), [text])[1] == [[True] * 8] * 2


def test_a_dictionary_trained_without_bos_gets_none() -> None:
    tokenizer = started(wrap(legacy_llama()), prepend_bos=False)
    assert (tokenizer.before, tokenizer.sink) == ((), True)
    assert (started(wrap(legacy_llama()), prepend_bos=None).sink) is False


def test_eos_stands_in_for_a_missing_bos_and_without_either_the_user_is_told(tmp_path: Path) -> None:
    assert started(bytes_tokenizer(tmp_path / "eos", eos_token="<eos>"), prepend_bos=True).before == (1,)
    with pytest.raises(UsageError, match=r"neither BOS nor EOS.*prepend_bos = false"):
        started(bytes_tokenizer(tmp_path / "none"), prepend_bos=True)


def test_special_ids_never_count_wherever_they_stand(tmp_path: Path) -> None:
    tokenizer = bytes_tokenizer(tmp_path, **BOS)
    assert tokenizer.never == (0, 1, 2)
    frame = cut_windows(
        [TokenizedDocument(Document("d", "d", "abcd"), (5, 1, 6, 0), tuple("abcd"), (0, 1, 2, 3), (1, 2, 3, 4))],
        corpus_id="c",
        width=4,
        seed=0,
    )
    (batch,) = batches(frame, sequence=4, tokenizer=started(tokenizer, prepend_bos=None, causal=False))
    assert batch.counted.tolist() == [[True, False, True, False]]
    assert batch.position.tolist() == [0, 2]


def test_text_shorter_than_a_window_and_no_text_at_all_make_no_batch(tmp_path: Path) -> None:
    tokenizer = bytes_tokenizer(tmp_path, **BOS)
    frame = cut_windows(tokenize(tokenizer, DOCUMENTS), corpus_id="c", width=4096, seed=0)
    assert list(batches(frame, sequence=4096, tokenizer=tokenizer)) == []
    assert np.size(frame["window_id"]) == 0
