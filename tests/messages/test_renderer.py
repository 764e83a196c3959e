"""Templates: which is picked, what it can show, that it fits, and what a broken one does."""

import json
import os
import re
import shutil
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rendering import (
    SHANGHAI,
    SHIPPED,
    SHIPPED_RENDERER,
    TO_DEFAULT,
    decoded,
    folder,
    rendered,
)
from support import ROOT, takes_less

from bridge.messages.context import notes_of
from bridge.messages.markdown import ZWSP, size
from bridge.messages.renderer import Renderer
from bridge.model import Delivery, Event, Message, Target
from bridge.receiving.decoding import undecodable
from bridge.samples import examples, samples
from bridge.wording import notice

LONG = "测试 crash <redacted> -> *x*\n"


def content(path: Path, target: Target = TO_DEFAULT, **payload: object) -> str:
    return rendered(Renderer(path, SHANGHAI), decoded(**payload), target)


def shipped(**payload: object) -> str:
    return rendered(SHIPPED_RENDERER, decoded(**payload))


# The templates that come with the bridge


def test_the_shipped_templates_are_sound() -> None:
    assert SHIPPED_RENDERER.problems == []


def check_golden(name: str, text: str) -> None:
    """The golden files are for a reviewer to read; `make golden` writes them anew."""
    golden = ROOT / "tests" / "golden" / name
    if os.environ.get("GOLDEN") == "write":
        golden.write_text(f"{text}\n", encoding="utf-8")
    assert f"{text}\n" == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(examples()))
def test_an_event_renders_as_its_golden_file_says(name: str) -> None:
    [message] = SHIPPED_RENDERER.messages(examples()[name], TO_DEFAULT)
    assert message.msgtype == "markdown"
    check_golden(f"{name}.md", str(message.body["content"]))


def test_an_unknown_event_renders_as_its_golden_file_says() -> None:
    text = shipped(
        type="certExpired", action="证书过期", title="商城", device_type="iOS",
        message="您的应用商城的证书将于 2026-12-01 过期。", link="https://www.pgyer.com/shop_demo",
        created="2026-11-24 10:02:11", certificate={"name": "Shop Ltd.", "days": 7},
        devices=["iPhone", "iPad"], teams=[{"name": "A", "users": 3}, {"name": "B"}],
    )  # fmt: skip
    check_golden("default.md", text)


def test_a_digest_renders_as_its_golden_file_says() -> None:
    shop = {"title": "商城", "device_type": "iOS", "link": "https://www.pgyer.com/shop_demo"}
    android = {**shop, "device_type": "Android", "os_version": "3.8.1", "build_version": 1874}
    new = {**shop, "os_version": "2.4"}
    crash = "java.lang.NullPointerException: Attempt to invoke virtual method on a null object"
    events = [Event("updateVersion", {**new, "build_version": 2016 + n, "notes": f"修复问题 {n}"},
                    0.0) for n in range(76)]  # fmt: skip
    events += [Event("crashlog", {**android, "notes": f"{crash}{' at x' * 50 * (n % 2)}"}, 0.0)
               for n in range(5)]  # fmt: skip
    events += [Event("feedback", {**new, "build_version": 2091, "notes": "购物车打不开"}, 0.0)]
    events += [Event("certExpired", {"action": "证书过期", "title": "商城", "device_type": "iOS"},
                     0.0)]  # fmt: skip
    events += [Event("updateVersion", {"title": "骑手端", "device_type": "Android",
                                       "os_version": "1.0"}, 0.0)]  # fmt: skip
    events += [Event("undecodable", {"notes": "<xml><title>商城</title></xml>"}, 0.0)] * 2
    events += [Event("botStopped", {"notes": examples()["botStopped"].payload["message"]}, 0.0)]
    deliveries = [Delivery(n, event, TO_DEFAULT) for n, event in enumerate(events)]
    linked = Renderer(SHIPPED, SHANGHAI, "https://bridge.example")
    message, included = linked.digest(deliveries)
    assert len(included) == len(deliveries)
    check_golden("digest.md", str(message.body["content"]))


EXAMPLES = sorted((SHIPPED / "examples").glob("*.j2"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_renders_as_its_golden_file_says(path: Path, tmp_path: Path) -> None:
    stem, msgtype, _ = path.name.split(".")
    shutil.copy(path, tmp_path)
    build = {"buildIcon": "326af839deb628abd4321a607b18096e", "buildQRCodeURL": "https://a.b/qr"}
    payload = {**examples()[stem].payload, "data": build}
    [message] = Renderer(tmp_path, SHANGHAI).messages(Event(stem, payload, 0.0), TO_DEFAULT)
    assert message.msgtype == msgtype
    text = message.body.get("content") or json.dumps(message.body, ensure_ascii=False, indent=2)
    check_golden(f"examples/{stem}.{msgtype}.{'md' if 'content' in message.body else 'json'}", text)


@pytest.mark.parametrize("name", sorted(samples()))
def test_a_missing_or_empty_field_leaves_no_line_behind(name: str) -> None:
    given = json.loads(samples()[name])
    for field in ("os_version", "build_version", "appsize", "device_type", "notes", "link"):
        for empty in ("", None, "null", "  "):
            text = shipped(**{**given, field: empty})
            assert "None" not in text and "null" not in text and "undefined" not in text
            assert not re.search(r"：\s*$", text, re.MULTILINE), text
            assert "\n\n\n" not in text
        text = shipped(**{key: value for key, value in given.items() if key != field})
        assert not re.search(r"：\s*$|^>\s*$|\(\)", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("payload", "lines"),
    [
        ({"a": 1, "b": True, "c": "x"}, ["> a：1", "> b：true", "> c：x"]),
        ({"a": {"b": {"c": "x"}}}, ["> a.b.c：x"]),
        ({"a": ["x", 2, False]}, ["> a：x、2、false"]),
        ({"a": [{"b": 1}, {"b": [2, 3]}, "x"]}, ["> a.0.b：1", "> a.1.b：2、3", "> a.2：x"]),
        ({"a": [["x", "y"], ["z"]]}, ["> a.0：x、y", "> a.1：z"]),
        ({"a": {}, "b": [], "c": "", "d": None, "e": {"f": ""}}, []),
        ({"a\n# b": "<@all>"}, [f"> a\n{ZWSP}# b：<{ZWSP}@all>"]),
        ({"notes": ["修复 A", "优化 B"]}, ["修复 A、优化 B"]),
        ({"message": {"en": "new", "zh": "新"}}, ["en：new\nzh：新"]),
    ],
)
def test_an_unknown_event_shows_nested_values_readably(
    payload: dict[str, object], lines: list[str]
) -> None:
    head, *shown = shipped(type="x", **payload).split("\n", 1)
    assert head.startswith('### <font color="comment">x</font>')
    assert "".join(shown).strip() == "\n".join(lines)
    assert not re.search(r"[\[\](){}'\"]", "".join(shown))


def test_an_event_of_nothing_at_all_still_says_something() -> None:
    assert "蒲公英通知" in shipped()


@pytest.mark.parametrize(
    "reason", ["invalid_webhook", "robot_disabled", "robot_not_in_group", "wrong_address"]
)
def test_the_notice_of_a_stopped_bot_is_plain_chinese(reason: str) -> None:
    facts = {"bot": "dev", "reason": reason, "detail": "invalid webhook url"}
    payload = {**facts, "message": notice("botStopped", **facts)}
    text = rendered(SHIPPED_RENDERER, Event("botStopped", payload, 0.0))
    assert "机器人 dev：" in text and "每小时自动再试一次" in text
    assert reason not in text and "invalid webhook url" not in text
    assert ("在群里重新启用" in text) is (reason == "robot_disabled")
    assert ("WECOM_BOT_KEY_DEV" in text) is (reason != "robot_disabled")


def test_the_notice_of_an_undecodable_body_quotes_its_beginning_on_one_line() -> None:
    text = rendered(SHIPPED_RENDERER, undecodable(b"<?xml <@all>\n**x**" * 20, 0.0, "no"))
    [quoted] = [line for line in text.splitlines() if line.startswith("> ")]
    assert text.count("<@") == 0 and "<?xml" in quoted.replace(ZWSP, "")
    assert "360 字节" in text


# Picking


def test_the_route_s_template_comes_before_the_type_and_the_type_before_default(
    tmp_path: Path,
) -> None:
    path = folder(
        tmp_path, mine__markdown="route", crashlog__markdown="type", default__markdown="default"
    )
    assert content(path, Target("default", template="mine"), type="crashlog") == "route"
    assert content(path, Target("default", template="mine.markdown"), type="crashlog") == "route"
    assert content(path, Target("default", template="gone"), type="crashlog") == "type"
    assert content(path, type="crashlog") == "type"
    assert content(path, action="Crash log") == "type"
    assert content(path, type="other") == "default"


def test_a_template_named_by_an_unknown_type_is_used(tmp_path: Path) -> None:
    path = folder(tmp_path, buildFailed__text="failed", default__markdown="default")
    [message] = Renderer(path, SHANGHAI).messages(decoded(type="buildFailed"), TO_DEFAULT)
    assert message == Message("text", {"content": "failed"})


@pytest.mark.parametrize(
    "kind", ["test", "expired", "botStopped", "undecodable", "digest", "digest.markdown",
             "test.markdown"],
)  # fmt: skip
def test_a_sender_cannot_choose_a_template_of_the_bridge_s_own_events(kind: str) -> None:
    for payload in ({"type": kind}, {"type": kind, "action": "告警"}):
        text = shipped(**payload, title="Shop", notes="It is on fire")
        assert "Shop" in text and "It is on fire" in text
        assert "机器人" not in text and "共" not in text
    assert SHIPPED_RENDERER.file_for(Event("test", {"bot": "dev"}, 0.0)) == "test.markdown.j2"
    text = rendered(SHIPPED_RENDERER, Event("test", {"bot": "dev"}, 0.0))
    assert "机器人 **dev** 已接通" in text
    text = rendered(SHIPPED_RENDERER, undecodable(b"<xml>", 0.0, "why"))
    assert "收到一条无法识别的通知" in text


def test_a_type_cannot_name_a_file_outside(tmp_path: Path) -> None:
    path = folder(tmp_path, default__markdown="default")
    for name in ("../secret", "_macros", "default.markdown.j2", "/etc/passwd", ""):
        assert content(path, type=name) == "default"


def test_of_several_msgtypes_of_one_name_the_last_known_wins(tmp_path: Path) -> None:
    path = folder(tmp_path, feedback__markdown="one", feedback__text="two")
    [message] = Renderer(path, SHANGHAI).messages(decoded(type="feedback"), TO_DEFAULT)
    assert message == Message("text", {"content": "two"})


def test_without_any_template_the_generic_one_tells_all_that_came(tmp_path: Path) -> None:
    text = content(tmp_path, action="something", title="App", foo="bar", n=3)
    for shown in ("something", "**App**", "foo：bar", "n：3"):
        assert shown in text


# Values and filters


@pytest.mark.parametrize(
    ("template", "payload", "shown"),
    [
        ("{{ appsize|filesize }}", {"appsize": "2238036"}, "2.1 MB"),
        ("{{ appsize|filesize }}", {"appsize": 26662364}, "25.4 MB"),
        ("{{ appsize|filesize }}", {"appsize": "500"}, "500 Bytes"),
        ("{{ appsize|filesize }}", {"appsize": 5 * 1024**3}, "5.0 GB"),
        ("[{{ appsize|filesize }}]", {"appsize": "0"}, "[]"),
        ("[{{ appsize|filesize }}]", {}, "[]"),
        ("{{ appsize|filesize }}", {"appsize": "12 MB"}, "12 MB"),
        ("{{ created|datetime }}", {"created": "2015-10-09 11:25:16"}, "2015-10-09 11:25"),
        ("{{ timestamp|datetime }}", {"timestamp": 1444361118}, "2015-10-09 11:25"),
        ("{{ timestamp|datetime }}", {"timestamp": "1444361118000"}, "2015-10-09 11:25"),
        ("{{ created|datetime('%m/%d') }}", {"created": "2015-10-09T03:25:16Z"}, "10/09"),
        ("{{ created|datetime }}", {"created": "yesterday"}, "yesterday"),
        ("[{{ created|datetime }}]", {}, "[]"),
        ("{{ timestamp|datetime }}", {"timestamp": "9" * 13 + "9"}, "9" * 14),
        ("{{ event.received_at|datetime }}", {}, "2027-01-15 16:00"),
        ("{{ notes|quote }}", {"notes": "a\n# b"}, f"> a\n> {ZWSP}# b"),
        ("[{{ notes|quote }}]", {}, "[]"),
        ("{{ title|color('info') }}", {"title": "A"}, '<font color="info">A</font>'),
        ("[{{ title|color('info') }}]", {}, "[]"),
        ("{{ 'go'|link(link) }}", {"link": "https://a.b/c?d=(e) f"}, "go"),
        ("{{ 'go'|link(link) }}", {"link": "https://a.b/c?d=(e)"}, "[go](https://a.b/c?d=%28e%29)"),
        ("{{ title|link('https://a.b') }}", {"title": "[x]\ny"}, "[［x］ y](https://a.b)"),
        ("{{ 'go'|link(link) }}", {"link": "javascript:alert(1)"}, "go"),
        ("{{ 'go'|link(link) }}", {}, "go"),
        ("{{ notes|bytes }}", {"notes": "版本"}, "6"),
        ("{{ payload.deep.a.b.c }}|{{ nothing.at.all }}", {"deep": {"a": 1}}, "|"),
        ("{{ payload.list }}", {"list": [1, None, "x", {"a": True}]}, "1, x, (a: true)"),
        ("{% for x in payload.list %}{{ x }};{% endfor %}", {"list": [1, 2]}, "1;2;"),
        ("{{ none }}{{ None }}{{ payload.gone }}x", {}, "x"),
        ("{{ title }}", {"title": 5}, "5"),
        ("{{ title }}", {"title": 5.0}, "5"),
        ("{{ title }}", {"title": True}, "true"),
        ("{{ title ~ ' & ' ~ title }}", {"title": "a<b"}, f"a<{ZWSP}b & a<{ZWSP}b"),
        ("{{ title|upper }}", {"title": "<@a>"}, f"<{ZWSP}@A>"),
        ("{{ title[:3] }}", {"title": "<@a>"}, f"<{ZWSP}@a"),
        ("{{ title|replace('x', '<') }}", {"title": "x@all>"}, f"<{ZWSP}@all>"),
        ("{{ [title, title]|join(' ') }}", {"title": "`"}, "｀ ｀"),
        ("{{ 1 ~ none ~ gone ~ 'x'|color('info') }}", {}, '1<font color="info">x</font>'),
        ("{{ title|safe }}", {"title": "**x**"}, "**x**"),
        ("**{{ title }}** <@me>", {"title": "x"}, "**x** <@me>"),
    ],
)  # fmt: skip
def test_what_a_template_shows(
    template: str, payload: dict[str, object], shown: str, tmp_path: Path
) -> None:
    path = folder(tmp_path, default__markdown=template)
    made = Renderer(path, SHANGHAI)
    assert made.problems == []
    assert rendered(made, decoded(**payload)) == shown


def test_times_are_shown_in_the_bridge_s_time_zone(tmp_path: Path) -> None:
    path = folder(tmp_path, default__markdown="{{ created|datetime }} {{ timestamp|datetime }}")
    event = decoded(created="2015-10-09 11:25:16", timestamp=1444361118)
    shown = rendered(Renderer(path, ZoneInfo("Europe/Berlin")), event)
    assert shown == "2015-10-09 05:25 2015-10-09 05:25"


def test_in_text_the_filters_leave_no_markup(tmp_path: Path) -> None:
    template = "{{ title|color('info') }} {{ 'go'|link('https://a.b') }} {{ '<@all>' }}"
    path = folder(tmp_path, default__text=template)
    assert content(path, title="**A**") == f"**A** go https://a.b <{ZWSP}@all>"


@pytest.mark.parametrize(
    ("notes", "shown"),
    [
        (r"1. 修复\n2. 优化", "1. 修复\n2. 优化"),
        (r"one\r\ntwo\nnew", "one\ntwo\nnew"),
        (r"Fixes:\n- a", "Fixes:\n- a"),
        (r"\n1. 修复\n", "\n1. 修复\n"),
        ("one\\ntwo\nthree", "one\\ntwo\nthree"),  # it has a real one
        (r"修复 C:\new 目录", r"修复 C:\new 目录"),
        (r"\\server\new", r"\\server\new"),
        (r"src\app\new", r"src\app\new"),
        (r"matches \d+\n", r"matches \d+\n"),
        ("plain", "plain"),
    ],
)
def test_a_line_break_that_was_typed_as_two_characters_is_one(notes: str, shown: str) -> None:
    for kind in ("updateVersion", "feedback", "other"):
        assert notes_of(decoded(type=kind, notes=notes)) == shown.strip()
    assert notes_of(decoded(type="crashlog", notes=notes)) == notes


@pytest.mark.parametrize("kind", ["updateVersion", "zzz"])
def test_typed_line_breaks_are_line_breaks_in_every_template(kind: str) -> None:
    assert "1. 修复\n2. 优化" in shipped(type=kind, title="A", notes=r"1. 修复\n2. 优化", x=1)


# Mentions


def test_userids_stand_where_the_template_puts_them_or_at_the_end(tmp_path: Path) -> None:
    path = folder(tmp_path, a__markdown="hey {{ mention }} look", b__markdown="look")
    target = Target("default", ("wang", "li"))
    assert content(path, target, type="a") == "hey <@wang> <@li> look"
    assert content(path, target, type="b") == "look\n<@wang> <@li>"
    assert content(path, type="a") == "hey  look"


def test_all_and_mobiles_follow_a_markdown_message_as_text() -> None:
    target = Target("default", ("wang", "@all", "13800138000"))
    main, call = SHIPPED_RENDERER.messages(decoded(type="feedback", title="<@li>"), target)
    assert "<@wang>" in str(main.body["content"]) and "@all" not in str(main.body["content"])
    assert call == Message(
        "text",
        {
            "content": f"<{ZWSP}@li>",
            "mentioned_list": ["@all"],
            "mentioned_mobile_list": ["13800138000"],
        },
    )


def test_in_a_text_message_they_are_its_own_lists(tmp_path: Path) -> None:
    path = folder(tmp_path, default__text="look")
    target = Target("default", ("wang", "@all", "13800138000"))
    [message] = Renderer(path, SHANGHAI).messages(decoded(), target)
    assert message.body == {
        "content": "look\n<@wang>",
        "mentioned_list": ["@all"],
        "mentioned_mobile_list": ["13800138000"],
    }


def test_markdown_v2_can_call_nobody_so_a_text_does(tmp_path: Path) -> None:
    path = folder(tmp_path, default__markdown_v2="| {{ title }} |{{ mention }}")
    main, call = Renderer(path, SHANGHAI).messages(
        decoded(title="a|b"), Target("default", ("wang",))
    )
    assert main == Message("markdown_v2", {"content": "| a｜b |"})
    assert call.body["mentioned_list"] == ["wang"]


# Fitting


@given(
    notes=st.text(max_size=300),
    times=st.integers(1, 100),
    title=st.text(max_size=100),
    name=st.sampled_from(["crashlog", "feedback", "updateVersion", "zzz"]),
)
def test_any_text_of_any_length_fits(notes: str, times: int, title: str, name: str) -> None:
    text = shipped(type=name, title=title, notes=notes * times, extra={"a": [notes]})
    assert size(text) <= 4096


def test_the_room_is_used_and_the_cut_is_marked_and_what_matters_stays() -> None:
    link = "https://www.pgyer.com/abcd"
    fields = {"title": "OooPlay", "os_version": "2.4", "link": link}
    text = shipped(type="feedback", **fields, notes=LONG * 1000)
    assert 0.95 * 4096 <= size(text) <= 4096
    assert f"…（已截断，共 {len((LONG * 1000).strip())} 字）" in text
    for kept in ("OooPlay", "2.4", f"]({link})"):
        assert kept in text


@pytest.mark.sweep
def test_tags_and_links_are_whole_at_every_length() -> None:
    for length in range(3500, 4600, 7):
        text = shipped(type="feedback", title="T", link="https://a.b/c", notes="*" * length)
        assert size(text) <= 4096
        assert text.count("<font") == text.count("</font>")
        assert text.endswith("](https://a.b/c)")


def test_a_title_too_long_is_cut_last_and_the_message_still_fits() -> None:
    text = shipped(type="feedback", title="很长" * 5000, notes="x" * 5000, link="https://a.b")
    assert 0.95 * 4096 <= size(text) <= 4096
    assert "很长很长" in text and "https://a.b" in text


def test_a_link_is_whole_or_absent() -> None:
    assert "https" not in shipped(type="feedback", title="T", link="https://a.b/" + "c" * 5000)


@pytest.mark.parametrize(
    "payload",
    [
        {f"key{n}": "value" * 9 for n in range(5000)},
        {"deep": {"a": ["*" * 3000] * 300}},
        {"list": list(range(100_000))},
        {"k" * 9000: "v" * 9000},
        {"a": {"b": {"c": {"d": ["x" * 100] * 500}}}},
    ],
    ids=["many", "deep", "list", "key", "nested"],
)
def test_odd_payloads_fit_and_say_what_was_left_out(payload: dict[str, object]) -> None:
    text = shipped(type="zzz", **payload)
    assert 0.9 * 4096 <= size(text) <= 4096
    assert "（其余从略）" in text or "已截断" in text


def test_a_mebibyte_is_rendered_in_no_time() -> None:
    made = decoded(type="crashlog", title="T", notes=LONG * ((1 << 15) - 9))
    # Generous: quadratic would be minutes.
    assert takes_less(4, lambda: rendered(SHIPPED_RENDERER, made))


def test_a_template_of_a_user_s_own_fits_as_well(tmp_path: Path) -> None:
    template = (
        "{% for n in range(3) %}{{ title }}|{{ notes|color('info') }}|{{ message }}{% endfor %}"
    )
    text = content(folder(tmp_path, default__markdown=template), title="T", notes="n" * 9999,
                   message="m" * 2000)  # fmt: skip
    assert 0.95 * 4096 <= size(text) <= 4096
    assert text.count("已截断") >= 3


# Broken templates and edits


def test_a_broken_template_is_named_with_file_and_line_and_the_generic_one_tells(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = folder(tmp_path, feedback__markdown="ok\n{% if %}", default__markdown="fine")
    made = Renderer(path, SHANGHAI)
    assert [p.split(": ")[0] for p in made.problems] == ["feedback.markdown.j2:2"]
    assert caplog.text.count("feedback.markdown.j2:2") == 1
    assert "**App**" in rendered(made, decoded(type="feedback", title="App"))


@pytest.mark.parametrize(
    ("template", "line"),
    [
        ("a\n{{ title|nofilter }}", 2),
        ("a\n\n{{ 1 // 0 }}", 3),
        ("{% import 'gone.j2' as m %}", 1),
        ("a\n{{ title|color('red') }}", 2),
        ("{{ title.__class__.__mro__ }}", 1),
        ("x" * 5000, 0),
    ],
)
def test_a_mistake_at_run_time_shows_at_the_start(template: str, line: int, tmp_path: Path) -> None:
    [problem] = Renderer(folder(tmp_path, default__markdown=template), SHANGHAI).problems
    assert problem.startswith(f"default.markdown.j2:{line}: " if line else "default.markdown.j2: ")


def test_a_mistake_in_the_macros_names_their_file(tmp_path: Path) -> None:
    path = folder(tmp_path, default__markdown="{% import '_macros.j2' as m %}{{ m.x() }}")
    (path / "_macros.j2").write_text("\n{% macro x( %}", encoding="utf-8")
    assert [p.split(": ")[0] for p in Renderer(path, SHANGHAI).problems] == ["_macros.j2:2"]


def test_a_name_without_a_known_msgtype_is_a_problem(tmp_path: Path) -> None:
    path = folder(tmp_path, feedback="x", feedback__html="x", default__markdown="x")
    problems = Renderer(path, SHANGHAI).problems
    assert len(problems) == 2
    assert all("must end in .<msgtype>.j2" in problem for problem in problems)


@pytest.mark.parametrize(
    "data",
    [
        "版本 {{ title }}".encode("gbk"),
        "版本 {{ title }}".encode("utf-16"),
        "version {{ title }}".encode("utf-16-le"),
        "version {{ title }}".encode("utf-16-be"),
        b"",
        b"\xef\xbb\xbf",
        b" \n\t\r\n ",
        "\u200b\u3000".encode(),
        b"{# nothing #}",
        b"{{ nothing }}",
        b"{% set x = title %}",
        b"{{ mention }}",
    ],
)
@pytest.mark.parametrize("name", ["default", "updateVersion"])
def test_a_file_that_cannot_be_read_or_shows_nothing_is_broken_and_costs_no_event(
    name: str, data: bytes, tmp_path: Path
) -> None:
    for msgtype in ("markdown", "markdown_v2", "text") if name == "default" else ("markdown",):
        file = tmp_path / f"{name}.{msgtype}.j2"
        file.write_bytes(data)
        made = Renderer(tmp_path, SHANGHAI)
        [problem] = made.problems
        assert re.match(rf"{name}\.{msgtype}\.j2: it (is not UTF-8 text|shows nothing): ", problem)
        target = Target("default", ("wang",))
        [message] = made.messages(decoded(type="updateVersion", title="App"), target)
        assert message.msgtype == "markdown" and "**App**" in str(message.body["content"])
        assert file.name in made.files
        file.write_text("{{ title }} 好", encoding="utf-8")
        assert content(tmp_path, title="App", type="updateVersion") == "App 好"
        assert made.problems == []
        file.unlink()


def test_a_file_that_cannot_be_read_any_more_keeps_its_last_good_version(tmp_path: Path) -> None:
    made = Renderer(folder(tmp_path, default__markdown="good {{ title }}"), SHANGHAI)
    (tmp_path / "default.markdown.j2").write_bytes("版本 {{ title }}".encode("gbk"))
    assert rendered(made, decoded(title="App")) == "good App"
    assert made.problems == [
        "default.markdown.j2: it is not UTF-8 text: save it again with the encoding UTF-8"
    ]


def test_a_folder_with_a_template_s_name_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "default.markdown.j2").mkdir()
    made = Renderer(tmp_path, SHANGHAI)
    assert made.problems[0].startswith("default.markdown.j2: ")
    assert "**App**" in rendered(made, decoded(title="App"))


@pytest.mark.parametrize(
    ("name", "shown"),
    [(b"\xd0\xc2.j2", r"\xd0\xc2.j2"), (b"\xd0\xc2.markdown.j2", r"\xd0\xc2.markdown.j2"),
     (b"_\xd0.j2", r"_\xd0.j2"), (b"a\\crashlog.markdown.j2", r"a\crashlog.markdown.j2")],
)  # fmt: skip
def test_a_file_whose_name_is_not_utf8_is_named_and_costs_no_other(
    name: bytes, shown: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = folder(tmp_path, default__markdown="{{ title }}")
    Path(os.fsdecode(bytes(path) + b"/" + name)).write_text("x")
    made = Renderer(path, SHANGHAI)
    assert made.problems == [
        f"{shown}: the file cannot be read: its name is not UTF-8, or has a backslash: rename it"
    ]
    assert shown in caplog.text
    assert rendered(made, decoded(title="App")) == "App"


def test_a_link_that_leads_nowhere_costs_no_other_file(tmp_path: Path) -> None:
    """An editor makes one, such as `.#name`, while it has a file open."""
    (tmp_path / ".#default.markdown.j2").symlink_to("nobody@nowhere")
    for n in range(9):  # the order in which a folder is read is nobody's choice
        folder(tmp_path, **{f"a{n}__markdown": f"{n} {{{{ title }}}}"})
    made = Renderer(tmp_path, SHANGHAI)
    assert len(made.files) == 9 and made.problems == []


def test_a_helper_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = folder(tmp_path, default__markdown="{% import '_macros.j2' as m %}{{ m.x() }}")
    (path / "_macros.j2").write_bytes("{% macro x() %}版本{% endmacro %}".encode("gbk"))
    made = Renderer(path, SHANGHAI)
    assert made.problems[0].startswith("_macros.j2: it is not UTF-8 text")
    assert "**App**" in rendered(made, decoded(title="App"))


def test_a_template_may_show_nothing_of_some_events_which_the_generic_one_shows(
    tmp_path: Path,
) -> None:
    path = folder(tmp_path, default__markdown="{% if notes %}{{ notes }}{% endif %}\n")
    made = Renderer(path, SHANGHAI)
    assert made.problems == []
    target = Target("default", ("wang",))
    assert rendered(made, decoded(notes="x"), target) == "x\n<@wang>"
    text = rendered(made, decoded(title="App"), target)
    assert "**App**" in text and text.endswith("<@wang>")
    assert made.problems == []


def test_an_edited_template_is_picked_up_and_a_broken_edit_keeps_the_last_good_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = folder(tmp_path, default__markdown="one")
    made = Renderer(path, SHANGHAI)

    def shown() -> object:
        return rendered(made, decoded(title="App"))

    assert shown() == "one"
    folder(tmp_path, default__markdown="two, longer")
    assert shown() == "two, longer"
    folder(tmp_path, default__markdown="{% broken")
    assert shown() == "two, longer"
    assert shown() == "two, longer"
    assert len(made.problems) == 1
    assert caplog.text.count("default.markdown.j2:1") == 1
    folder(tmp_path, default__markdown="three")
    assert shown() == "three"
    assert made.problems == []
    (path / "default.markdown.j2").unlink()
    assert "**App**" in str(shown())


def test_a_template_that_fails_on_one_event_only_is_told_by_the_generic_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = folder(tmp_path, default__markdown="{{ 1 // (title|int - 7) }}")
    made = Renderer(path, SHANGHAI)
    assert made.problems == []
    for _ in range(2):
        assert "**7**" in rendered(made, decoded(title="7"))
    assert caplog.text.count("default.markdown.j2:1") == 1
    assert made.problems == []  # what /readyz looks at: the file is good
    assert [p.split(": ")[0] for p in sorted(made.problems_by_file.values())] == [
        "default.markdown.j2:1"
    ]
    assert rendered(made, decoded(title="8")) == "1"
    assert made.problems_by_file == {}


def test_a_look_at_an_event_changes_nothing_about_a_template(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = Renderer(folder(tmp_path, default__markdown="{{ 1 // (title|int - 7) }}"), SHANGHAI)
    bad, good = decoded(title="7"), decoded(title="8")
    assert "**7**" in str(made.messages(bad, TO_DEFAULT, is_look=True)[0].body["content"])
    assert made.problems_by_file == {} and "ERROR" not in caplog.text
    made.messages(bad, TO_DEFAULT)
    assert made.messages(good, TO_DEFAULT, is_look=True)[0].body["content"] == "1"
    assert list(made.problems_by_file) == ["default.markdown.j2"]


def test_a_card_without_the_link_it_needs_is_not_marked_as_broken(tmp_path: Path) -> None:
    path = folder(
        tmp_path, default__news='{"articles": [{"title": {{ title }}, "url": {{ link }}}]}'
    )
    made = Renderer(path, SHANGHAI)
    assert made.messages(decoded(title="App"), TO_DEFAULT)[0].msgtype == "markdown"
    assert made.problems == [] and "needs a url" in made.problems_by_file["default.news.j2"]
    linked = decoded(title="App", link="https://a.b")
    assert made.messages(linked, TO_DEFAULT)[0].msgtype == "news"
    assert made.problems_by_file == {}


def test_a_former_version_that_fails_too_is_not_what_is_named(tmp_path: Path) -> None:
    made = Renderer(folder(tmp_path, default__markdown="{{ 1 // (title|int - 7) }} old"), SHANGHAI)
    folder(tmp_path, default__markdown="\n{{ 1 // (title|int - 7) }} new")
    assert "**7**" in rendered(made, decoded(title="7"))
    assert made.problems_by_file["default.markdown.j2"].startswith("default.markdown.j2:2: ")
