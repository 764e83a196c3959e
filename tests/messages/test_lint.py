"""The linter of templates."""

import re
from zoneinfo import ZoneInfo

import pytest
from support import cpu_seconds

from bridge.messages.lint import lint, lint_message
from bridge.model import Event, Message

UTC = ZoneInfo("UTC")


def complaints(source: str, msgtype: str = "markdown", name: str = "crashlog") -> list[str]:
    return [f"{f.line}: {f.text % (f.values or {})}" for f in lint(source, msgtype, name)]


@pytest.mark.parametrize(
    ("line", "word"),
    [("- one", "list"), ("* one", "list"), ("  1. one", "list"), ("- {{ title }}", "list"),
     ("![x](https://a/b.png)", "picture"), ("![x]({{ link }})", "picture"),
     ("| a | {{ title }} |", "table"), ("```", "block"), ("an *italic* word", "italics"),
     ("---", "rule")],
)  # fmt: skip
def test_markdown_that_is_not_shown_is_found(line: str, word: str) -> None:
    [found] = complaints(f"{{# x\n#}}### Title\n\n{line}\n")
    assert re.match(rf"4: an? {word}|4: {word}", found)
    assert complaints(f"### Title\n\n{line}\n", "markdown_v2") == []


def test_lines_are_counted_over_what_whitespace_control_strips() -> None:
    source = "{% if title %}\n\n{%- endif %}\n{{- title -}}\n\n{# a\nb #}\n- a list"
    assert [found.partition(":")[0] for found in complaints(source)] == ["8"]


@pytest.mark.parametrize(
    "source",
    ["### Title", "**bold** and **bold**", "> quoted", "[a]({{ link }})", "`code`", "a - b * c * d",
     '<font color="info">x</font>', "<@{{ 'a' }}>", "2.5", "-1 degree{# - not shown #}",
     "{% if title %}- {% endif %}", "{{ '- no list' }}", "{{- title -}}", "5 * 3 * 2"],
)  # fmt: skip
def test_markdown_that_is_shown_is_accepted(source: str) -> None:
    assert complaints(source) == []


@pytest.mark.parametrize(
    ("source", "word"), [('<font color="info">', "colour"), ("<@me>", "mention")]
)
def test_what_markdown_v2_does_not_show_is_found(source: str, word: str) -> None:
    [found] = complaints(source, "markdown_v2")
    assert word in found


@pytest.mark.parametrize(
    "source", ["**b**", "`c`", "# h", "> q", "[a](b)", "<font>", "```", "![a](b)"]
)
def test_markup_in_text_is_found(source: str) -> None:
    assert any("markup" in found for found in complaints(f"a\n{source}", "text"))
    assert all(found.startswith("2: ") for found in complaints(f"a\n{source}", "text"))


def test_filters_that_do_nothing_are_named() -> None:
    assert "color does nothing" in complaints("{{ title|color('info') }}", "text")[0]
    assert "quote shows as typed" in complaints("{{ title|quote }}", "text")[0]
    assert "color does nothing" in complaints("{{ title|color('info') }}", "markdown_v2")[0]
    assert complaints("{{ title|color('info')|quote }}") == []


def test_unknown_variables_are_found_with_their_line_and_a_guess() -> None:
    source = "{{ title }}\n{{ titel }}\n{% if xyzzy %}{% endif %}{% set mine = 1 %}{{ mine }}"
    assert complaints(source) == [
        "2: titel is no variable: did you mean title?",
        "3: xyzzy is no variable: it will be empty",
    ]
    assert complaints("{{ total }}{% for g in groups %}{{ g }}{% endfor %}{{ console }}",
                      name="digest") == []  # fmt: skip
    assert complaints("{{ total }}")[0].startswith("1: total is no variable")
    assert complaints("{{ range(3) }}{{ payload.x }}{{ event.id }}{{ mention }}") == []


def test_a_message_without_its_link_or_with_a_cut_is_found() -> None:
    event = Event("x", {"link": "https://www.pgyer.com/abcd"}, 0.0)
    without, with_ = Message("markdown", {"content": "a"}), Message(
        "news", {"articles": [{"url": "https://www.pgyer.com/abcd"}]}
    )  # fmt: skip
    assert "no link" in lint_message(event, without, False)[0].text
    assert lint_message(event, with_, False) == []
    assert lint_message(Event("x", {}, 0.0), without, False) == []
    assert "shortened" in lint_message(event, with_, True)[0].text


def test_the_number_of_findings_is_limited() -> None:
    assert len(complaints("- a\n" * 500)) == 20


@pytest.mark.sweep
@pytest.mark.parametrize("msgtype", ["markdown", "markdown_v2", "text"])
@pytest.mark.parametrize(
    "unit",
    ["\n", "![", "[", "[a](", "![](", "|", "| ", "`", "*a", "**", "-", "- a\n", " ", " \n", "#",
     "<font", "{{ x }}", "{{ a }}\n", "\t|", "1", "1. ", "_", "{# #}\n", "```\n", "---\n"],
)  # fmt: skip
def test_the_linter_s_time_is_linear_in_the_text(unit: str, msgtype: str) -> None:
    source = unit * (65_536 // len(unit))
    # Generous: quadratic would be minutes.
    assert cpu_seconds(lambda: complaints(source, msgtype)) < 4
