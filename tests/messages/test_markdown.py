"""Defusing and shortening: what is untrusted does nothing, and what is cut is cut between signs."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import takes_less

from bridge.messages import markdown
from bridge.messages.html import to_html
from bridge.messages.markdown import ZWSP, finish, plain, shorten, size
from bridge.model import Message
from bridge.msgtypes import TEXT_LIMITS

MSGTYPES = sorted(TEXT_LIMITS)
ATTACKS = [
    "<@all>",
    "<@wangqing> look",
    '<font color="warning">red</font>',
    "</font>",
    "**bold**",
    "***",
    "`code`",
    "[click](http://evil.example)",
    "# heading",
    "  ## heading",
    "> quote",
    "a\n> quote\n# heading",
    "![x](http://evil.example/p.png)",
    "~~gone~~",
    "_it_ *it*",
    "---",
    "title\n===",
    "- item\n1. item",
    "    code block",
    "```\nfence\n```",
    "| a | b |\n|---|---|\n| c | d |",
    "&lt;@all&gt; &#42;",
    "\\*x\\*",
    "<http://evil.example>",
    "[a]: http://evil.example\n[a]",
]


def defuse(text: str, msgtype: str) -> str:
    """Untrusted text as it stands in a message outside of tables."""
    return finish(markdown.defuse(text, msgtype))


def visible(text: str) -> str:
    """What a reader sees: no zero-width space, and full-width twins as the signs they stand for."""
    return unicodedata.normalize("NFKC", text.replace(ZWSP, ""))


@pytest.mark.parametrize("msgtype", MSGTYPES)
@pytest.mark.parametrize("attack", ATTACKS)
def test_untrusted_text_makes_nothing_and_still_reads_as_written(attack: str, msgtype: str) -> None:
    defused = defuse(attack, msgtype)
    html = to_html(Message(msgtype, {"content": defused}))
    allowed = {"div", "/div"} if msgtype != "text" else {"div", "/div", "a", "/a"}
    tags = {part.split()[0].rstrip(">") for part in html.replace("<", "\n<").split("\n")
            if part.startswith("<") for part in [part[1:].split(">")[0]]}  # fmt: skip
    assert tags <= allowed | {"p", "/p", "br"}, html
    assert "mention" not in html
    assert visible(defused) == unicodedata.normalize("NFKC", attack)


@pytest.mark.sweep
@pytest.mark.parametrize("msgtype", MSGTYPES)
@given(text=st.text())
def test_any_text_is_harmless_and_reads_as_written(msgtype: str, text: str) -> None:
    defused = defuse(text, msgtype)
    html = to_html(Message(msgtype, {"content": defused}))
    for made in ("<strong", "<b>", "<em", "<h1", "<h2", "<code", "<font", "<table", "<img", "<ul"):
        assert made not in html
    assert 'class="mention' not in html and 'class="quote' not in html
    assert visible(defused) == unicodedata.normalize("NFKC", plain(text).replace(ZWSP, ""))


@pytest.mark.parametrize("msgtype", MSGTYPES)
@given(parts=st.lists(st.sampled_from([*"<@al>[]()*`#_|~!&;x\n ", "font", "**", "](", "<@"])))
def test_values_side_by_side_make_nothing_together(msgtype: str, parts: list[str]) -> None:
    content = "".join(defuse(part, msgtype) for part in parts)
    assert "<@" not in content
    if msgtype == "markdown":
        assert "**" not in content and "](" not in content and "`" not in content
        assert "<font" not in content and "</font" not in content


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a\r\nb\rc", "a\nb\nc"),
        ("a\u2028b\u2029c\x85d", "a\nb\nc\nd"),
        ("\x00\x07a\x1b[31mred\x7f", "a[31mred"),
        ("user\u202egnp.exe\u2066x\u2069", "usergnp.exex"),
        ("tab\tstays", "tab\tstays"),
        ("\ufeffbom", "bom"),
    ],
)
def test_controls_and_bidi_overrides_are_removed_and_line_ends_are_lf(text: str, kept: str) -> None:
    for msgtype in MSGTYPES:
        assert defuse(text, msgtype) == kept


def test_in_a_table_a_line_end_of_a_value_ends_no_row() -> None:
    value = markdown.defuse("a|b\nc", "markdown_v2")
    assert finish(f"| x | {value} |\n{value}") == "| x | a｜b c |\na｜b\nc"
    assert markdown.defuse("\ue000", "markdown_v2") == ""


EMOJI = ["👨‍👩‍👧‍👦", "🇨🇳", "👍🏽", "e\u0301", "❤️", "🏴\U000e0067\U000e0062\U000e007f", "한", "測"]


@pytest.mark.parametrize("sign", EMOJI)
def test_a_cut_never_goes_through_a_sign(sign: str) -> None:
    for room in range(40, 90):
        cut = shorten(sign * 50, room)
        head, mark, tail = cut.partition("…")
        assert size(cut) <= room
        assert mark and tail == f"（已截断，共 {len(sign) * 50} 字）"
        assert head == sign * (len(head) // len(sign)), room


@given(text=st.text(), room=st.integers(0, 200))
def test_a_shortened_text_fits_and_says_that_it_was_cut(text: str, room: int) -> None:
    cut = shorten(text, room)
    if size(text) <= room:
        assert cut == text
    else:
        assert size(cut) <= max(room, 3)
        assert cut.endswith(("…", f"…（已截断，共 {len(text)} 字）"))


def test_hostile_text_of_a_message_s_length_takes_no_time() -> None:
    for unit in ("`", "<", "*", "&a", "\n#", " ", "_", "&" + "a" * 40, "[]()", "\\", "\n "):
        text = (unit * 4096)[:4096]
        for msgtype in MSGTYPES:
            # Generous: quadratic would be seconds.
            assert takes_less(1, lambda t=text, m=msgtype: defuse(t, m))
