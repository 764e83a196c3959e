"""The linter of templates: each mistake is found where it is, and its sound neighbour is not."""

import re
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import ROOT, takes_less

from bridge.messages.file_names import msgtype_of, name_finding
from bridge.messages.findings import Finding
from bridge.messages.lint import lint, lint_message
from bridge.model import Event, Message
from bridge.msgtypes import TEMPLATE_MSGTYPES
from bridge.wording import _TABLES, LEVELS, speaking

LINK = "{{ link }}\n"  # so that none is missing


def found(source: str, msgtype: str = "markdown", name: str = "crashlog") -> list[Finding]:
    file = f"{name}.{msgtype}.j2"
    return lint({file: source}).get(file, [])


def codes(source: str, msgtype: str = "markdown", name: str = "crashlog") -> list[str]:
    """Return `line code` of each finding, the text being behind a line with a link."""
    findings = found(LINK + source, msgtype, name)
    return [f"{one.line - 1} {one.code}" for one in findings]


def named(file: str, source: str = LINK, **more: list[str]) -> list[tuple[str, str]]:
    """Return level and code of what is wrong with a file's name."""
    return [(one.level, one.code) for one in lint({file: source}, **more).get(file, [])]


def test_the_templates_and_examples_that_come_with_the_bridge_have_no_finding() -> None:
    for folder in ("templates", "templates/examples"):
        files = {path.name: path.read_text() for path in (ROOT / folder).glob("*.j2")}
        assert len(files) >= 4
        assert lint(files) == {}


@pytest.mark.parametrize(
    ("source", "code", "sound"),
    [
        ("{{ titel }}", "unknown_variable", "{{ title }}"),
        ("{{ xyzzy }}", "unknown_variable", "{% set xyzzy = 1 %}{{ xyzzy }}"),
        ("{{ group.title }}", "unknown_variable",
         "{% for group in payload.items() %}{{ group }}{% endfor %}"),
        ("{{ title|filesiez }}", "unknown_filter", "{{ title|filesize }}"),
        ("{% if title is numbr %}x{% endif %}", "unknown_test",
         "{% if title is number %}x{% endif %}"),
        ("{title}", "single_braces", "{{ title }}"),
        ("{ title }", "single_braces", "{ no variable }"),
        ("{title|filesize}", "single_braces", "{{ title|filesize }}"),
        ("{版本}", "single_braces", "{更早}"),
        ("｛｛title｝｝", "single_braces", "｛其他｝"),
        ("${title}", "single_braces", "$title"),
        ("<br>", "html_break", "< br >"),
        ("</br>", "html_break", "a < b > c"),
        ("<b>x</b>", "html_bold", "**x**"),
        ('<a href="https://a.b">x</a>', "html_link", "[x](https://a.b)"),
        ("<SPAN>x", "html_other", "<版本>"),
        ('<font color="red">x</font>', "unknown_color", '<font color="info">x</font>'),
        ("<font color='info'>x</font>", "color_form", '<font color="warning">x</font>'),
        ("<font>x</font>", "color_form", '<font color="{{ \'info\' }}">x</font>'),
        ("{{ title|color('green') }}", "unknown_color", "{{ title|color('comment') }}"),
        ("@all", "typed_all", "{{ mention }}"),
        ("@所有人请看", "typed_all", "所有人请看"),
        ("通知 @All。", "typed_all", "bob@all.example"),
        ("<@all>", "typed_all", "<@wangqing>"),
        ("@张三 看一下", "typed_name", "张三 看一下"),
        ("@wangqing", "typed_name", "mail@wangqing.example"),
        ("@13800138000", "typed_name", "13800138000"),
        ("<@张三>", "no_userid", "<@zhang.san>"),
        ("<@13800138000>", "no_userid", "<@{{ title }}>"),
        ("｛% if title %｝", "fullwidth", "{% if title %}x{% endif %}"),
        ("{% if title ％}", "fullwidth", "100％"),
        ("{{ “新版本” }}", "fullwidth", "{{ '“新版本”' }}"),
        ("{{ ‘新’ }}", "fullwidth", "‘新’"),
        ("{{ title｜quote }}", "fullwidth", "{{ title|quote }}｜"),
        ("{{ title，notes }}", "fullwidth", "{{ title }}，{{ notes }}"),
        ("{{ title|default（1） }}", "fullwidth", "{{ title|default(1) }}（1）"),
    ],
)  # fmt: skip
def test_a_mistake_that_shows_wrong_text_is_found_on_its_line(
    source: str, code: str, sound: str
) -> None:
    lines = {one for one in codes(f"\n{source}") if one.endswith(code)}
    assert lines and all(one.startswith("2 ") for one in lines), codes(f"\n{source}")
    assert LEVELS[code] == ("warning" if code == "typed_name" else "error")
    assert codes(f"\n{sound}") == []


@pytest.mark.parametrize(
    ("source", "code", "sound"),
    [
        ('{"title": "{{ title }}"}', "quoted_value", '{"title": {{ title }}}'),
        ('{"title": "v{{ os_version }}"}', "quoted_value", '{"title": {{ "v" ~ os_version }}}'),
        ('{"a": "\\"", "b": "{{ title }}"}', "quoted_value", '{"a": "\\"", "b": {{ title }}}'),
        ('{"title": "@所有人"}', "typed_all", '{"title": "所有人"}'),
        ('{"title": "<@wangqing>"}', "no_inline_mention", '{"title": "wangqing"}'),
        ('{"title": "<br>"}', "html_break", '{"title": "br"}'),
        ('{"title": {title}}', "single_braces", '{"title": {"a": {{ title }}}}'),
    ],
)
@pytest.mark.parametrize("msgtype", ["news", "template_card"])
def test_a_mistake_in_json_is_found(source: str, code: str, sound: str, msgtype: str) -> None:
    assert codes(f"\n{source}", msgtype) == [f"2 {code}"]
    assert LEVELS[code] == "error"
    assert codes(f"\n{sound}", msgtype) == []


@pytest.mark.parametrize(
    ("source", "code", "values"),
    [
        ("{% if title %}", "unclosed_block", {"tag": "if"}),
        ("{% for a in payload %}{% endif %}", "wrong_nesting", {"name": "endif", "tag": "for"}),
        ("{% endif %}", "stray_tag", {"name": "endif"}),
        ("{% iff title %}", "unknown_tag", {"name": "iff", "close": "if"}),
        ("{% %}", "no_tag", {}),
        ("{{ title", "unfinished", {"expected": "}}"}),
        ("{{ title {{ link }}", "unfinished", {"expected": "}}"}),
        ("{% if title", "unfinished", {"expected": "%}"}),
        ("{# note", "unclosed_comment", {}),
        ("{{ title notes }}", "two_values", {"got": "notes"}),
        ("{% if title = 1 %}{% endif %}", "single_equals", {}),
        ("{% if title == %}{% endif %}", "no_value", {"got": "%}"}),
        ("{{ }}", "no_value", {"got": "}}"}),
        ("{{ title| }}", "no_name", {}),
        ("{% for a on payload %}{% endfor %}", "expected", {"expected": "in", "got": "on"}),
        ("{{ (title }}", "expected", {"expected": ")", "got": "}"}),
        ("{{ title) }}", "unexpected", {"got": ")"}),
        ("{{ 'title }}", "unclosed_quote", {"char": "'"}),
        ("{{ ti\\tle }}", "unexpected_char", {"char": "\\"}),
        ("{{ ‘title’ }}", "fullwidth", {"char": "‘", "half": "'"}),
        ("{{ 1..2 }}", "no_name", {}),
        ("{% set a 1 %}", "expected", {"expected": "%}"}),
        ("{% block a %}{% endblock %}{% block a %}{% endblock %}", "syntax", {}),
    ],
)
def test_a_syntax_error_is_said_in_the_reader_s_language(
    source: str, code: str, values: dict[str, str]
) -> None:
    [one] = found(f"{LINK}\n{source}")
    assert (one.code, one.line, one.level) == (code, 3, "error")
    assert values.items() <= one.values.items()
    for language in ("zh", "en"):
        with speaking(language):
            assert re.search("[一-鿿]", one.text) if language == "zh" else one.text
            assert all(value in one.text for value in values.values())


def test_what_was_meant_is_guessed() -> None:
    guesses = {
        "{{ titel }}": "title", "{{ Title }}": "title", "{{ 版本 }}": "os_version",
        "{{ version }}": "os_version", "{{ url }}": "link", "{{ ｔｉｔｌｅ }}": "title",
        "{{ title|filesiez }}": "filesize", "{% endfi %}": "endif", "{{ xyzzy }}": "",
    }  # fmt: skip
    for source, close in guesses.items():
        [one] = found(LINK + source)
        assert one.values["close"] == close
        with speaking("zh"):
            assert (f"应为 {close}" in one.text or f"{{% {close} %}}" in one.text) is bool(close)


def test_of_build_only_the_parts_are_printed() -> None:
    sound = "{{ build.icon }}{{ build['qrcode'] }}{% if build %}+{% endif %}{% set b = build.x %}"
    assert codes(sound) == []
    [finding] = found(LINK + "{{ build }}")
    assert (finding.code, finding.values["close"]) == ("unknown_variable", "build_version")


def test_a_digest_has_other_variables_and_a_helper_has_all() -> None:
    loop = "{{ total }}{% for g in groups %}{{ g }}{% endfor %}{{ console }}{{ mention }}"
    assert codes(loop, name="digest") == ["0 unknown_variable"]  # the link of codes()
    assert found(loop, name="digest") == []
    assert {one.code for one in found(loop)} == {"unknown_variable", "no_link"}
    helper = "{% macro a() %}{{ title }}{{ total }}{% endmacro %}"
    assert lint({"_macros.j2": helper}) == {}
    assert [one.code for one in lint({"_macros.j2": "{{ titel }}"})["_macros.j2"]] == [
        "unknown_variable"
    ]
    assert codes("{{ range(3) }}{{ payload.x }}{{ event.id }}{{ mention }}") == []


def test_a_helper_is_judged_by_the_msgtype_of_those_who_use_it() -> None:
    helper, use = "- a\n", "{% include '_list.j2' %}" + LINK
    assert lint({"_list.j2": helper, "a.markdown.j2": use})["_list.j2"][0].code == "list"
    assert "_list.j2" not in lint({"_list.j2": helper, "a.markdown_v2.j2": use})
    both = {"_list.j2": helper, "a.markdown_v2.j2": use, "b.markdown.j2": use}
    assert "_list.j2" not in lint(both)


@pytest.mark.parametrize(
    ("line", "code"),
    [("- one", "list"), ("* one", "list"), ("  1. one", "list"), ("- {{ title }}", "list"),
     ("![x](https://a/b.png)", "picture"), ("![x]({{ link }})", "picture"),
     ("| a | {{ title }} |", "table"), ("```", "code"), ("an *italic* word", "italics"),
     ("---", "rule")],
)  # fmt: skip
def test_markdown_that_is_not_shown_is_found(line: str, code: str) -> None:
    assert codes(f"{{# x\n#}}### Title\n\n{line}\n") == [f"4 {code}"]
    assert LEVELS[code] == "warning"
    assert codes(f"### Title\n\n{line}\n", "markdown_v2") == []


def test_lines_are_counted_over_what_whitespace_control_strips() -> None:
    source = "{% if title %}\n\n{%- endif %}\n{{- title -}}\n\n{# a\nb #}\n- a list"
    assert codes(source) == ["8 list"]


@pytest.mark.parametrize(
    "source",
    ["### Title", "**bold** and **bold**", "> quoted", "[a]({{ link }})", "`code`", "a - b * c * d",
     '<font color="info">x</font>', "<@{{ 'a' }}>", "2.5", "-1 degree{# - not shown #}",
     "{% if title %}- {% endif %}", "{{ '- no list' }}", "{{- title -}}", "5 * 3 * 2"],
)  # fmt: skip
def test_markdown_that_is_shown_is_accepted(source: str) -> None:
    assert codes(source) == []


@pytest.mark.parametrize(
    ("source", "code"), [('<font color="info">', "color"), ("<@me>", "no_inline_mention")]
)
def test_what_markdown_v2_does_not_show_is_found(source: str, code: str) -> None:
    assert codes(source, "markdown_v2") == [f"1 {code}"]


@pytest.mark.parametrize(
    "source", ["**b**", "`c`", "# h", "> q", "[a](b)", "<font>", "```", "![a](b)"]
)
def test_markup_in_text_is_found(source: str) -> None:
    assert codes(f"a\n{source}", "text") == ["2 markup"]


def test_filters_that_do_nothing_are_noted() -> None:
    assert codes("{{ title|color('info') }}", "text") == ["1 useless_filter"]
    assert codes("{{ title|quote }}", "text") == ["1 quote_filter"]
    assert codes("{{ title|color('info') }}", "markdown_v2") == ["1 useless_filter"]
    assert codes("{{ title|color('info')|quote }}") == []
    assert {LEVELS["useless_filter"], LEVELS["quote_filter"]} == {"note"}


def test_a_missing_link_is_likely_a_mistake() -> None:
    assert [(one.level, one.code) for one in found("{{ title }}")] == [("warning", "no_link")]
    for source in ("{{ link }}", "{{ '看'|link(payload.url) }}", "{{ payload }}"):
        assert found(source) == []
    helper = {"_foot.j2": "{{ link }}", "a.markdown.j2": "{% include '_foot.j2' %}"}
    assert lint(helper) == {}
    for own in ("digest", "test", "botStopped", "expired", "undecodable"):
        assert found("x", name=own) == []


@pytest.mark.parametrize("source", ["", " \n", "{# only a comment #}", "{% set a = 1 %}"])
def test_an_empty_template_is_an_error(source: str) -> None:
    assert ("error", "blank") in {(one.level, one.code) for one in found(source)}
    assert lint({"_helper.j2": source}) == {}


@pytest.mark.parametrize(
    ("file", "level", "code", "close"),
    [
        ("updateversion.markdown.j2", "error", "wrong_case", "updateVersion.markdown.j2"),
        ("CrashLog.text.j2", "error", "wrong_case", "crashlog.text.j2"),
        ("新版本.markdown.j2", "error", "wrong_case", "updateVersion.markdown.j2"),
        ("crashlgo.text.j2", "warning", "misspelled_type", "crashlog.text.j2"),
        ("crashLog.Text.j2", "error", "no_msgtype", "crashlog.text.j2"),
        ("crashlog.markdwon.j2", "error", "no_msgtype", "crashlog.markdown.j2"),
        ("crashlog.html.j2", "error", "no_msgtype", ""),
        ("crashlog.j2", "error", "no_msgtype", ""),
    ],
)
def test_a_misspelled_file_is_found(file: str, level: str, code: str, close: str) -> None:
    [one] = lint({file: LINK})[file]
    assert (one.level, one.code, one.values["close"]) == (level, code, close)


@pytest.mark.parametrize(
    "file", ["crashlog.text.j2", "crashlog-short.text.j2", "my_crashlog.text.j2", "_macros.j2",
             "证书过期.markdown.j2", "default.markdown_v2.j2", "app.release.markdown.j2"],
)  # fmt: skip
def test_a_sound_name_is_accepted(file: str) -> None:
    assert named(file) == []


def test_a_template_that_a_route_names_may_have_any_name() -> None:
    assert named("crashlgo.text.j2", routed=["crashlgo"]) == []
    assert named("updateversion.text.j2", routed=["updateversion.text"]) == []
    assert named("updateversion.text.j2", routed=["other"]) == [("error", "wrong_case")]


def test_a_file_that_an_editor_gave_another_ending_is_found() -> None:
    wrong = {
        "crashlog.markdown.j2.txt": "crashlog.markdown.j2",
        "crashlog.text.J2": "crashlog.text.j2",
        "crashlog.jinja2": "crashlog.markdown.j2",
        "updateversion.Markdown.md": "updateVersion.markdown.j2",
        "digest.md": "digest.markdown.j2",
        "crashlog.text": "crashlog.text.j2",
        "_macros.j2.txt": "_macros.j2",
    }
    sound = ["README.md", "notes.txt", "crashlog.markdown.j2~", ".crashlog.markdown.j2.swp", ".git"]
    findings = {file: one for file in (*wrong, *sound) if (one := name_finding(file))}
    assert {file: one.values["close"] for file, one in findings.items()} == wrong
    assert {one.code for one in findings.values()} == {"file_ending"}


def test_a_rendered_message_without_its_link_or_with_a_cut_is_found() -> None:
    event = Event("x", {"link": "https://www.pgyer.com/abcd"}, 0.0)
    without, with_ = Message("markdown", {"content": "a"}), Message(
        "news", {"articles": [{"url": "https://www.pgyer.com/abcd"}]}
    )  # fmt: skip
    assert [one.code for one in lint_message(event, without, False)] == ["no_link"]
    assert lint_message(event, with_, False) == []
    assert lint_message(Event("x", {}, 0.0), without, False) == []
    assert [one.code for one in lint_message(event, with_, True)] == ["cut"]


def test_the_number_of_findings_is_limited_and_errors_stay() -> None:
    findings = found("- a\n" * 500 + "{titel}\n" * 50)
    assert len(findings) == 20
    assert {"single_braces"} == {one.code for one in findings}
    assert len(found("- a\n" * 500)) == 20


@pytest.mark.parametrize("code", LEVELS)
def test_every_finding_has_its_text_in_both_languages(code: str) -> None:
    row = _TABLES["findings"][LEVELS[code]][code]
    names = [set(re.findall(r"%\((\w+)\)s", text)) for text in row]
    for close in ("", "nearest")[: len(row) // 2]:
        values = {name: f"<{name}>" for name in set().union(*names)} | {"close": close}
        one = Finding(code, 3, values)
        with speaking("zh"):
            zh = one.text
        with speaking("en"):
            en = one.text
        assert re.search("[一-鿿]", zh) and not re.search("[一-鿿]", en)
        assert "%(" not in zh + en and "%%" not in zh + en
        assert (close in zh) and (close in en)
    assert one.neutral("a.j2").startswith(f"a.j2:3: {code}")


PIECES = st.sampled_from(
    ["{{", "}}", "{%", "%}", "{#", "#}", "{", "}", " ", "\n", "title", "titel", "if ", "endif",
     "for a in b", "|", "color(", "'x'", '"', "“", "｛", "％", "@all", "<@", ">", "<br>", "<font ",
     "- ", "*", "`", "[", "](", "\\", "link", "import '_m.j2' as m", "0", "\0", "é", "\ud800"],
)  # fmt: skip


@given(
    source=st.one_of(st.text(max_size=200), st.lists(PIECES, max_size=40).map("".join)),
    file=st.one_of(
        st.sampled_from([f"a.{msgtype}.j2" for msgtype in TEMPLATE_MSGTYPES]),
        st.sampled_from(["digest.markdown.j2", "_m.j2", "a.j2", ".j2", ""]),
        st.text(max_size=20),
    ),
)
@settings(max_examples=300, deadline=None)
def test_the_linter_never_raises_and_every_finding_can_be_said(source: str, file: str) -> None:
    findings = lint({file: source, "_m.j2": source}, [file]).get(file, [])
    for one in findings:
        assert one.level in ("error", "warning", "note")
        for language in ("zh", "en"):
            with speaking(language):
                assert one.located(file)
    assert not msgtype_of(file) or [one.line for one in findings] == sorted(
        one.line for one in findings
    )


@pytest.mark.sweep
@pytest.mark.parametrize(
    "unit",
    ["\n", "![", "[", "[a](", "![](", "|", "| ", "`", "*a", "**", "-", "- a\n", " ", " \n", "#",
     "<font", "{{ x }}", "{{ a }}\n", "\t|", "1", "1. ", "_", "{# #}\n", "```\n", "---\n", "｛",
     "｛ ", "{a", "{titel}", "<br", "<b>", "<", "</br ", "@", "@a", "@a ", "<@", "<@a", "@所有人",
     '"', '\\"', '"a', '{{ "a" }}"', "｛%", "{{ title|nope }}", "<font color=\"a\">"],
)  # fmt: skip
def test_the_linter_s_time_is_linear_in_the_text(unit: str) -> None:
    source = unit * (16_384 // len(unit))
    for msgtype in ("markdown", "markdown_v2", "text", "news"):
        # Generous: it takes a tenth of this; quadratic would be many seconds.
        assert takes_less(2, partial(found, source, msgtype)), msgtype
