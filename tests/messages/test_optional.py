"""Lines that vanish: the filter `optional`, and templates that do not use it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rendering import FORMER, SHANGHAI, SHIPPED, SHIPPED_RENDERER, TO_DEFAULT, folder, rendered

from bridge.messages.markdown import EMPTY, FILLED, finish, size
from bridge.messages.renderer import Renderer
from bridge.model import Event, Target
from bridge.samples import examples


def content(tmp_path: Path, template: str, msgtype: str = "markdown", **payload: object) -> str:
    renderer = Renderer(folder(tmp_path, **{f"default__{msgtype}": template}), SHANGHAI)
    assert renderer.problems == []
    text = rendered(renderer, Event("", payload, 0.0))
    assert renderer.problems_by_file == {}
    return text


@pytest.mark.parametrize("msgtype", ["markdown", "markdown_v2", "text"])
@pytest.mark.parametrize(
    ("template", "shown"),
    [
        ("a\n平台：{{ title|optional }}\nb", "a\n平台：T\nb"),
        ("a\n平台：{{ gone|optional }}\nb", "a\nb"),
        ("a\n平台：{{ notes|optional }}\nb", "a\nb"),
        ("a\n{{ gone|optional }}{{ message|optional }}\nb", "a\nb"),
        ("a\n{{ gone|optional }}{{ title|optional }}\nb", "a\nT\nb"),
        ("{{ title|optional }} · {{ link|optional }} · {{ type|optional }}", "T · L · X"),
        ("{{ gone|optional }} · {{ link|optional }} · {{ type|optional }}", "L · X"),
        ("{{ title|optional }} · {{ gone|optional }} · {{ type|optional }}", "T · X"),
        ("{{ title|optional }} · {{ link|optional }} · {{ gone|optional }}", "T · L"),
        ("{{ title|optional }} · 构建 {{ gone|optional }} · {{ gone|optional }}", "T"),
        ("a\n{{ gone|optional }} · 构建 {{ gone|optional }}\nb", "a\nb"),
        ("平台 · {{ gone|optional }}", "平台"),
        ("平台 {{ title }} · {{ gone|optional }} ", "平台 T"),
        ("{{ title }} {{ gone }}·{{ title|optional }} {{ gone }}", "T ·T"),
        ("a {{ gone }} · b", "a  · b"),  # without an optional value it is as it was
        ("{% set x %}{{ gone|optional }}{% endset %}a\n·{{ x }}\nb", "a\nb"),
        ("{{ title|optional|optional }}{{ gone|optional|optional }}", "T"),
        ("a\n{{ '构建 ' ~ (gone|optional) }}\nb", "a\nb"),
    ],
)
def test_a_line_or_a_part_of_it_goes_with_its_empty_value(
    template: str, shown: str, msgtype: str, tmp_path: Path
) -> None:
    values = {"title": "T", "link": "L", "type": "X", "notes": " ", "message": None}
    assert content(tmp_path, template, msgtype, **values) == shown


@pytest.mark.parametrize(
    ("template", "shown"),
    [
        ("> {{ gone|optional }} · {{ title|optional }}", "> T"),
        (">{{ gone|optional }} · {{ title|optional }}", ">T"),
        ("### {{ gone|optional }} · {{ title|optional }}", "### T"),
        ("a\n> {{ gone|optional }}", "a"),
        ("a\n> {{ gone|optional|color('info') }}\nb", "a\nb"),
        ("> {{ gone|optional|color('info') }} · {{ title|optional }}", "> T"),
        ("{{ title|optional|color('info') }}", '<font color="info">T</font>'),
        ("a\n{{ gone|optional|quote }}\nb", "a\nb"),
        ("a\n{{ gone|optional|link('https://a.b') }}\nb", "a\nb"),
        ("{{ title|optional|link('https://a.b') }}", "[T](https://a.b)"),
    ],
)
def test_marks_of_a_quote_stay_and_other_filters_may_follow(
    template: str, shown: str, tmp_path: Path
) -> None:
    assert content(tmp_path, template, title="T") == shown


@pytest.mark.parametrize(
    ("rendered", "shown"),
    [
        ("平台 · EMPTY", "平台"),
        ("> EMPTY · FILLEDT", "> T"),
        ("X EMPTY · FILLEDT", "T"),
        ("a\nEMPTY · 构建 EMPTY\nb", "a\nb"),
        ("EMPTYFILLEDT · X", "T · X"),
    ],
)
def test_what_the_filter_marks_is_left_out(rendered: str, shown: str) -> None:
    assert finish(rendered.replace("EMPTY", EMPTY).replace("FILLED", FILLED)) == shown


def test_a_row_of_a_table_goes_too(tmp_path: Path) -> None:
    table = (
        "| a | b |\n| --- | --- |\n| 构建 | {{ gone|optional }} |\n| 平台 | {{ title|optional }} |"
    )
    shown = content(tmp_path, table, "markdown_v2", title="one\ntwo")
    assert shown == "| a | b |\n| --- | --- |\n| 平台 | one two |"


def test_a_value_of_several_lines_stays_whole_beside_an_empty_one(tmp_path: Path) -> None:
    template = "{{ notes|optional }} · {{ gone|optional }}\nend"
    for msgtype in ("markdown", "markdown_v2", "text"):
        assert content(tmp_path, template, msgtype, notes="a · b\nc") == "a · b\nc\nend"


@pytest.mark.parametrize("mark", ["\ue002", "\ue003", "\ue000"])
def test_text_from_outside_takes_no_line_away(mark: str, tmp_path: Path) -> None:
    template = "a {{ title }} b\n{{ title|safe }} c\n{{ payload.x.y }} · {{ gone|optional }}"
    shown = content(tmp_path, template, title=mark, x={"y": f"{mark}z"})
    assert shown == "a  b\n c\nz"


def test_in_json_it_is_the_value(tmp_path: Path) -> None:
    template = '{"articles": [{"title": {{ title|optional }}, "description": {{ x|optional }}, "url": {{ link }}}]}'  # noqa: E501
    renderer = Renderer(folder(tmp_path, default__news=template), SHANGHAI)
    event = Event("", {"title": '"T"', "link": "https://a.b"}, 0.0)
    [message] = renderer.messages(event, TO_DEFAULT)
    assert message.body["articles"] == [{"title": '"T"', "url": "https://a.b"}]


@pytest.mark.parametrize("count", [10, 300, 1000])
def test_lines_that_vanish_take_no_room_from_others(count: int, tmp_path: Path) -> None:
    template = f"a\n{{% for n in range({count}) %}}\n> 标签{'x' * 90}：{{{{ gone|optional }}}}\n"
    template += "{% endfor %}\n{{ notes }}\nend"
    assert content(tmp_path, template) == "a\n\nend"
    text = content(tmp_path, template, notes="n" * 9999)
    assert 0.95 * 4096 <= size(text) <= 4096 and text.startswith("a\nnnn") and text.endswith("end")


# The shipped templates


SHORT = {"notes": "1. 新增优惠券中心\n2. 修复购物车数量显示不对的问题"}


def shown(kind: str, **changes: object) -> list[str]:
    payload = {**examples()[kind].payload, **changes}
    return rendered(SHIPPED_RENDERER, Event(kind, payload, 0.0)).split("\n")


def test_a_new_version_says_what_it_is_on_its_first_line_and_has_eight_at_most() -> None:
    lines = shown("updateVersion", **SHORT)
    assert lines[0] == '### <font color="info">新版本</font> 商城 3.8.1'
    assert lines[1:3] == ["> iOS · 构建 2091 · 46.0 MB", "> 2026-11-24 10:02"]
    assert lines[-1] == "[下载安装](https://www.pgyer.com/shop_demo)"
    assert len(lines) <= 8 + 1  # two lines of notes
    assert len(shown("updateVersion", notes="修复问题")) <= 8


@pytest.mark.parametrize(
    ("missing", "facts"),
    [
        (("appsize",), ["> iOS · 构建 2091", "> 2026-11-24 10:02"]),
        (("build_version",), ["> iOS · 46.0 MB", "> 2026-11-24 10:02"]),
        (("device_type", "build_version"), ["> 46.0 MB", "> 2026-11-24 10:02"]),
        (("device_type", "build_version", "appsize"), ["> 2026-11-24 10:02"]),
        (("created", "updated", "timestamp"), ["> iOS · 构建 2091 · 46.0 MB"]),
    ],
)
def test_of_the_facts_only_those_that_came_are_shown(
    missing: tuple[str, ...], facts: list[str]
) -> None:
    lines = shown("updateVersion", **dict.fromkeys(missing))
    assert [line for line in lines if line.startswith(">")] == facts


@pytest.mark.parametrize("kind", ["updateVersion", "crashlog", "feedback", "deleteApp"])
def test_a_line_that_a_beginner_adds_looks_right_wherever_it_stands(
    kind: str, tmp_path: Path
) -> None:
    source = (SHIPPED / f"{kind}.markdown.j2").read_text(encoding="utf-8").split("\n")
    payload = dict(examples()["updateVersion"].payload)
    before = content(tmp_path, "\n".join(source), **payload).split("\n")
    for at in range(1, len(source)):
        (tmp_path / "default.markdown.j2").unlink()
        edited = "\n".join([*source[:at], "> 负责人：张三", *source[at:]])
        found = content(tmp_path, edited, **payload).split("\n")
        assert "> 负责人：张三" in found
        found.remove("> 负责人：张三")
        assert found == before


# Templates as they were before


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (
            "updateVersion",
            '### <font color="info">新版本</font> OooPlay\n'
            '> <font color="comment">平台</font>：iOS\n'
            '> <font color="comment">版本</font>：2.4 (139)\n'
            '> <font color="comment">大小</font>：2.1 MB\n'
            '> <font color="comment">时间</font>：2015-10-09 11:25\n\n'
            "**更新说明**\n修復了一些小弱智的小bug\n\n"
            "[下载安装](http://www.pgyer.com/oooplay_test)\n<@wang>",
        ),
        (
            "feedback",
            '### <font color="info">用户反馈</font> OooPlay\n'
            '> <font color="comment">平台</font>：iOS\n'
            '> <font color="comment">版本</font>：2.4 (139)\n'
            '> <font color="comment">大小</font>：2.1 MB\n'
            '> <font color="comment">时间</font>：2015-10-09 11:25\n\n'
            "**反馈内容**\n修復了一些小弱智的小bug\n\n"
            "[查看应用](http://www.pgyer.com/oooplay_test)\n<@wang>",
        ),
    ],
)
def test_templates_of_the_former_kind_show_what_they_showed(kind: str, expected: str) -> None:
    renderer = Renderer(FORMER, SHANGHAI)
    assert renderer.problems == []
    payload = {
        "title": "OooPlay", "device_type": "iOS", "os_version": "2.4", "build_version": "139",
        "appsize": "2238036", "created": "2015-10-09 11:25:16", "updated": "2015-10-09 11:25:16",
        "link": "http://www.pgyer.com/oooplay_test", "notes": "修復了一些小弱智的小bug",
    }  # fmt: skip
    target = Target("default", ("wang",))
    assert rendered(renderer, Event(kind, payload, 0.0), target) == expected


def test_the_former_notice_and_default_still_show_what_came() -> None:
    renderer = Renderer(FORMER, SHANGHAI)
    text = rendered(renderer, examples()["botStopped"])
    assert "**dev** 被企业微信拒绝：invalid_webhook" in text
    text = rendered(renderer, Event("x", {"type": "x", "y": {"z": [1]}}, 0.0))
    assert "y</font>：z: (1)" in text


@given(st.text(alphabet="a ·\n>#{}%版", max_size=40))
def test_a_text_without_the_filter_is_left_as_it_is(text: str) -> None:
    assert finish(text) == text
