"""What breaks each construct of a dialect, sign by sign; `·` stands for a zero-width space."""

import pytest

from bridge.messages.markdown import defuse, finish, plain

ADDRESS = "http://a.example/"


def shown(text: str, msgtype: str) -> str:
    """Return untrusted text as it stands alone in a message, with its zero-width spaces shown."""
    return finish(defuse(text, msgtype)).replace("\u200b", "·")


COMMON = [
    ("x <@all>", "x <·@all>"),
    ("a<", "a<·"),
    ("a < b <= c <1", "a < b <= c <1"),
    (
        "字 and word, 7% [1] {2} $3 'x' \"y\" a@b c#d",
        "字 and word, 7% [1] {2} $3 'x' \"y\" a@b c#d",
    ),
    (f"{ADDRESS}?q=a+b&c=%41#d,~e!f$g@h:8'i-j.k", f"{ADDRESS}?q=a+b&c=%41#d,~e!f$g@h:8'i-j.k"),
]
BOTH = [
    *COMMON,
    ("x <font>", "x <·font>"),
    ("x <Z>", "x <·Z>"),
    ("x </b>", "x <·/b>"),
    ("a <!-- b", "a <·!-- b"),
    ("a <?b", "a <·?b"),
    ("x [a](b)", "x [a]·(b)"),
    ("see [a]", "see [a]·"),
    ("a] b [c", "a] b [c"),
    ("x &#42;", "x &·#42;"),
    ("x &lt; &Gt;", "x &·lt; &·Gt;"),
    (f"x &{'a' * 30};", f"x &·{'a' * 30};"),
    (f"x &{'a' * 31};", f"x &{'a' * 31};"),
    ("x &", "x &·"),
    ("x &Am", "x &·Am"),
    (f"x &{'z' * 30}", f"x &·{'z' * 30}"),
    (f"x &{'z' * 31}", f"x &{'z' * 31}"),
    ("a & b; c &d e &1;", "a & b; c &d e &1;"),
    ("a `b`", "a ｀b｀"),
    ("# head", "·# head"),
    ("> quote", "·> quote"),
    ("a # b > c", "a # b > c"),
    ("@all", "·@all"),
    ("(b)", "·(b)"),
    (";x", "·;x"),
]


@pytest.mark.parametrize(("text", "expected"), [*COMMON, ("**b** `c` [d](e) # f", None)])
def test_in_text_only_a_mention_is_broken(text: str, expected: str | None) -> None:
    assert shown(text, "text") == (expected or text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *BOTH,
        ("**b**", "·*·*b*·*·"),
        ("a*b", "a*b"),
        ("a *b* c", "a *b* c"),
        ("a*", "a*·"),
        ("a\n  > b\n\n\t# c", "a\n·  > b\n\n·\t# c"),
        ("a\n(b\n@c", "a\n(b\n@c"),
        ("_a_ ~~b~~ ![c] \\d | - e", "_a_ ~~b~~ ![c] \\d | - e"),
        ("- a\n1. b", "- a\n1. b"),
    ],
)
def test_in_markdown_each_construct_is_broken(text: str, expected: str) -> None:
    assert shown(text, "markdown") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *BOTH,
        ("a **b** c", "a ＊＊b＊＊ c"),
        ("a | b", "a ｜ b"),
        ("[a][b]", "·[a]·[b]·"),
        ("a]: b", "a]·: b"),
        ("a ![b", "a !·[b"),
        ("a!", "a!·"),
        ("a! b", "a! b"),
        ("a ~~b~~ c ~d", "a ~·~b~·~ c ~d"),
        *((f"a\\{sign}b", f"a\\·{sign}b") for sign in "!/:@[{~,=^\n"),
        ("a\\b \\7 \\ \\字", "a\\b \\7 \\ \\字"),
        ("a\\", "a\\·"),
        ("a _b_ c", "a ·_·b·_· c"),
        ("a __b c__", "a ·__·b c·__·"),
        ("a_b_c 应_用 7_8", "a_b_c 应_用 7_8"),
        ("a_ b", "a·_· b"),
        ("-_a", "·-·_·a"),
        ("- a\n+ b", "·- a\n·+ b"),
        ("a\n---\n===", "a\n·---\n·==="),
        ("a\n    b\n\tc", "a\n·    b\n·\tc"),
        ("a\n字\n\n7", "a\n字\n\n7"),
        ("1. a\n123456789) b\n2.\n3.", "·1. a\n·123456789) b\n·2.\n·3."),
        ("1.5\n1234567890. b\n7 c\n1,", "1.5\n1234567890. b\n7 c\n1,"),
    ],
)
def test_in_markdown_v2_each_construct_is_broken(text: str, expected: str) -> None:
    assert shown(text, "markdown_v2") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://a.example/x_y", "http://a.example/x_y"),
        ("https://a.example/_x", "https://a.example/_x"),
        ("https://a.example/_x_?_", "https://a.example/%5Fx%5F?%5F"),
        ("https://a.example/__x", "https://a.example/__x"),
        ("https://a.example/x_y__", "https://a.example/x_y__"),
    ],
)
def test_an_address_keeps_its_underscores_unless_two_of_them_could_pair(
    text: str, expected: str
) -> None:
    assert shown(text, "markdown_v2") == expected
    assert shown(text, "markdown") == shown(text, "text") == text


def test_in_a_link_an_address_keeps_all_of_its_underscores() -> None:
    address = defuse("https://a.example/_x_/__y", "markdown_v2")
    other = defuse("https://b.example/_", "markdown_v2")
    assert finish(f"[a]({address}) [b]({address})") == (
        "[a](https://a.example/_x_/__y) [b](https://a.example/_x_/__y)"
    )
    assert finish(f"[a]({address}) {other}") == (
        "[a](https://a.example/_x_/__y) https://b.example/_"
    )
    for outside in (f"[a](b){address}", f"[a](b {address})", f"[a](b({address})"):
        assert "/%5Fx%5F/%5F%5Fy" in finish(outside)
    assert finish(f"({address}) {other}") == (
        "(https://a.example/%5Fx%5F/%5F%5Fy) https://b.example/%5F"
    )


@pytest.mark.parametrize(
    "text",
    [
        "ftp://a.example/_x_",
        "HTTP://a.example/_x_",
        "http:/a.example/_x_",
        "http://a.example/_x_ y",
        "http://a.example/(_x_",
        "http://a.example/*_x_",
        "http://a.example/~~_x_",
        "http://a.example/_x_.",
        "http://应用.example/_x_",
        "see http://a.example/_x_",
    ],
)
def test_what_is_more_or_less_than_a_plain_address_is_a_text_like_any_other(text: str) -> None:
    assert "·" in shown(text, "markdown_v2")


def test_an_address_holds_only_signs_that_can_begin_nothing_in_it() -> None:
    for sign in "wW9.~:/?#@!$&'+,=%-":
        for text in (f"http://a.example/_{sign}x", f"https://a.example/_{sign}x"):
            assert shown(text, "markdown_v2") == text
    for sign in "wW9/=&#%+-":
        text = f"https://a.example/_x{sign}"
        assert shown(text, "markdown_v2") == text
    for sign in "!~,.:?@$'":
        assert "·_·" in shown(f"https://a.example/_x{sign}", "markdown_v2")
    assert shown("http://_", "markdown_v2") == "http://_"
    assert "·_·" in shown("http://~~a_", "markdown_v2")


def test_controls_and_what_turns_the_reading_direction_are_removed_and_nothing_else() -> None:
    unseen = "\0\x08\x0b\x0c\x0e\x1f\x7f\x84\x86\x9f\u202a\u202e\u2066\u2069\ufeff\ue000\ue003"
    assert [plain(f"a{sign}b") for sign in unseen] == ["ab"] * len(unseen)
    kept = "\t ~\xa0\u2027\u202f\u2065\u206a\ufefe\uf8ff\ue004"
    assert plain(kept) == kept
