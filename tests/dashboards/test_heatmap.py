"""Windows as words and pieces."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dashboards import heatmap
from dashboards.heatmap import Piece, Word, level, words


def cut(text: str, tokens: list[str], active: dict[int, float], largest: float = 4.0) -> tuple[Word, ...]:
    starts, ends, place = [], [], 0
    for token in tokens:
        place = text.index(token, place)
        starts.append(place)
        place += len(token)
        ends.append(place)
    return words(
        text, starts=starts, ends=ends, positions=list(active), activations=list(active.values()), largest=largest
    )


def plain(found: tuple[Word, ...]) -> str:
    return "".join(piece.text for word in found for piece in word.pieces)


def test_a_piece_that_fires_is_shaded_inside_its_whole_word() -> None:
    found = cut("an unbelievable day", ["an", "un", "believ", "able", "day"], {2: 2.0})
    assert found == (
        Word((Piece("an "),)),
        Word((Piece("un"), Piece("believ", 5, 2.0), Piece("able")), split=True),
        Word((Piece(" day"),)),
    )


def test_a_word_that_fires_as_a_whole_is_not_marked_as_cut() -> None:
    assert cut("play ing", ["play", "ing"], {0: 4.0})[0] == Word((Piece("play", 10, 4.0),))
    assert cut("playing", ["play", "ing"], {0: 4.0, 1: 0.04}) == (
        Word((Piece("play", 10, 4.0), Piece("ing", 1, 0.04))),
    )


def test_punctuation_stands_apart_from_the_word_before_it() -> None:
    found = cut("end.", ["end", "."], {1: 4.0})
    assert found == (Word((Piece("end"),)), Word((Piece(".", 10, 4.0),)))


def test_a_blank_inside_a_token_is_not_shaded() -> None:
    assert cut("of the", ["of", " the"], {1: 4.0}) == (Word((Piece("of "),)), Word((Piece("the", 10, 4.0),)))


def test_no_character_of_the_window_is_lost() -> None:
    assert plain(cut("a  b, c ", ["a", "b", "c"], {1: 1.0})) == "a  b, c "


def test_tokens_that_share_a_character_show_it_once() -> None:
    found = words("é!", starts=[0, 0, 1], ends=[1, 1, 2], positions=[0], activations=[1.0], largest=1.0)
    assert plain(found) == "é!"


def test_a_byte_that_fires_shades_its_character_by_the_strongest_of_them() -> None:
    activations = {"positions": [1, 2], "activations": [1.0, 4.0], "largest": 4.0}
    found = words("aé!", starts=[0, 1, 2, 2], ends=[1, 2, 2, 3], **activations)  # type: ignore[arg-type]
    assert found[0] == Word((Piece("a"), Piece("é", 10, 4.0)), split=True)


def test_control_characters_are_shown_and_long_tokens_cut() -> None:
    assert plain(cut("a\x1b\n", ["a", "\x1b"], {})) == "a␛↵ "
    assert plain(cut("Z" * 5000, ["Z" * 5000], {0: 1.0})) == "Z" * 160 + "… (+4,840 characters)"


def test_every_activation_gets_a_shade_and_silence_none() -> None:
    assert [level(value, 4.0) for value in (0.0, 0.001, 0.4, 0.41, 4.0, 9.0)] == [0, 1, 1, 2, 10, 10]
    assert level(1.0, 0.0) == 0


def test_a_sentence_without_spaces_is_not_taken_for_one_word() -> None:
    found = cut("我喜欢猫。", ["我", "喜欢", "猫", "。"], {1: 4.0})
    assert found == (Word((Piece("我"),)), Word((Piece("喜欢", 10, 4.0),)), Word((Piece("猫。"),)))


def test_accents_and_vowel_signs_stay_with_the_letter_before_them() -> None:
    assert cut("cafe\u0301s", ["cafe", "\u0301", "s"], {0: 4.0}) == (
        Word((Piece("cafe", 10, 4.0), Piece("\u0301"), Piece("s")), split=True),
    )
    assert cut("हिन्दी", ["हि", "न्", "दी"], {1: 4.0})[0].pieces[1] == Piece("न्", 10, 4.0)


def test_words_from_right_to_left_are_cut_as_others_and_keep_their_joiners() -> None:
    found = cut("او می\u200cخواهم", ["او", "می", "\u200c", "خواهم"], {3: 4.0})
    assert found == (Word((Piece("او "),)), Word((Piece("می\u200c"), Piece("خواهم", 10, 4.0)), split=True))


def test_a_token_of_ten_thousand_characters_is_cut_and_says_so() -> None:
    found = cut("Z" * 10_000, ["Z" * 10_000], {0: 4.0})
    assert found[0].pieces[0].text == "Z" * 160 + "… (+9,840 characters)"


TOKENS = (
    "un",
    "able",
    " the",
    " cat",
    ",",
    "\n",
    "é",
    "日本",
    "語",
    " ",
    "  ",
    " foo bar",
    "e\u0301",
    "\u0301",
    "a_b",
    "7",
)


@given(
    st.lists(st.tuples(st.sampled_from(["", "", " ", "\n", "  "]), st.sampled_from(TOKENS)), max_size=20),
    st.dictionaries(st.integers(0, 19), st.floats(-0.1, 1), max_size=5),
)
def test_silent_stretches_look_the_same_as_token_by_token(
    spaced: list[tuple[str, str]], active: dict[int, float]
) -> None:
    text, starts, ends = "", [], []
    for space, token in spaced:
        starts.append(len(text + space))
        text += space + token
        ends.append(len(text))
    firing = {token: value for token, value in active.items() if token < len(starts)}
    window = heatmap._Window(text, starts, ends, firing, 1.0)
    one_by_one = (*window._tokens(0, len(starts)), Piece(text[window.done :]))
    found = words(
        text, starts=starts, ends=ends, positions=list(firing), activations=list(firing.values()), largest=1.0
    )
    assert found == tuple(heatmap._join_silent(heatmap._words(piece for piece in one_by_one if piece.text)))


def test_a_token_that_is_too_long_is_shortened_and_says_by_how_much() -> None:
    found = cut("a " + "x" * 200 + " b", ["a", "x" * 200, "b"], {0: 4.0})
    assert plain(found) == f"a {'x' * 160}… (+40 characters) b"


def test_a_gap_between_silent_tokens_that_is_too_long_is_shortened_wherever_it_stands() -> None:
    for text in ("a" + "\n" * 500 + "b c", "\n" * 500 + "a b c", "a b c" + "\n" * 500):
        assert "(+340 characters)" in plain(cut(text, ["a", "b", "c"], {}))
        assert "(+340 characters)" in plain(cut(text, ["a", "b", "c"], {2: 1.0}))
