"""Where a text may be cut: never between what a reader sees as one character."""

import itertools

import pytest

from bridge.messages.context import fit
from bridge.messages.markdown import finish, join_up_to, shorten, size

# One character for the reader, of several for the computer.
WHOLE = {
    "a flag": "🇨🇳",
    "an accent": "e\u0301",
    "a spacing vowel sign": "क\u0940",
    "an enclosing circle": "1\u20dd",
    "a joined family": "👨\u200d👩",
    "a non-joiner": "ن\u200c",
    "the lightest skin": "👍\U0001f3fb",
    "the darkest skin": "👍\U0001f3ff",
    "a tagged flag, its first tag": "🏴\U000e0020",
    "a tagged flag, its last tag": "🏴\U000e007f",
    "the first medial jamo": "\u1100\u1160",
    "the last final jamo": "\u1100\u11ff",
}


def kept(text: str, size_of_it: int) -> str:
    """Return what is kept of a text that is too long, when there is room for so many bytes."""
    long = text + "y" * 1000
    mark = shorten(long, 100).rsplit("…", 1)[1]
    return shorten(long, size_of_it + size(f"…{mark}")).rsplit("…", 1)[0]


@pytest.mark.parametrize("name", WHOLE)
def test_a_character_is_kept_whole_or_not_at_all(name: str) -> None:
    sign = WHOLE[name]
    for room in range(1, size("a" + sign)):
        assert kept("a" + sign, room) == "a"
    assert kept("a" + sign, size("a" + sign)) == "a" + sign


def test_between_two_flags_a_cut_goes_and_inside_of_one_it_does_not() -> None:
    flags = "🇨🇳🇩🇪🇫🇷"
    assert [kept(flags, room) for room in (4, 8, 12, 16, 20, 24)] == [
        "", "🇨🇳", "🇨🇳", "🇨🇳🇩🇪", "🇨🇳🇩🇪", flags,
    ]  # fmt: skip
    assert kept("x🇨🇳🇩🇪", 9) == "x🇨🇳"


def test_a_flag_s_letter_beside_another_character_is_its_own() -> None:
    assert kept("🇦x", 4) == "🇦"
    assert kept("x🇦", 1) == "x"
    assert kept("🇿🇿🇿", 8) == "🇿🇿"
    assert kept("🇦🇦🇦🇦", 12) == "🇦🇦"
    assert kept("🇿🇿🇿🇿", 12) == "🇿🇿"
    assert kept("XXX", 1) == "X"
    assert kept("🈀🈀🈀", 4) == "🈀"


def test_a_cut_leaves_no_blank_before_its_mark() -> None:
    assert kept("word   another", 7) == "word"


def test_a_text_that_just_fits_is_whole_and_one_byte_more_is_too_long() -> None:
    assert shorten("字" * 100, 300) == "字" * 100
    assert shorten("字" * 100, 299).endswith("…（已截断，共 100 字）")
    assert size(shorten("字" * 100, 299)) <= 299


def test_without_room_for_the_mark_an_ellipsis_says_it() -> None:
    assert shorten("abcdef" * 10, 10) == "abcdefa…"
    assert shorten("abcdef", 3) == "…"
    just = size("…（已截断，共 60 字）")
    assert shorten("abcdef" * 10, just - 1) == "abcdef" * 4 + "abc…"
    assert shorten("abcdef" * 10, just) == "…（已截断，共 60 字）"
    assert shorten("abcdef", 0) == "…"


@pytest.mark.parametrize("limit", range(30, 60))
@pytest.mark.parametrize("most", [24, 25, 26, 29])  # of what fits; below 24 bytes it takes others
def test_the_largest_room_whose_text_fits_is_found(limit: int, most: int) -> None:
    asked: list[int] = []

    def render(value_size: int, entries: int, key_size: int) -> str:
        asked.append(value_size)
        return "x" * (value_size if value_size <= most else limit + 1)

    assert fit(render, limit) == ("x" * most, True)
    assert len(asked) <= 9
    assert max(asked) == limit


def test_the_size_of_a_text_that_fits_is_in_bytes() -> None:
    assert fit(lambda value_size, *_: "字" * value_size, 100) == ("字" * 33, True)


def test_pieces_are_joined_until_they_are_longer_than_the_room() -> None:
    for room, taken in (
        (0, "ab"),
        (1, "ab"),
        (2, "abcd"),
        (3, "abcd"),
        (4, "abcdef"),
        (9, "abcdef"),
    ):
        assert join_up_to(["ab", "cd", "ef"], room) == taken
    assert join_up_to(itertools.repeat("ab"), 5) == "ababab"


def test_in_a_table_s_row_a_value_s_line_end_is_a_blank_and_elsewhere_a_line_end() -> None:
    soft = "\ue000"
    assert finish(f"a{soft}b\n| c{soft}d |\n  | e{soft}f |\ng{soft}| h") == (
        "a\nb\n| c d |\n  | e f |\ng\n| h"
    )
    assert finish("nothing\n| to do |") == "nothing\n| to do |"
