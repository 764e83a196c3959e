"""The samples of every event, Pgyer's own documented ones among them, are read as they are."""

import json

import pytest
from bodies import decode_one
from support import ROOT

from bridge.receiving.event_types import KNOWN_TYPES

SAMPLES = ROOT / "bridge" / "samples"


DOCUMENTED = {
    "title": "OooPlay",
    "link": "http://www.pgyer.com/oooplay_test",
    "os_version": "2.4",
    "build_version": "139",
    "created": "2015-10-09 11:25:16",
    "updated": "2015-10-09 11:25:16",
    "timestamp": "1444361118",
    "appsize": "2238036",
    "device_type": "iOS",
    "appQRCodeURL": "",
}
MADE_UP = {
    **DOCUMENTED,
    "type": "",
    "link": "https://www.pgyer.com/oooplay_test",
    "created": "2026-11-20 10:02:11",
    "updated": "2026-11-20 10:02:11",
    "timestamp": "1795140131",
    "notes": "",
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "updateVersion",
            {
                **DOCUMENTED,
                "action": "應用更新",
                "message": "您的應用OooPlay有了新的版本(2.4)更新。",
                "type": "updateVersion",
                "notes": "修復了一些小弱智的小bug",
            },
        ),
        (
            "feedback",
            {
                **DOCUMENTED,
                "action": "應用反饋",
                "message": "您的應用OooPlay收到一條新的反饋信息",
                "type": "feedback",
                "notes": "修復了一些小弱智的小bug",
            },
        ),
        (
            "crashlog",
            {
                **DOCUMENTED,
                "action": "Crash log",
                "message": "您的應用OooPlay收到了新的Crash Log",
                "type": "crashlog",
                "notes": "libsystem_kernel.dylib 0x3094c49c mach_msg_trap 20 CoreFoundation "
                "0x21edf7f3 <redacted> 146 CoreFoundation 0x21edddb9 <redacted> 1016 ...",
            },
        ),
        (
            "versionChange",
            {
                **MADE_UP,
                "action": "版本变动",
                "message": "您的应用OooPlay的版本2.4(139)已被隐藏。",
            },
        ),
        (
            "appSettings",
            {
                **MADE_UP,
                "action": "App 设置变动",
                "message": "您的应用OooPlay的设置已变动。",
                "device_type": "Android",
            },
        ),
        (
            "transferApp",
            {
                **MADE_UP,
                "action": "迁移应用",
                "message": "您的应用OooPlay已迁移到新的账号。",
                "device_type": "Android",
            },
        ),
        (
            "deleteApp",
            {**MADE_UP, "action": "删除应用", "message": "您的应用OooPlay已被删除。"},
        ),
    ],
)
def test_it_reads_the_sample_as_it_is(name: str, expected: dict[str, str]) -> None:
    body = (SAMPLES / f"{name}.json").read_bytes()
    event = decode_one(body, "application/json")
    assert event.type == name
    assert event.fields == expected
    assert event.raw == body


def test_there_is_a_sample_of_every_known_event() -> None:
    assert {path.stem for path in SAMPLES.glob("*.json")} == set(KNOWN_TYPES)


@pytest.mark.parametrize("name", ["updateVersion", "feedback", "crashlog"])
def test_the_documented_samples_are_not_json(name: str) -> None:
    text = (SAMPLES / f"{name}.json").read_text(encoding="utf-8")
    assert "'iOS'" in text
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(text)
