"""Digests: how deliveries are grouped and packed, and what a digest shows."""

import logging
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rendering import FORMER, SHANGHAI, SHIPPED, SHIPPED_RENDERER, accepted, folder, rendered

from bridge.messages.digest import COUNTED, Detail, Group, fit_groups, group_deliveries
from bridge.messages.markdown import ZWSP, size
from bridge.messages.renderer import Renderer
from bridge.model import Delivery, Event, Message, Target
from bridge.msgtypes import TEXT_LIMITS


def delivery(
    n: int = 1, kind: str = "crashlog", mention: tuple[str, ...] = (), **fields: object
) -> Delivery:
    return Delivery(n, Event(kind, fields, 0.0), Target("default", mention))


DETAIL = Detail(3, 300)


def deliveries(count: int, **fields: object) -> list[Delivery]:
    """Deliveries of as many versions, each with these fields."""
    return [delivery(n, os_version=f"1.{n}", **fields) for n in range(count)]


# Grouping


def test_deliveries_alike_in_app_platform_and_type_are_one_group() -> None:
    same = {"title": "A", "device_type": "iOS"}
    found = group_deliveries(
        [delivery(n, **same, os_version=f"1.{n}", notes=f"n{n}", appsize=n) for n in range(1000)]
    )
    assert [len(group.deliveries) for group in found] == [1000]


@pytest.mark.parametrize("field", ["title", "device_type"])
def test_another_app_or_platform_is_another_group(field: str) -> None:
    same = {"title": "A", "device_type": "iOS", "os_version": "2.4", "build_version": "139"}
    found = group_deliveries([delivery(1, **same), delivery(2, **{**same, field: "other"})])
    assert [[d.id for d in group.deliveries] for group in found] == [[1], [2]]


@pytest.mark.parametrize("field", ["os_version", "build_version"])
def test_another_version_is_the_same_group(field: str) -> None:
    same = {"title": "A", "device_type": "iOS", "os_version": "2.4", "build_version": "139"}
    [group] = group_deliveries([delivery(1, **same), delivery(2, **{**same, field: "new"})])
    shown = group.variables(DETAIL)
    assert (shown["count"], shown["versions"]) == (2, 2)
    assert "new" in shown["version"] and shown[field] == "new"


def test_another_type_is_another_group() -> None:
    found = group_deliveries(
        [delivery(1, "crashlog", title="A"), delivery(2, "feedback", title="A")]
    )
    assert [group.type for group in found] == ["crashlog", "feedback"]


def test_types_that_nobody_knows_are_grouped_and_named_by_their_action() -> None:
    found = group_deliveries(
        [
            delivery(1, "", title="A", action="证书过期"),
            delivery(2, "", title="A", action="证书更新"),
            delivery(3, "", title="A", action="证书过期"),
            delivery(4, "buildFailed", title="A"),
            delivery(5, "", title="A"),
            delivery(6, "crashlog", title="A", action="Crash log"),
            delivery(7, "ours", title="A", action="崩溃日志"),
        ]
    )
    shown = [(group.variables(DETAIL)["name"], len(group.deliveries)) for group in found]
    assert shown == [
        ("证书过期", 2), ("证书更新", 1), ("buildFailed", 1), ("通知", 1), ("崩溃日志", 1),
        ("崩溃日志", 1),
    ]  # fmt: skip


def test_values_do_not_slip_from_one_field_into_the_next() -> None:
    found = group_deliveries(
        [delivery(1, title="A", device_type=""), delivery(2, title="", device_type="A")]
    )
    assert len(found) == 2


def test_a_number_and_its_text_are_one_version() -> None:
    [group] = group_deliveries([delivery(1, build_version=139), delivery(2, build_version="139")])
    assert group.variables(DETAIL)["versions"] == 1


def test_an_app_s_groups_are_together_in_the_order_of_their_first_deliveries() -> None:
    kinds = [("b", "crashlog"), ("a", "crashlog"), ("b", "feedback"), ("b", "crashlog"),
             ("c", "crashlog"), ("a", "crashlog")]  # fmt: skip
    found = group_deliveries(
        [delivery(n, kind, title=title) for n, (title, kind) in enumerate(kinds)]
    )
    assert [
        (group.fields["title"], group.type, [d.id for d in group.deliveries]) for group in found
    ] == [
        ("b", "crashlog", [0, 3]),
        ("b", "feedback", [2]),
        ("a", "crashlog", [1, 5]),
        ("c", "crashlog", [4]),
    ]


def test_no_deliveries_make_no_groups() -> None:
    assert group_deliveries([]) == []


# What a template sees of a group


def test_the_fields_are_the_newest_and_a_link_is_not_lost() -> None:
    old = {"title": "A", "os_version": "1", "build_version": "9", "link": "https://a.b"}
    [group] = group_deliveries([delivery(1, **old), delivery(2, title="A", os_version="2")])
    shown = group.variables(DETAIL)
    assert (shown["os_version"], shown["build_version"], shown["link"]) == ("2", "", "https://a.b")


@pytest.mark.parametrize(
    ("fields", "version"),
    [
        ({"os_version": "2.4", "build_version": "139"}, "2.4 (139)"),
        ({"os_version": "2.4"}, "2.4"),
        ({"build_version": 139}, "构建 139"),
        ({}, ""),
    ],
)
def test_a_version_is_shown_with_its_build(fields: dict[str, object], version: str) -> None:
    [group] = group_deliveries([delivery(1, **fields)])
    assert group.variables(DETAIL)["version"] == version


def test_how_many_are_alike_is_shown_only_above_one() -> None:
    [group] = group_deliveries([delivery(1, notes="x")])
    assert (group.variables(DETAIL)["times"], group.variables(DETAIL)["count"]) == ("", 1)
    [group] = group_deliveries([delivery(n, notes="x") for n in range(3)])
    shown = group.variables(DETAIL)
    assert shown["times"] == "×3"
    assert shown["newest"] == [{"version": "", "notes": "x", "times": "×3"}]


def test_texts_are_the_newest_first_and_each_once() -> None:
    notes = ["one", "two", "one", "", "three", "two"]
    [group] = group_deliveries([delivery(n, notes=text) for n, text in enumerate(notes)])
    shown = group.variables(DETAIL)
    assert shown["notes"] == ["two", "three", "one"]
    assert [text["times"] for text in shown["newest"]] == ["×2", "", "×2"]
    assert (shown["count"], shown["hidden"]) == (6, 0)


def test_a_group_shows_its_three_newest_texts_on_a_line_each_and_counts_the_others() -> None:
    [group] = group_deliveries([delivery(n, notes=f"line\r\n\n  {n}") for n in range(5)])
    shown = group.variables(DETAIL)
    assert shown["notes"] == ["line 4", "line 3", "line 2"]
    assert shown["hidden"] == 2


def test_of_several_versions_each_text_says_which() -> None:
    [group] = group_deliveries(
        [delivery(n, os_version=f"1.{n}", notes="" if n % 2 else "same") for n in range(4)]
    )
    assert group.variables(DETAIL)["newest"] == [
        {"version": "1.3", "notes": "", "times": ""},
        {"version": "1.2", "notes": "same", "times": ""},
        {"version": "1.1", "notes": "", "times": ""},
    ]


@pytest.mark.parametrize("detail", [Detail(3, 300), Detail(3, 90), Detail(1, 90), COUNTED])
@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_a_text_that_is_cut_says_how_long_it_was_and_one_that_is_hidden_is_counted(
    detail: Detail, count: int
) -> None:
    [group] = group_deliveries([delivery(n, notes=f"{n}版" * 500) for n in range(count)])
    shown = group.variables(detail)
    assert len(shown["notes"]) == min(count, detail.texts)
    assert shown["hidden"] == max(0, count - detail.texts)
    for text in shown["notes"]:
        assert size(text) <= detail.text_size
        assert text.endswith("…（已截断，共 1000 字）")


def test_a_text_that_the_database_cut_says_how_long_it_was_at_first() -> None:
    [group] = group_deliveries([delivery(1, notes="版" * 300 + "…（已截断，共 20000 字）")])
    for detail in (Detail(3, 2000), Detail(3, 90)):
        assert group.variables(detail)["notes"][0].endswith("…（已截断，共 20000 字）")


def test_a_group_without_notes_shows_none() -> None:
    [group] = group_deliveries([delivery()])
    shown = group.variables(DETAIL)
    assert (shown["newest"], shown["notes"], shown["hidden"]) == ([], [], 0)


def test_what_a_group_shows_is_of_bounded_length() -> None:
    long = dict.fromkeys(["title", "device_type", "os_version", "build_version"], "版" * 999)
    [group] = group_deliveries(
        [delivery(1, "版" * 999, **long, link="https://a.b/" + "x" * 999, notes="n")]
    )
    shown = group.variables(DETAIL)
    for name in [*long, "type", "name", "version"]:
        assert size(shown[name]) <= 120, name
    assert shown["link"] == ""  # half an address leads nowhere
    assert group_deliveries([delivery(link="https://a.b")])[0].variables(COUNTED)["link"]


# Packing


def apps(count: int, **fields: object) -> list[Delivery]:
    """Deliveries of as many apps, each with these fields."""
    return [delivery(n, **{"title": f"A{n}", **fields}) for n in range(count)]


def _lines(found: Sequence[Group], detail: Detail) -> str:
    shown = [group.variables(detail) for group in found]
    return "\n".join(f"{group['title']} ×{group['count']} {group['notes']}" for group in shown)


def test_all_groups_fit_with_their_texts_where_there_is_room() -> None:
    found = group_deliveries(apps(3, notes="n" * 300))
    text, sent = fit_groups(found, _lines, 4096)
    assert sent == found
    assert text.count("n" * 300) == 3


def test_texts_give_way_before_a_second_message_is_needed() -> None:
    found = group_deliveries(apps(35, notes="n" * 400))
    text, sent = fit_groups(found, _lines, 4096)
    assert sent == found and size(text) <= 4096
    assert 0 < text.count("n") < 35 * 100


def test_without_room_for_all_a_message_takes_as_many_as_it_can() -> None:
    found = group_deliveries([delivery(n, title=f"{n:A>110}", notes="n" * 400) for n in range(500)])
    text, sent = fit_groups(found, _lines, 4096)
    assert list(sent) == found[: len(sent)]
    assert text == _lines(sent, COUNTED)
    assert size(text) <= 4096 < size(_lines(found[: len(sent) + 1], COUNTED))


def test_a_digest_has_at_most_forty_lines() -> None:
    found = group_deliveries(apps(500))
    text, sent = fit_groups(found, _lines, 4096)
    assert len(text.splitlines()) == len(sent) == 40
    few = group_deliveries(
        [delivery(n, title=f"A{n % 12}", notes=f"note {n}") for n in range(12 * 4)]
    )

    def with_texts(found: Sequence[Group], detail: Detail) -> str:
        return "\n".join(
            "\n".join([group["title"], *group["notes"]])
            for group in (group.variables(detail) for group in found)
        )

    text, sent = fit_groups(few, with_texts, 4096)
    assert sent == few
    assert len(text.splitlines()) == 24  # with the newest text of each


def test_a_single_group_that_does_not_fit_is_an_error() -> None:
    for count in (1, 2, 7):
        with pytest.raises(ValueError, match="longer than 10 bytes with a single group"):
            fit_groups(group_deliveries(apps(count, title="A" * 50)), _lines, 10)


def test_a_single_group_of_more_lines_is_sent_all_the_same() -> None:
    found = group_deliveries(apps(3))
    text, sent = fit_groups(found, lambda groups, _: "\n" * 50 + _lines(groups, COUNTED), 4096)
    assert list(sent) == found[:1] and "A0" in text


def test_the_limit_itself_still_fits() -> None:
    found = group_deliveries([delivery(1, title="A")])
    whole = _lines(found, DETAIL)
    assert fit_groups(found, _lines, size(whole)) == (whole, found)
    with pytest.raises(ValueError, match="longer than"):
        fit_groups(found, _lines, size(whole) - 1)


@given(
    lengths=st.lists(st.integers(0, 110), min_size=1, max_size=60),
    limit=st.integers(140, 1000),
)
def test_packing_is_as_tight_as_it_can_be_and_tells_each_once(
    lengths: list[int], limit: int
) -> None:
    """No packing in this order takes fewer messages than filling each as far as it goes."""
    titles = [f"{n}{'t' * length}" for n, length in enumerate(lengths)]
    left = [delivery(n, title=title) for n, title in enumerate(titles)]
    sent, messages = [], 0
    while left:
        text, part = fit_groups(group_deliveries(left), _lines, limit)
        assert size(text) <= limit and text.count("\n") < 40
        now = [d for group in part for d in group.deliveries]
        sent += [d.id for d in now]
        left = [d for d in left if d not in now]
        messages += 1
    assert sorted(sent) == list(range(len(lengths)))
    needed, room, lines = 0, 0, 0
    for title in titles:
        line = size(_lines(group_deliveries([delivery(title=title)]), COUNTED)) + 1
        if line > room or lines == 40:
            needed, room, lines = needed + 1, limit + 1, 0
        room, lines = room - line, lines + 1
    assert messages == needed


# By templates


def rounds(renderer: Renderer, left: list[Delivery]) -> list[tuple[Message, list[int]]]:
    """Digests until every delivery is sent, each with the ids that it sent."""
    made = []
    while left:
        message, sent = renderer.digest(left)
        assert sent, "a digest that settles nothing would go on for ever"
        assert accepted(message)
        assert size(str(message.body["content"])) <= TEXT_LIMITS[message.msgtype]
        ids = [d.id for d in sent]
        assert set(ids) <= {d.id for d in left}
        made.append((message, ids))
        left = [d for d in left if d.id not in ids]
    return made


def shipped(*found: Delivery) -> str:
    message, sent = SHIPPED_RENDERER.digest(found)
    assert sorted(d.id for d in sent) == sorted(d.id for d in found)
    assert message.msgtype == "markdown"
    return str(message.body["content"])


def test_the_shipped_digest_says_how_many_and_has_a_line_for_each_group() -> None:
    fields = {"title": "OooPlay", "device_type": "iOS", "os_version": "2.4"}
    text = shipped(
        delivery(1, **fields, build_version=139, notes="old"),
        delivery(2, **fields, build_version=139, notes="new"),
        delivery(3, "feedback", **fields, notes="hello"),
    )
    assert text.splitlines() == [
        '### <font color="info">通知汇总</font> 共 3 条',
        "OooPlay · iOS · 崩溃日志 ×2 · 2.4 (139)",
        "> new",
        "> old",
        "",
        "OooPlay · iOS · 用户反馈 · 2.4",
        "> hello",
    ]


def test_many_new_versions_are_a_number_the_latest_and_the_newest_few() -> None:
    fields = {"title": "商城", "device_type": "iOS", "link": "https://www.pgyer.com/abcd"}
    text = shipped(
        *(
            delivery(n, "updateVersion", **fields, os_version="2.4", build_version=2016 + n,
                     notes=f"修复 {n}")
            for n in range(76)
        )
    )  # fmt: skip
    assert text.splitlines() == [
        '### <font color="info">通知汇总</font> 共 76 条',
        "[商城](https://www.pgyer.com/abcd) · iOS · 76 个新版本，最新 2.4 (2091)",
        "> 2.4 (2091) · 修复 75",
        "> 2.4 (2090) · 修复 74",
        "> 2.4 (2089) · 修复 73",
        "",
        "另有 73 条的内容未列出",
    ]


def test_events_without_a_title_read_well_in_a_digest() -> None:
    assert shipped(delivery(1, "undecodable", notes="<xml>")).splitlines()[1:] == [
        "无法识别的通知",
        f"> <{ZWSP}xml>",
    ]
    assert shipped(delivery(1, "x", action="证书过期")).splitlines()[1:] == ["证书过期"]


def test_a_shipped_digest_has_at_most_forty_lines_and_carries_what_it_shows() -> None:
    users = tuple(f"user{n}" for n in range(5))
    found = [
        delivery(n, f"kind{n % 50}", users, title=f"App {n % 30}", notes=f"note {n}\n{n}")
        for n in range(2000)
    ]
    linked = Renderer(SHIPPED, SHANGHAI, "https://bridge.example")
    for message, ids in rounds(linked, found):
        text = str(message.body["content"])
        assert len(text.splitlines()) <= 40
        assert f"共 {len(ids)} 条" in text
        [hidden] = re.findall(r"另有 (\d+) 条", text) or ["0"]
        listed = re.findall(r"^App .*?(?: ×(\d+))?$", text, re.MULTILINE)
        assert sum(int(count or 1) for count in listed) == len(ids)
        assert int(hidden) + len(re.findall("^> note", text, re.MULTILINE)) == len(ids)


def test_an_edited_digest_of_the_former_kind_works_from_its_own_folder() -> None:
    renderer = Renderer(FORMER, SHANGHAI)
    fields = {"title": "OooPlay", "device_type": "iOS", "os_version": "2.4"}
    found = [
        delivery(1, **fields, build_version=139, notes="old"),
        delivery(2, **fields, build_version=140, notes="new"),
        delivery(3, "feedback", **fields, notes="hello"),
    ]
    message, included = renderer.digest(found)
    assert renderer.problems == [] and sorted(d.id for d in included) == [1, 2, 3]
    assert str(message.body["content"]).splitlines() == [
        '### <font color="info">通知汇总</font> 共 3 条',
        "> **OooPlay** iOS 2.4 (140) 崩溃日志 ×2",
        '> <font color="comment">new</font>',
        '> <font color="comment">old</font>',
        "> **OooPlay** iOS 2.4 用户反馈 ×1",
        '> <font color="comment">hello</font>',
    ]


def test_the_console_is_linked_only_where_there_is_a_public_url() -> None:
    assert "](" not in shipped(delivery(title="A"))
    linked = Renderer(SHIPPED, SHANGHAI, "https://bridge.example")
    message, _ = linked.digest([delivery(title="A")])
    address = "https://bridge.example/console/events"
    assert str(message.body["content"]).endswith(f"[在控制台查看]({address})")


def test_titles_and_notes_in_a_digest_do_nothing() -> None:
    attack = "<@all> **x** [a](http://evil) `c` </font>\n# head"
    names = ("title", "device_type", "os_version", "build_version", "notes")
    text = shipped(delivery(1, attack, **dict.fromkeys(names, attack)))
    assert "<@" not in text and "](" not in text and "`" not in text
    assert text.count("<font") == text.count("</font>") == 1
    assert not re.search(r"^# ", text, re.MULTILINE)
    assert f"<{ZWSP}@all>" in text


def test_a_digest_calls_everybody_that_its_deliveries_call_once() -> None:
    text = shipped(
        delivery(1, mention=("wang", "li"), title="A"),
        delivery(2, mention=("li", "@all"), title="B"),
        delivery(3, title="C"),
    )
    assert re.findall("<@.*?>", text) == ["<@wang>", "<@li>"]


def test_a_thousand_crashes_of_four_versions_are_one_message() -> None:
    many = [
        delivery(n, title="A", os_version=f"1.{n % 4}", notes=f"crash {n}" * 9) for n in range(1000)
    ]
    text = shipped(*many)
    assert "共 1000 条" in text and "1000 条崩溃日志，最新 1.3" in text
    assert all(f"crash {n}" in text for n in range(997, 1000))
    assert "另有 997 条" in text


def test_two_hundred_versions_are_told_in_few_messages() -> None:
    made = rounds(SHIPPED_RENDERER, deliveries(200, title="OooPlay", device_type="iOS", notes="n"))
    assert len(made) <= 4
    assert sorted(n for _, ids in made for n in ids) == list(range(200))
    for message, ids in made:
        assert f"共 {len(ids)} 条" in str(message.body["content"])


@pytest.mark.parametrize(
    "name", ["kind", "title", "device_type", "os_version", "build_version", "notes"]
)
def test_a_value_of_any_length_fits(name: str, tmp_path: Path) -> None:
    found = [delivery(**{"n": n, "title": "A", name: f"{n}{'很长' * 20_000}"}) for n in range(3)]
    for renderer in (SHIPPED_RENDERER, Renderer(tmp_path, SHANGHAI)):
        made = rounds(renderer, found)
        assert sorted(n for _, ids in made for n in ids) == [0, 1, 2]


def test_more_mentions_than_a_digest_has_room_for_do_not_keep_it_from_telling() -> None:
    users = tuple(f"a-rather-long-userid-{n}" for n in range(300))
    found = [delivery(1, mention=users, title="A")]
    message, sent = SHIPPED_RENDERER.digest(found)
    assert [d.id for d in sent] == [1]
    assert size(str(message.body["content"])) <= 4096


def test_without_a_template_the_generic_digest_tells_every_group(tmp_path: Path) -> None:
    message, sent = Renderer(tmp_path, SHANGHAI).digest(
        [delivery(1, title="A", os_version="2.4"), delivery(2, "feedback", title="<@B>")]
    )
    assert message == Message(
        "markdown",
        {"content": f"**共 2 条**\nA 2.4 崩溃日志 \n<{ZWSP}@B>  用户反馈"},
    )
    assert [d.id for d in sent] == [1, 2]


@pytest.mark.parametrize("msgtype", sorted(TEXT_LIMITS))
def test_a_digest_of_a_user_s_own_is_used_packed_and_defused(msgtype: str, tmp_path: Path) -> None:
    template = (
        "{{ total }}!{% for g in groups %}\n| {{ g.title }}|{{ g.link }}|{{ g.count }}"
        "{% for n in g.notes %}|{{ n }}{% endfor %}{% endfor %}"
    )
    (tmp_path / f"digest.{msgtype}.j2").write_text(template, encoding="utf-8")
    renderer = Renderer(tmp_path, SHANGHAI)
    assert renderer.problems == []
    many = [
        delivery(n, title=f"<@all> {n}", link="https://a.b", notes="x" * 300) for n in range(300)
    ]
    made = rounds(renderer, many)
    assert {message.msgtype for message, _ in made} == {msgtype}
    assert sorted(n for _, ids in made for n in ids) == list(range(300))
    for message, ids in made:
        text = str(message.body["content"])
        assert text.startswith(f"{len(ids)}!") and "<@" not in text
    room = TEXT_LIMITS[msgtype]
    assert all(size(str(message.body["content"])) > 0.9 * room for message, _ in made[:-1])


def test_a_digest_as_text_calls_by_its_lists(tmp_path: Path) -> None:
    renderer = Renderer(folder(tmp_path, digest__text="{{ total }}"), SHANGHAI)
    message, _ = renderer.digest([delivery(mention=("wang", "@all", "13800138000"), title="A")])
    assert message.body == {
        "content": "1\n<@wang>",
        "mentioned_list": ["@all"],
        "mentioned_mobile_list": ["13800138000"],
    }


@pytest.mark.parametrize(
    ("template", "line"),
    [
        ("a\n{% for g in groups %}", 2),
        ("a\n\n{{ 1 // 0 }}", 3),
        ("a\n{{ total|nofilter }}", 2),
        ("x" * 5000, 0),
    ],
)
def test_a_broken_digest_is_named_and_the_generic_one_is_used(
    template: str, line: int, tmp_path: Path
) -> None:
    renderer = Renderer(folder(tmp_path, digest__markdown=template), SHANGHAI)
    [problem] = renderer.problems
    place = f"digest.markdown.j2:{line}: " if line else "digest.markdown.j2: "
    assert problem.startswith(place)
    message, sent = renderer.digest([delivery(title="A")])
    assert "**共 1 条**" in str(message.body["content"]) and len(sent) == 1


@pytest.mark.parametrize("msgtype", ["news", "template_card"])
def test_a_digest_cannot_be_json(msgtype: str, tmp_path: Path) -> None:
    shutil.copy(SHIPPED / "examples" / f"updateVersion.{msgtype}.j2",
                tmp_path / f"digest.{msgtype}.j2")  # fmt: skip
    renderer = Renderer(tmp_path, SHANGHAI)
    [problem] = renderer.problems
    assert (
        problem
        == f"digest.{msgtype}.j2: a digest is one of {', '.join(TEXT_LIMITS)}, not {msgtype}"
    )
    assert "**共 1 条**" in str(renderer.digest([delivery(title="A")])[0].body["content"])


def test_a_digest_that_fails_on_some_deliveries_gives_way_to_the_generic_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = folder(tmp_path, digest__markdown="mine {{ total }} {{ 1 // (total - 3) }}")
    renderer = Renderer(path, SHANGHAI)
    assert renderer.problems == []
    caplog.set_level(logging.ERROR)
    for _ in range(2):
        message, sent = renderer.digest(deliveries(3, title="A"))
        assert "**共 3 条**" in str(message.body["content"]) and len(sent) == 3
    assert caplog.text.count("digest.markdown.j2:1") == 1
    assert [p.split(": ")[0] for p in sorted(renderer.problems_by_file.values())] == [
        "digest.markdown.j2:1"
    ]
    assert "mine 1" in str(renderer.digest(deliveries(1))[0].body["content"])


def test_an_edit_of_the_digest_is_picked_up(tmp_path: Path) -> None:
    renderer = Renderer(folder(tmp_path, digest__markdown="one"), SHANGHAI)
    assert renderer.digest([delivery()])[0].body["content"] == "one"
    folder(tmp_path, digest__markdown="two {{ total }}")
    assert renderer.digest([delivery()])[0].body["content"] == "two 1"


def test_an_event_whose_type_is_digest_is_still_told() -> None:
    event = Event("digest", {"type": "digest", "title": "OooPlay", "notes": "hello"}, 0.0)
    text = rendered(SHIPPED_RENDERER, event)
    assert "OooPlay" in text and "hello" in text


_PIECES = ["<@all>", "<", "@a>", "**", "`", "](", "[", "\n", "> ", "# ", "</font>", "|", "版", "👍"]
_TEXT = st.one_of(
    st.text(max_size=40), st.lists(st.sampled_from(_PIECES), max_size=200).map("".join)
)
_NAMES = ("title", "device_type", "os_version", "build_version", "notes", "link")
_DELIVERIES = st.lists(
    st.tuples(
        st.sampled_from(["crashlog", "feedback", "other"]),
        st.fixed_dictionaries({}, optional=dict.fromkeys(_NAMES, _TEXT)),
    ),
    min_size=1,
    max_size=30,
)


@settings(deadline=None, max_examples=50)
@given(found=_DELIVERIES)
def test_any_titles_and_notes_are_told_once_fit_and_call_nobody(
    found: list[tuple[str, dict[str, str]]],
) -> None:
    made = rounds(SHIPPED_RENDERER, [delivery(n, kind, **f) for n, (kind, f) in enumerate(found)])
    assert SHIPPED_RENDERER.problems == []
    assert sorted(n for _, ids in made for n in ids) == list(range(len(found)))
    for message, _ in made:
        text = str(message.body["content"])
        assert "<@" not in text and "](" not in text
        assert text.count("<font") == text.count("</font>") == text.count('<font color="')
