"""What is wrong with templates reaches the log, the folder's findings and the reader's language."""

import logging
import re
import shutil
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from rendering import SHIPPED, TO_DEFAULT, rendered

from bridge.messages.budget import TooCostlyError
from bridge.messages.findings import Finding, NoMessageError, finding_of, half, merged
from bridge.messages.renderer import Renderer
from bridge.model import Event
from bridge.wording import speaking

UTC = ZoneInfo("UTC")


def event(**payload: object) -> Event:
    return Event("crashlog", {"type": "crashlog", "title": "App", **payload}, 0.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the templates that come with the bridge."""
    made = tmp_path / "mine"
    shutil.copytree(SHIPPED, made)
    return made


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


def test_the_log_warns_once_for_each_change_of_a_file(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    renderer = Renderer(folder, UTC)
    for _ in range(3):
        rendered(renderer, event())
    assert warnings(caplog) == []
    (folder / "crashlog.markdown.j2").write_text("{{ titel }} {{ link }}\n@all\n- a")
    for _ in range(3):
        rendered(renderer, event())
    [line] = warnings(caplog)
    assert line.startswith("template crashlog.markdown.j2:1: titel is no variable")
    assert "crashlog.markdown.j2:2: @all" in line and "crashlog.markdown.j2:3: a list" in line
    (folder / "feedback.markdown.j2").write_text("{title} {{ link }}")
    for _ in range(3):
        rendered(renderer, event())
    assert len(warnings(caplog)) == 2 and "feedback" in warnings(caplog)[1]
    (folder / "crashlog.markdown.j2").write_text("{{ titel }} {{ link }}\n@all\n- a\n- b")
    rendered(renderer, event())
    assert len(warnings(caplog)) == 3
    (folder / "updateVersion.markdown.j2.txt").write_text("x")
    for _ in range(3):
        rendered(renderer, event())
    assert len(warnings(caplog)) == 4 and "must end in .j2" in warnings(caplog)[3]


def test_the_log_is_english_whatever_the_reader_speaks(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "crashlog.markdown.j2").write_text("{{ titel }} {{ link }}")
    (folder / "feedback.markdown.j2").write_text("{% if %}")
    (folder / "default.markdown.j2").write_text("{{ 1 // (title != 'Bad')|int }}{{ link }}")
    with speaking("zh"):
        renderer = Renderer(folder, UTC)
        rendered(renderer, Event("x", {"title": "Bad"}, 0.0))
        [problem] = renderer.problems
    assert len(caplog.records) == 3
    assert not re.search("[一-鿿]", caplog.text)
    assert problem == "feedback.markdown.j2:1: %} 之前缺少一个变量或文字"


def test_a_likely_mistake_does_not_keep_a_template_from_being_used(folder: Path) -> None:
    (folder / "crashlog.markdown.j2").write_text("{{ titel }}用 {{ title }}")
    renderer = Renderer(folder, UTC)
    assert rendered(renderer, event()) == "用 App"
    assert renderer.problems == []
    assert [one.code for one in renderer.findings["crashlog.markdown.j2"]] == [
        "no_link", "unknown_variable"
    ]  # fmt: skip


def test_findings_are_all_that_is_wrong_without_saying_it_twice(folder: Path) -> None:
    (folder / "crashlog.markdown.j2").write_text("{{ link }}\n{{ title|nope }}")
    (folder / "feedback.markdown.j2").write_bytes(b"\xff\xfe")
    (folder / "digest.markdown.j2").write_text("{{ total }} {title}")
    (folder / "default.markdown.j2").write_text(
        "{{ 1 // (title != 'Bad')|int }} {{ titel }}{{ link }}"
    )
    (folder / "x.Text.j2").write_text("x")
    (folder / "updateVersion.jinja2").write_text("x")
    renderer = Renderer(folder, UTC)
    rendered(renderer, Event("x", {"title": "Bad"}, 0.0))
    found = {
        file: [(one.code, one.line) for one in findings]
        for file, findings in renderer.findings.items()
    }
    assert found == {
        "crashlog.markdown.j2": [("unknown_filter", 2)],
        "feedback.markdown.j2": [("not_utf8", 0)],
        "default.markdown.j2": [("failed", 1), ("unknown_variable", 1)],
        "x.Text.j2": [("no_msgtype", 0)],
        "updateVersion.jinja2": [("file_ending", 0)],
    }
    assert [problem.partition(":")[0] for problem in renderer.problems] == [
        "crashlog.markdown.j2", "feedback.markdown.j2", "x.Text.j2"
    ]  # fmt: skip


def test_a_template_that_a_route_names_is_no_misspelling(folder: Path) -> None:
    (folder / "crashlgo.markdown.j2").write_text("{{ link }}")
    assert "crashlgo.markdown.j2" in Renderer(folder, UTC).findings
    assert Renderer(folder, UTC, routed=["crashlgo"]).findings == {}


@pytest.mark.parametrize(
    ("source", "file", "code", "values"),
    [
        ("{{ 1 / 0 }}", "crashlog.markdown.j2", "failed",
         {"error": "ZeroDivisionError('division by zero')"}),
        ("{% include 'no.j2' %}", "crashlog.markdown.j2", "no_such_file", {"name": "no.j2"}),
        ("{% import '_macros.j2' as m %}{{ m.nope() }}", "crashlog.markdown.j2", "no_such_name",
         {"name": "nope"}),
        ("{{ ''.__class__ }}", "crashlog.markdown.j2", "out_of_reach", {"name": "__class__"}),
        ("{{ 'x' * 10 ** 9 }}", "crashlog.markdown.j2", "too_large", {"most": 1 << 20}),
        ("字" * 3000, "crashlog.markdown.j2", "too_long", {"limit": 4096}),
        (" ", "crashlog.markdown.j2", "blank", {}),
        ("x", "digest.news.j2", "digest_msgtype", {"msgtype": "news"}),
        ("{", "crashlog.news.j2", "not_json", {"row": 1}),
        ("[]", "crashlog.news.j2", "no_object", {}),
        ("{}", "crashlog.news.j2", "articles", {"most": 8}),
        ('{"articles": 1}', "crashlog.news.j2", "no_list", {"key": "articles"}),
        ('{"articles": [{"a": 1}]}', "crashlog.news.j2", "needs_key", {"key": "title"}),
        ('{"articles": [{"title": "a"}]}', "crashlog.news.j2", "needs_url", {}),
        ("{}", "crashlog.template_card.j2", "card_type", {}),
        ('{"card_type": "text_notice"}', "crashlog.template_card.j2", "card_title", {}),
        ("{{ title|color('red') }}", "crashlog.markdown.j2", "unknown_color", {"color": "red"}),
        ("{% set a = [1] %}{% for b in range(10000) %}{% for c in range(10000) %}{% endfor %}"
         "{% endfor %}", "crashlog.markdown.j2", "too_slow", {"seconds": 1}),
    ],
)  # fmt: skip
def test_why_there_is_no_message_is_said_in_the_reader_s_language(
    source: str, file: str, code: str, values: dict[str, object], folder: Path
) -> None:
    (folder / "_macros.j2").write_text("{% macro a() %}{% endmacro %}")
    renderer = Renderer(folder, UTC)
    found = renderer.draft(source, file, event(), TO_DEFAULT)
    assert isinstance(found, Finding)
    assert found.code == code and values.items() <= found.values.items()
    assert found.level == "error"
    with speaking("zh"):
        assert re.search("[一-鿿]", found.text)
    with speaking("en"):
        assert not re.search("[一-鿿]", found.text)


def test_an_error_in_a_helper_names_the_helper_once(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for file in folder.glob("*.j2"):
        file.unlink()
    (folder / "_macros.j2").write_text("{% macro a() %}\n{% if %}{% endmacro %}")
    for name in ("crashlog", "feedback"):
        text = "{% import '_macros.j2' as m %}{{ link }}{{ m.a() }}"
        (folder / f"{name}.markdown.j2").write_text(text)
    [problem] = Renderer(folder, UTC).problems
    assert problem.startswith("_macros.j2:2: ")
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1


def test_an_error_carries_its_code_and_says_it_in_english() -> None:
    error = TooCostlyError("too_slow", seconds=1)
    with speaking("zh"):
        assert str(error) == str(NoMessageError("too_slow", seconds=1))
        assert str(error).startswith("it takes more than 1 s of CPU")
    assert finding_of(error) == Finding("too_slow", 0, {"seconds": 1})
    assert finding_of(PermissionError(13, "Permission denied")).code == "unreadable"
    assert finding_of(RecursionError("deep")).values == {"error": "RecursionError('deep')"}


def test_a_finding_is_merged_only_where_it_is_new() -> None:
    first, same, other = Finding("blank"), Finding("blank", 0, {"a": 1}), Finding("list", 2)
    assert merged(first, [same, other]) == [same, other]
    assert merged(first, [Finding("blank", 3)]) == [first, Finding("blank", 3)]


def test_full_width_signs_have_ascii_twins() -> None:
    twins = {"“": '"', "”": '"', "‘": "'", "，": ",", "｜": "|", "（": "(", "＝": "=", "。": ".",
             "｛": "{", "　": " ", "ａ": "a"}  # fmt: skip
    assert {char: half(char) for char in twins} == twins
    assert [half(char) for char in ("a", "字", "é", "…")] == ["", "", "", ""]
