"""Whether a text may be saved as a template."""

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from bridge.messages.renderer import Renderer
from bridge.messages.saving import MAX_SOURCE, find_name_problem, find_problems

USES = "{% import '_m.j2' as m %}{{ m.head() }}"


@pytest.fixture
def renderer(tmp_path: Path) -> Renderer:
    (tmp_path / "crashlog.text.j2").write_text(USES)
    (tmp_path / "_m.j2").write_text("{% macro head() %}head{% endmacro %}")
    (tmp_path / "broken.text.j2").write_text("{{ 1 / 0 }}")
    return Renderer(tmp_path, ZoneInfo("UTC"))


def problems(renderer: Renderer, **texts: str) -> dict[str, list[str]]:
    """Return what is wrong; `a_text` is the name `a.text.j2`, and `_m` is `_m.j2`."""
    files = {f"{n if n[0] == '_' else n.replace('_', '.')}.j2": text for n, text in texts.items()}
    return find_problems(renderer, files)


@pytest.mark.parametrize(
    "name", ["crashlog.text.j2", "crashlog-short.markdown_v2.j2", "_m.j2", "短信.markdown.j2",
             "my.own.news.j2", "updateVersion.template_card.j2", "UPDATES.text.j2"]
)  # fmt: skip
def test_a_name_that_can_be_used(name: str) -> None:
    assert find_name_problem(name, []) == ""


@pytest.mark.parametrize(
    ("name", "said"),
    [("Crashlog.text.j2", "rename it to crashlog.text.j2"),
     ("updateversion.markdown.j2", "rename it to updateVersion.markdown.j2"),
     ("DIGEST.text.j2", "rename it to digest.text.j2"),
     ("crashlog.Markdown.j2", "rename it to crashlog.markdown.j2"),
     ("crashlog.markdwon.j2", "rename it to crashlog.markdown.j2"),
     ("crashlog.html.j2", "markdown, markdown_v2, text, news, template_card"),
     ("crashlog.j2", "must end in .<msgtype>.j2"), ("text.j2", "must end in .<msgtype>.j2"),
     (".text.j2", "is no name"), ("../x.text.j2", "is no name"), ("a/b.text.j2", "is no name"),
     ("a b.text.j2", "is no name"), ("x.text.J2", "is no name"), ("", "is no name"),
     ("x.text.j2.txt", "is no name"), ("x" * 200 + ".text.j2", "is no name"),
     ("known.text.j2", "already"), ("KNOWN.text.j2", "known.text.j2 already")],
)  # fmt: skip
def test_a_name_that_cannot_be_used_says_what_to_write(name: str, said: str) -> None:
    assert said in find_name_problem(name, ["known.text.j2"])


def test_a_sound_text_may_be_saved(renderer: Renderer) -> None:
    assert problems(renderer, crashlog_text="{{ title }}", new_markdown="{{ titel }}\n- list") == {}


@pytest.mark.parametrize(
    ("source", "said"),
    [("{{ title", "line 1 {{ or {% is never closed"), ("{{ title|nosuch }}", "nosuch"),
     ("{{ 1 / 0 }}", "line 1 it fails: ZeroDivisionError"), ("", "shows nothing"),
     ("a\0b", "NUL"), ("字" * (MAX_SOURCE // 3 + 1), "at most 65536 bytes"),
     ("{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}", "takes more"),
     ("字" * 2000, "longer than")],
)  # fmt: skip
def test_an_unsound_text_says_why(renderer: Renderer, source: str, said: str) -> None:
    found = problems(renderer, crashlog_text=source)
    assert list(found) == ["crashlog.text.j2"]
    assert said in found["crashlog.text.j2"][0]


def test_what_is_broken_already_does_not_hinder_others(renderer: Renderer) -> None:
    assert problems(renderer, crashlog_text="x") == {}
    assert list(problems(renderer, broken_text="{{ 1 / 0 }}")) == ["broken.text.j2"]
    assert problems(renderer, broken_text="good") == {}


def test_a_helper_must_not_break_those_that_use_it(renderer: Renderer) -> None:
    assert problems(renderer, _m="{% macro head() %}other{% endmacro %}") == {}
    assert list(problems(renderer, _m="{% macro tail() %}x{% endmacro %}")) == ["crashlog.text.j2"]
    assert list(problems(renderer, _m="{% macro")) == ["_m.j2"]


def test_texts_that_need_each_other_are_tried_together(renderer: Renderer) -> None:
    helper = "{% macro tail() %}tail{% endmacro %}"
    user = USES.replace("head", "tail")
    assert list(problems(renderer, crashlog_text=user)) == ["crashlog.text.j2"]
    assert problems(renderer, crashlog_text=user, _m=helper) == {}
