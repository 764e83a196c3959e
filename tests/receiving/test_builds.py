"""The reply of Pgyer's upload API is a new version, however a script posts it."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from bodies import FORM, decode_one, dumps, multipart
from console_client import serve

from bridge.receiving.builds import build_fields

# As in Pgyer's documentation of the upload: numbers and strings mixed.
DATA = {
    "buildKey": "d277bdef11357f8a30d7761a1100ff31",
    "buildType": 2,
    "buildIsFirst": 0,
    "buildIsLastest": 1,
    "buildFileKey": "e1b53967deb1112984c48569fcb6cc20.apk",
    "buildFileName": "demo-release.apk",
    "buildFileSize": 40095060,
    "buildName": "示例应用",
    "buildVersion": "2.3.0",
    "buildVersionNo": "230",
    "buildBuildVersion": "58",
    "buildIdentifier": "com.example.demo",
    "buildIcon": "326af839deb628abd4321a607b18096e",
    "buildPassword": "sample-pw",
    "buildDescription": None,
    "buildUpdateDescription": "修复登录\n优化启动速度",
    "buildShortcutUrl": "demo-android",
    "buildCreated": "2026-11-20 14:05:31",
    "buildUpdated": "2026-11-20 14:05:40",
    "buildQRCodeURL": "https://www.pgyer.com/app/qrcodeHistory/1894f775",
}
REPLY = {"code": 0, "message": "", "data": DATA}
FIELDS = {
    "action": "应用更新",
    "title": "示例应用",
    "link": "https://www.pgyer.com/demo-android",
    "message": "您的应用示例应用有了新的版本(2.3.0)更新。",
    "type": "updateVersion",
    "os_version": "2.3.0",
    "build_version": "58",
    "created": "2026-11-20 14:05:31",
    "updated": "2026-11-20 14:05:40",
    "timestamp": "",
    "appsize": "40095060",
    "device_type": "Android",
    "appQRCodeURL": "https://www.pgyer.com/app/qrcodeHistory/1894f775",
    "notes": "修复登录\n优化启动速度",
}
TEXTS = {name: "" if value is None else str(value) for name, value in DATA.items()}


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (dumps(REPLY), "application/json"),
        (json.dumps(REPLY).replace("/", "\\/"), ""),
        (dumps(REPLY), FORM),
        (dumps({"code": "0", "message": None, "data": TEXTS}), ""),
        (dumps(DATA), ""),
        (dumps(TEXTS), "text/plain"),
        (dumps({"data": DATA}), ""),
        (dumps({"data": dumps(DATA)}), ""),
        (dumps([REPLY]), ""),
        (dumps(dumps(REPLY)), ""),
        (urlencode(TEXTS), FORM),
        (urlencode(TEXTS), ""),
        (urlencode({"code": 0, "message": "", "data": dumps(DATA)}), FORM),
        (urlencode({"payload": dumps(REPLY)}), FORM),
        (urlencode({"code": 0} | {f"data[{k}]": v for k, v in TEXTS.items()}), FORM),
        (multipart(TEXTS).decode(), ""),
    ],
    ids=lambda value: value[:30],
)
def test_a_reply_of_the_upload_api_is_a_new_version(body: str, content_type: str) -> None:
    event = decode_one(body.encode(), content_type)
    assert event.type == "updateVersion"
    assert event.fields == FIELDS
    data = event.payload["data"]
    assert data["buildIdentifier"] == "com.example.demo"
    assert data["buildKey"] == DATA["buildKey"]
    assert data["buildPassword"] == "***"
    assert "sample-pw" not in dumps(event.payload) + event.raw.decode()


def test_what_stands_beside_the_build_is_kept() -> None:
    event = decode_one(dumps({**REPLY, "branch": "main"}).encode())
    assert event.payload["branch"] == "main"
    assert event.fields == FIELDS


def test_a_reply_without_a_secret_keeps_the_bytes_that_came() -> None:
    data = {"buildName": "A", "buildVersion": "1.0", "buildPassword": ""}
    body = dumps({"code": 0, "data": data}).encode()
    event = decode_one(body)
    assert event.fields["title"] == "A"
    assert event.raw == body


@pytest.mark.parametrize(
    "payload",
    [
        {"code": 1216, "message": "publish failed"},
        {"code": 1216, "message": "publish failed", "data": DATA},
        {"code": "1002", "message": "_api_key not found", "data": None},
        {"code": 0, "message": "", "data": {"list": [DATA]}},
        {"code": 0, "message": "", "data": {"buildKey": "d277"}},
        {"code": 0, "message": "", "data": {"endpoint": "https://a.example"}},
        {"code": 0, "data": "buildName"},
        {"code": 0, "data": '{"buildName"'},
        {"type": "feedback", "title": "A", "buildName": "B", "buildVersion": "1"},
        {"type": "crashlog", "data": DATA},
        {"action": "删除应用", "data": DATA},
    ],
    ids=str,
)
def test_anything_else_is_no_new_version(payload: dict[str, Any]) -> None:
    event = decode_one(dumps(payload).encode())
    assert event.type != "updateVersion"
    assert event.fields["title"] == payload.get("title", "")


@pytest.mark.parametrize(
    ("data", "field", "value"),
    [
        ({"buildShortcutUrl": "AbC_1-x"}, "link", "https://www.pgyer.com/AbC_1-x"),
        ({"buildShortcutUrl": "/abc/"}, "link", "https://www.pgyer.com/abc"),
        ({"buildShortcutUrl": "https://www.xcxwo.com/abc"}, "link", "https://www.xcxwo.com/abc"),
        ({"buildShortcutUrl": "www.pgyer.com/abc"}, "link", "https://www.pgyer.com/abc"),
        ({"buildShortcutUrl": 1234}, "link", "https://www.pgyer.com/1234"),
        ({"buildShortcutUrl": "a b](x"}, "link", "https://www.pgyer.com/a%20b%5D%28x"),
        (
            {"buildShortcutUrl": "javascript:alert(1)"},
            "link",
            "https://www.pgyer.com/javascript%3Aalert%281%29",
        ),
        ({"buildShortcutUrl": "", "buildKey": "d277"}, "link", "https://www.pgyer.com/d277"),
        ({"buildShortcutUrl": None, "buildKey": "d277"}, "link", "https://www.pgyer.com/d277"),
        ({}, "link", None),
        ({"buildType": 1}, "device_type", "iOS"),
        ({"buildType": "1"}, "device_type", "iOS"),
        ({"buildType": 2}, "device_type", "Android"),
        ({"buildType": "Android"}, "device_type", "Android"),
        ({"buildType": 1.0}, "device_type", "iOS"),
        ({"buildType": "harmony"}, "device_type", "HarmonyOS"),
        ({"buildType": 7, "buildFileName": "entry.HAP"}, "device_type", "HarmonyOS"),
        ({"buildFileKey": "e1b5.hap"}, "device_type", "HarmonyOS"),
        ({"buildFileName": "Demo.ipa"}, "device_type", "iOS"),
        ({"buildType": 7, "buildFileName": "demo.zip"}, "device_type", None),
        ({"buildBuildVersion": 58, "buildVersionNo": "230"}, "build_version", "58"),
        ({"buildBuildVersion": "", "buildVersionNo": "230"}, "build_version", "230"),
        ({"buildFileSize": "40095060"}, "appsize", "40095060"),
        ({"buildCreated": "2026-11-20 14:05:31"}, "updated", "2026-11-20 14:05:31"),
        ({"buildName": "A"}, "message", None),
        ({"buildName": "A", "buildVersion": 2.3}, "message", "您的应用A有了新的版本(2.3)更新。"),
        ({"buildPassword": "sample-pw"}, "notes", None),
    ],
)
def test_a_build_gives_the_field(data: dict[str, Any], field: str, value: str | None) -> None:
    assert build_fields(data).get(field) == value


@pytest.mark.parametrize("body", [dumps(REPLY), dumps(REPLY)[:-20], dumps({"x": DATA})])
def test_no_page_and_no_message_shows_the_password_of_a_build(
    body: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    console = serve(tmp_path)
    console.sign_in()
    event = console.event(body)
    page = console.page(f"/events/{event}")  # with the message as the group sees it
    assert DATA["buildKey"] in page
    raw = console.get(f"/events/{event}/raw").text
    for text in (page, raw, console.page("/events"), caplog.text):
        assert "sample-pw" not in text
