"""Rows of Pgyer's API, in whatever shape, and what is passed on of them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rendering import SHIPPED_RENDERER, TO_DEFAULT

from bridge.errors import PgyerError
from bridge.model import to_json
from bridge.pgyer.builds import build_of, builds_of, details, event_of_build, pages_of, view_of
from bridge.storage.builds import marks_of
from bridge.storage.tables import event_row

GOOD = {"buildKey": "k1", "appKey": "a1", "buildBuildVersion": "58"}
CREATED = 1795154731.0  # 2026-11-20 14:05:31 in Shanghai


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, True),
        ({"buildBuildVersion": 58}, True),
        ({"buildBuildVersion": 58.0}, True),
        ({"buildBuildVersion": " 58 "}, True),
        ({"buildBuildVersion": ""}, False),
        ({"buildBuildVersion": None}, False),
        ({"buildBuildVersion": "5.8"}, False),
        ({"buildBuildVersion": "-1"}, False),
        ({"buildBuildVersion": "9" * 16}, False),
        ({"buildBuildVersion": True}, False),
        ({"buildKey": ""}, False),
        ({"buildKey": "a b"}, False),
        ({"buildKey": "x" * 65}, False),
        ({"appKey": {"a": 1}}, False),
    ],
)
def test_a_build_is_known_by_two_keys_and_its_number(
    more: dict[str, object], expected: bool
) -> None:
    build = build_of({**GOOD, **more})
    assert (build is not None and build.counter == 58) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-20 14:05:31", CREATED),
        ("2026-11-20T14:05:31", CREATED),
        ("2026-11-20T06:05:31+00:00", CREATED),
        ("0000-00-00 00:00:00", None),
        ("2小时前", None),
        ("", None),
        (None, None),
    ],
)
def test_a_time_without_a_zone_is_shanghais(text: str | None, expected: float | None) -> None:
    build = build_of({**GOOD, "buildCreated": text})
    assert build and build.created == expected


@pytest.mark.parametrize(
    ("row", "published", "hidden"),
    [
        ({}, True, False),
        ({"buildIsPublishComplete": "1", "buildIsDisplayInHistory": "1"}, True, False),
        ({"buildIsPublishComplete": 1, "buildIsDisplayInHistory": ""}, True, False),
        ({"buildIsPublishComplete": "2"}, False, False),
        ({"buildIsPublishComplete": 0}, False, False),
        ({"buildIsDisplayInHistory": 2}, True, True),
    ],
)
def test_flags_may_be_missing_texts_or_numbers(
    row: dict[str, object], published: bool, hidden: bool
) -> None:
    build = build_of({**GOOD, **row})
    assert build and (build.is_published, build.is_hidden) == (published, hidden)


def test_pictures_are_addresses_or_left_out() -> None:
    def shown(**more: str) -> tuple[str, str]:
        build = build_of({**GOOD, **more})
        assert build
        return details(build).get("icon", ""), details(build).get("qrcode", "")

    made = "https://cdn-app-icon2.pgyer.com/3/2/6/a/f/326afb?x-oss-process="
    assert shown(buildIcon="326afb")[0].startswith(made)
    assert shown(buildIcon="https://p.cn/i.png") == ("https://p.cn/i.png", "")
    assert shown(iconUrl="https://p.cn/j.png", buildIcon="326afb")[0] == "https://p.cn/j.png"
    assert shown(buildIcon="../x", buildQRCodeURL="javascript:1") == ("", "")
    assert shown(buildQRCodeURL="https://p.cn/q")[1] == "https://p.cn/q"


@pytest.mark.parametrize(
    ("slug", "link"),
    [
        ("demo", "https://www.pgyer.com/demo"),
        ("https://www.pgyer.com/demo", "https://www.pgyer.com/demo"),
        ("", "https://www.pgyer.com/k1"),
    ],
)
def test_a_page_may_be_a_slug_an_address_or_that_of_the_build(slug: str, link: str) -> None:
    build = build_of({**GOOD, "buildShortcutUrl": slug})
    assert build and event_of_build(build, 0.0).fields["link"] == link
    assert build.slug == ("demo" if slug else "")


def test_a_page_of_harmony_and_a_view_in_an_array() -> None:
    build = build_of({**GOOD, "buildType": "7", "buildFileName": "demo.hap"})
    assert build and event_of_build(build, 0.0).fields["device_type"] == "HarmonyOS"
    assert view_of([GOOD], "") == view_of(GOOD, "") != view_of([], "")
    assert (pages_of({"pageCount": "3"}), pages_of({"pageCount": {}}), pages_of([])) == (
        3,
        None,
        None,
    )


NAMES = st.sampled_from(
    ["code", "data", "list", "pageCount", "buildKey", "appKey", "buildBuildVersion", "buildCreated",
     "buildName", "buildShortcutUrl", "buildIcon", "buildType", "buildPassword", "buildQRCodeURL"]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text()
    | st.sampled_from(["1", "k1", "2026-11-20 14:05:31", "https://[x", "\ud800\0", "9" * 30]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=8),
)  # fmt: skip
ROWS = st.dictionaries(NAMES, VALUES).map(lambda row: {**row, **GOOD})


@given(VALUES)
def test_any_reply_is_read_or_refused(data: Any) -> None:
    data = json.loads(json.dumps(data))
    pages_of(data)
    view_of(data, "a1")
    try:
        builds_of(data, "a1")
    except PgyerError as error:
        assert error.outcome == "unreadable"


@given(ROWS)
def test_any_build_can_be_stored_and_shown(row: dict[str, Any]) -> None:
    [build] = builds_of([row])
    event = event_of_build(build, 0.0)
    stored = event_row(event)
    assert "\0" not in to_json(stored["payload"]).encode().decode()
    assert marks_of(event)
    assert "buildPassword" not in stored["payload"] and "appKey" not in stored["payload"]
    assert SHIPPED_RENDERER.messages(event, TO_DEFAULT)
