"""Text on its way to a terminal: harmless, without secrets, in even columns."""

import io
import json
import sys
from datetime import UTC

import click
import pytest

from bridge.cli.common import seconds
from bridge.cli.terminal import Terminal, fit, local_time, one_line, progress, visible, width


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPq#0\x1b\\six", "six"),
        ("\x9b2Jclear", "clear"),
        ("\x9d0;t\x9cc1", "c1"),
        ("\x1b(Bset", "set"),
        ("\x1bcreset", "reset"),
        ("end\x1b", "end"),
        ("\x1b]0;never ended", "0;never ended"),
        ("a\x07\x08b\x7f", "ab"),
        ("\u202egnp.exe", "gnp.exe"),
        ("one\r\ntwo\u2028three", "one\ntwo\nthree"),
        ("lone \ud800", "lone ?"),
        ("中文 🎉\ttab", "中文 🎉\ttab"),
    ],
)
def test_nothing_that_steers_a_terminal_is_left(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_hostile_text_costs_linear_time() -> None:
    for text in (
        "\x1b]" * 300_000,
        "\x9d" * 300_000,
        "\x1b[" + "0" * 300_000,
        "\x1bP\x9b" * 99_999,
    ):
        assert len(visible(text)) < 300_001


def test_a_cell_is_one_line() -> None:
    assert one_line(" a\n\t b\x1b[2J ") == "a b"


def test_chinese_takes_two_columns_and_a_combining_mark_none() -> None:
    assert [width(text) for text in ("ab", "中文", "e\u0301", "\u200b", "（）")] == [2, 4, 1, 0, 4]


def test_what_is_too_wide_is_cut_and_marked() -> None:
    assert fit("中文名称很长", 7) == "中文名…"
    assert fit("abcdefgh", 4) == "abc…"
    assert fit("abcd", 4) == "abcd"


def test_columns_are_even_with_chinese(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal().table([("1", "中文", "x"), ("22", "abc", "y"), ("3", "", "z\nz")], "  ")
    assert capsys.readouterr().out == "  1   中文  x\n  22  abc   y\n  3         z z\n"


def test_an_empty_table_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal().table([])
    assert capsys.readouterr().out == ""


def test_secrets_are_blotted_out_everywhere(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal(["s3cret/x", "12"])
    terminal.say("a s3cret/x and s3cret%2Fx")
    terminal.say("s3cret/x", err=True)
    terminal.table([("s3cret/x", "12")])
    shown = capsys.readouterr()
    assert shown.out == "a *** and ***\n***  ***\n"
    assert shown.err == "***\n"
    terminal.json({"s3cret/x": ["s3cret/x", 12, None, {"a": ("12",)}]})
    assert json.loads(capsys.readouterr().out) == {"***": ["***", 12, None, {"a": ["***"]}]}


def test_json_holds_no_control_character_and_yet_every_character(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = "中文\x1b\x9b\u202e\ufeff\n"
    Terminal().json([text])
    out = capsys.readouterr().out
    assert "中文" in out
    assert not set("\x1b\x9b\u202e\ufeff") & set(out)
    assert json.loads(out) == [text]


def test_a_time_is_in_the_zone() -> None:
    assert local_time(1_800_000_000.0, UTC) == "2027-01-15 08:00:00"


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_only_a_person_sees_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream, said in ((Tty(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        with progress([1, 2, 3], "work") as items:
            assert list(items) == [1, 2, 3]
        assert ("work" in stream.getvalue()) is said


def span(text: str) -> float | None:
    return seconds(click.Context(click.Command("x")), click.Option(["--since"]), text)


def test_durations() -> None:
    given = ("90s", "5m", "2h", "7d", "1w", " 2H ")
    assert [span(text) for text in given] == [90, 300, 7200, 604800, 604800, 7200]


@pytest.mark.parametrize("text", ["", "2", "h", "2 hours", "-1h", "0s", "1.5h", "9999999d", "２h"])
def test_what_is_no_duration_is_wrong_use(text: str) -> None:
    with pytest.raises(click.BadParameter, match="90s"):
        span(text)
