"""Shipped templates and examples of every msgtype against any event: WeCom takes the result."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rendering import SHANGHAI, SHIPPED, TO_DEFAULT, accepted, decoded, folder

from bridge.messages.context import notes_of
from bridge.messages.markdown import ZWSP, plain, shorten, size
from bridge.messages.renderer import Renderer
from bridge.model import FIELDS, Message, Target, is_web_address
from bridge.msgtypes import MSGTYPES, TEXT_LIMITS
from bridge.receiving.decoding import decode
from bridge.samples import samples

EXAMPLES = sorted(path.name.removesuffix(".j2") for path in (SHIPPED / "examples").glob("*.j2"))
TEXT_TEMPLATES = sorted(
    path.name.removesuffix(".j2")
    for path in [*SHIPPED.glob("*.j2"), *(SHIPPED / "examples").glob("*.j2")]
    if path.name.split(".")[-2] in TEXT_LIMITS and path.name != "digest.markdown.j2"
)
URL = "https://www.pgyer.com/oooplay"


def made(path: Path, **payload: object) -> Message:
    renderer = Renderer(path, SHANGHAI)
    assert renderer.problems == []
    return renderer.messages(decoded(**payload), TO_DEFAULT)[0]


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    """The shipped templates and the examples in one folder, a target names the one it wants."""
    path = tmp_path_factory.mktemp("templates")
    for file in [*SHIPPED.glob("*.j2"), *(SHIPPED / "examples").glob("*.j2")]:
        shutil.copy(file, path)
    return Renderer(path, SHANGHAI)


def test_all_of_them_are_sound(everything: Renderer) -> None:
    assert everything.problems == []
    assert {name.split(".")[1] for name in EXAMPLES} >= {"news", "template_card", "text"}


# The examples, on the events that Pgyer documents


@pytest.mark.parametrize("sample", sorted(samples()))
@pytest.mark.parametrize("example", EXAMPLES)
def test_wecom_takes_what_an_example_makes_of_a_sample(
    example: str, sample: str, tmp_path: Path
) -> None:
    kind = example.split(".")[1]
    shutil.copy(SHIPPED / "examples" / f"{example}.j2", tmp_path / f"default.{kind}.j2")
    renderer = Renderer(tmp_path, SHANGHAI)
    assert renderer.problems == []
    made = decode(samples()[sample], 0.0)[0]
    main, *follow = renderer.messages(made, TO_DEFAULT)
    assert follow == []
    assert accepted(main)
    needs_link = kind in ("news", "template_card")
    has_link = is_web_address(made.fields["link"])
    assert main.msgtype == (kind if has_link or not needs_link else "markdown")
    assert renderer.problems == [] or not has_link
    assert made.fields["title"] in json.dumps(main.body, ensure_ascii=False)


def test_a_copied_example_takes_the_shipped_one_s_place(tmp_path: Path) -> None:
    shutil.copy(SHIPPED / "updateVersion.markdown.j2", tmp_path)
    shutil.copy(SHIPPED / "examples" / "updateVersion.news.j2", tmp_path)
    assert made(tmp_path, type="updateVersion", title="A", link=URL).msgtype == "news"


def test_the_news_example_shows_the_app_s_qr_picture_and_links_to_it(everything: Renderer) -> None:
    made = decoded(title="OooPlay", os_version="2.4", build_version=139, notes="new", link=URL)
    [message] = everything.messages(made, Target("default", template="updateVersion.news"))
    assert message.body == {
        "articles": [
            {
                "title": "OooPlay 2.4 (139)",
                "description": "new",
                "url": URL,
                "picurl": "https://www.pgyer.com/app/qrcode/oooplay",
            }
        ]
    }


def test_the_card_example_has_version_size_and_a_download_button(everything: Renderer) -> None:
    made = decoded(title="A", os_version="2.4", appsize=2238036, link=URL, device_type="iOS")
    [message] = everything.messages(made, Target("default", template="updateVersion.template_card"))
    assert message.body["emphasis_content"] == {"title": "2.4", "desc": "版本"}
    assert message.body["horizontal_content_list"] == [
        {"keyname": "平台", "value": "iOS"},
        {"keyname": "大小", "value": "2.1 MB"},
    ]
    assert message.body["jump_list"] == [{"type": 1, "title": "下载安装", "url": URL}]


# Any text in any field

_PIECES = [
    "<@all>", "<@wang>", "<", "@", '"', "\\", '"}', "]}", "\n", "\r\n", "\\u0022", "{{ title }}",
    "{% endif %}", "**", "`", "](", "http://a.b", "|", "# ", "> ", '<font color="info">', "</font>",
    "\u202e", "\x00", "\x07", "\ue000", "\ue002", "\ue003", "\u2028", "👨‍👩‍👧", "版本", "null", URL,
    "x" * 300,
]  # fmt: skip
_TEXT = st.one_of(st.text(max_size=60), st.lists(st.sampled_from(_PIECES)).map("".join))
_LONG = st.builds(lambda text, times: text * times, _TEXT, st.integers(1, 200))
_FIELDS = st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, st.one_of(_TEXT, _LONG)))
_PAYLOADS = st.one_of(_FIELDS, st.tuples(_FIELDS, st.dictionaries(_TEXT, _TEXT, max_size=3)).map(
    lambda both: {**both[1], **both[0]}
))  # fmt: skip
_FONT = re.compile(r'<font color="(?:info|comment|warning)">')


@pytest.mark.sweep
@pytest.mark.parametrize("template", TEXT_TEMPLATES)
@settings(deadline=None, max_examples=20)
@given(payload=_PAYLOADS, mentioned=st.booleans())
def test_any_text_in_any_field_makes_a_message_that_fits_and_calls_nobody(
    everything: Renderer, template: str, payload: dict[str, str], mentioned: bool
) -> None:
    target = Target("default", ("li",) if mentioned else (), template)
    main, *_ = everything.messages(decoded(**payload), target)
    text = str(main.body["content"])
    assert everything.problems == []
    assert main.msgtype == template.split(".")[1]
    assert accepted(main)
    assert size(text) <= TEXT_LIMITS[main.msgtype]
    called = mentioned and MSGTYPES[main.msgtype].inline_mentions
    assert text.count("<@") == text.count("<@li>") == called
    if main.msgtype == "markdown":
        assert text.count("<font") == len(_FONT.findall(text)) == text.count("</font>")
        assert not re.search("</font>[^<]*</font>", text)  # none in another, none left open
    assert not re.search("[\0-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069\ue000-\ue003]", text)


@pytest.mark.parametrize(
    "template", [name for name in EXAMPLES if name.split(".")[1] not in TEXT_LIMITS]
)
@given(payload=_PAYLOADS)
@example(payload={"title": "https://a" * 200})  # an address, which otherwise is whole or left out
def test_any_text_in_any_field_makes_a_body_that_wecom_takes(
    everything: Renderer, template: str, payload: dict[str, str]
) -> None:
    made = decoded(**{**payload, "title": payload.get("title", "") + "A", "link": URL})
    [main] = everything.messages(made, Target("default", template=template))
    assert main.msgtype == template.split(".")[1], everything.problems
    assert accepted(main)


_PLAIN = st.text(max_size=30).map(plain)
_WORDS = st.one_of(
    _PLAIN, st.lists(st.sampled_from(_PIECES[:-1]), max_size=4).map("".join).map(plain)
)


def _values(tree: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a body with the path to it."""
    if isinstance(tree, dict | list):
        for key, item in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from _values(item, f"{path}.{key}".lstrip("."))
    elif isinstance(tree, str):
        yield path, tree


@settings(deadline=None)
@given(title=_WORDS, version=_WORDS, build=_WORDS, notes=_WORDS)
@example(title="", version="", build="", notes=r"a typed\nline break")
def test_the_values_of_the_news_example_are_the_very_strings(
    everything: Renderer, title: str, version: str, build: str, notes: str
) -> None:
    made = decoded(
        title="A" + title, os_version=version, build_version=build, notes=notes, link=URL
    )
    [main] = everything.messages(made, Target("default", template="updateVersion.news"))
    fields = made.fields
    build_shown = f" ({fields['build_version']})" if fields["build_version"] else ""
    shown = {
        "articles.0.title": shorten(f"{fields['title']} {fields['os_version']}{build_shown}", 128),
        "articles.0.description": notes_of(made),
        "articles.0.url": URL,
        "articles.0.picurl": "https://www.pgyer.com/app/qrcode/oooplay",
    }
    assert dict(_values(main.body)) == {path: text for path, text in shown.items() if text}


@settings(deadline=None)
@given(title=_WORDS, action=_WORDS, version=_WORDS, build=_WORDS, device=_WORDS, notes=_WORDS)
def test_the_values_of_the_card_example_are_the_very_strings(
    everything: Renderer, title: str, action: str, version: str, build: str, device: str, notes: str
) -> None:
    made = decoded(
        title="A" + title, action=action, os_version=version, build_version=build,
        device_type=device, notes=notes, link=URL,
    )  # fmt: skip
    [main] = everything.messages(made, Target("default", template="updateVersion.template_card"))
    fields = made.fields
    rows = {"平台": fields["device_type"], "构建": fields["build_version"]}
    assert main.body.get("horizontal_content_list", []) == [
        {"keyname": name, "value": text} for name, text in rows.items() if text
    ]
    shown = {
        "card_type": "text_notice",
        "source.desc": "蒲公英",
        "main_title.title": fields["title"],
        "main_title.desc": fields["action"] or "新版本",
        "emphasis_content.title": fields["os_version"],
        "emphasis_content.desc": "版本",
        "sub_title_text": notes_of(made),
        "jump_list.0.title": "下载安装",
        "jump_list.0.url": URL,
        "card_action.url": URL,
    }
    given_rows = {path for path, _ in _values(main.body) if path.startswith("horizontal")}
    found = {path: text for path, text in _values(main.body) if path not in given_rows}
    assert found == {path: text for path, text in shown.items() if text}


# What a template of a user's own can do in JSON

_NEWS = '{"articles": [{"title": "A", "description": %s, "url": "https://a.b"}]}'


def description(tmp_path: Path, expression: str, **payload: object) -> object:
    message = made(folder(tmp_path, default__news=_NEWS % expression), **payload)
    assert message.msgtype == "news"
    return message.body["articles"][0].get("description")


@pytest.mark.parametrize(
    ("expression", "payload", "shown"),
    [
        ("{{ title }}", {"title": 'a "b" \\ \n <@all> **c**'}, 'a "b" \\ \n <@all> **c**'),
        ("{{ title }}", {"title": "版本 👍 \u2028"}, "版本 👍"),
        ("{{ title }}", {}, None),
        ("{{ gone.at.all }}", {}, None),
        ("{{ none }}", {}, None),
        ("{{ title|color('warning') }}", {"title": '**"x"**'}, '**"x"**'),
        ("{{ title|quote }}", {"title": "a\n# b"}, "a\n# b"),
        ("{{ title|link('https://a.b') }}", {"title": "[x]"}, "[x]"),
        ("{{ 'go'|link(gone) }}", {}, "go"),
        ("{{ gone|color('info') }}", {}, None),
        ("{{ title|upper }}", {"title": 'a"b'}, 'A"B'),
        ("{{ title ~ os_version }}", {"title": '"', "os_version": "\\"}, '"\\'),
        ("{{ title ~ ' \"' ~ gone ~ 5 ~ none ~ '<b>' }}", {"title": "&"}, '& "5<b>'),
        ("{{ (title ~ '\"') ~ ('\"' ~ title) }}", {"title": "x"}, 'x""x'),
        ("{{ title ~ (title|color('info')) }}", {"title": '"'}, '""'),
        ("{{ [title, title]|join('\"') }}", {"title": "<"}, '<"<'),
        ("{{ '%s-%s'|format(title, 5) }}", {"title": '"'}, '"-5'),
        ("{{ title + '\"' }}", {"title": "x"}, 'x"'),
        ("{{ title|replace('x', '\"') }}", {"title": "x"}, '"'),
        ("{{ '\"its own JSON\"'|safe }}", {}, "its own JSON"),
        ('"{{ title|safe }}"', {"title": "inside"}, "inside"),
        ("{{ title|tojson }}", {"title": 'a "b" <c> 版'}, 'a "b" <c> 版'),
        ("{% set x %}{{ title }}{% endset %}{{ x }}", {"title": 'a"b'}, 'a"b'),
        ("{% macro f(x) %}{{ x }}{% endmacro %}{{ f(title) }}", {"title": 'a"b'}, 'a"b'),
        ("{{ mention }}", {"title": "x"}, None),
        ("{{ appsize|filesize }}", {"appsize": 2238036}, "2.1 MB"),
        ("{{ created|datetime }}", {"created": "2015-10-09 11:25:16"}, "2015-10-09 11:25"),
        ("{{ payload.deep.x }}", {"deep": {"x": '"'}}, '"'),
    ],
)  # fmt: skip
def test_an_expression_in_json_is_one_json_value(
    expression: str, payload: dict[str, object], shown: object, tmp_path: Path
) -> None:
    assert description(tmp_path, expression, **payload) == shown


def test_mark_up_that_calls_or_colours_is_never_made_in_json(tmp_path: Path) -> None:
    path = folder(tmp_path, default__news=_NEWS % "{{ mention ~ notes|color('info') }}")
    main, call = Renderer(path, SHANGHAI).messages(decoded(notes="x"), Target("default", ("wang",)))
    assert main.body["articles"][0]["description"] == "x"
    assert call == Message("text", {"content": "", "mentioned_list": ["wang"]})


def test_values_in_json_have_no_controls_and_no_bidi_overrides_either(tmp_path: Path) -> None:
    found = description(tmp_path, "{{ notes }}", notes="user\u202egnp.exe\x07\r\nnext\ue000|")
    assert found == "usergnp.exe\nnext|"


def test_a_private_character_ends_no_line_in_json(tmp_path: Path) -> None:
    found = description(tmp_path, "{{ notes }}", notes="a\ue000b")
    assert "\n" not in str(found)


def test_nothing_in_a_value_ends_its_string(tmp_path: Path) -> None:
    attack = 'x", "url": "https://evil.example", "y": "'
    message = made(folder(tmp_path, default__news=_NEWS % "{{ notes }}"), notes=attack)
    assert message.body["articles"] == [{"title": "A", "description": attack, "url": "https://a.b"}]


def test_values_full_of_quotes_still_make_a_card(everything: Renderer) -> None:
    names = ("action", "os_version", "notes", "device_type", "build_version", "appsize", "created")
    made = decoded(title='"' * 5000, link=URL, **dict.fromkeys(names, '"' * 5000))
    [main] = everything.messages(made, Target("default", template="updateVersion.template_card"))
    assert main.msgtype == "template_card" and accepted(main)


def test_eight_long_articles_are_taken(tmp_path: Path) -> None:
    article = '{"title": {{ title }}, "description": {{ notes }}, "url": {{ link }}}'
    template = '{"articles": [' + ", ".join([article] * 8) + "]}"
    path = folder(tmp_path, default__news=template)
    message = made(path, title="t" * 5000, notes="n" * 5000, link=URL + "/" + "x" * 500)
    assert message.msgtype == "news" and len(message.body["articles"]) == 8
    assert accepted(message)


def test_the_mark_of_a_cut_tells_the_length_that_came(tmp_path: Path) -> None:
    found = description(tmp_path, "{{ notes }}", notes="x" * 5000)
    assert str(found).endswith("…（已截断，共 5000 字）")
    assert 0.95 * 512 <= size(str(found)) <= 512


def test_a_log_follows_whenever_the_notes_in_a_card_were_cut(tmp_path: Path) -> None:
    path = folder(tmp_path, default__news=_NEWS % "{{ notes }}")
    renderer, target = Renderer(path, SHANGHAI), Target("default", attach=("log",))
    for length, kinds in ((512, ["news"]), (513, ["news", "file"]), (5000, ["news", "file"])):
        messages = renderer.messages(decoded(title="A", notes="x" * length), target)
        assert [message.msgtype for message in messages] == kinds, length


@pytest.mark.parametrize(
    "template",
    [
        '{"articles": [{"title": "{{ title }}", "url": "https://a.b"}]}',
        '{"articles": [{"title": {{ title }}, "url": {{ gone }}}]}',
        '{"articles": [{"title": {{ title }} "url": "https://a.b"}]}',
        "[{{ title }}]",
        "{{ title }}",
    ],
)
def test_a_json_template_that_makes_no_body_is_named_and_the_generic_one_tells(
    template: str, tmp_path: Path
) -> None:
    renderer = Renderer(folder(tmp_path, default__news=template), SHANGHAI)
    [problem] = renderer.problems
    assert problem.startswith("default.news.j2: ")
    [message] = renderer.messages(decoded(title="App"), TO_DEFAULT)
    assert message.msgtype == "markdown" and "**App**" in message.body["content"]


def test_without_a_link_the_generic_template_tells_and_calls(everything: Renderer) -> None:
    target = Target("default", ("wang",), "updateVersion.news")
    [message] = everything.messages(decoded(title="<@all>"), target)
    assert message.msgtype == "markdown"
    assert f"<{ZWSP}@all>" in message.body["content"] and "<@wang>" in message.body["content"]
