"""Pgyer's own documented samples, and the bundled ones of every event, are read as they are."""

import json
from datetime import datetime

import pytest
from bodies import decode_one
from support import ROOT

from bridge.receiving.event_types import KNOWN_TYPES

SAMPLES = ROOT / "bridge" / "samples"
DOCUMENTED = ROOT / "tests" / "pgyer_samples"  # as Pgyer's page has them, byte for byte
FIELDS_OF_ALL = {
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
    "notes": "修復了一些小弱智的小bug",
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "updateVersion",
            {"action": "應用更新", "message": "您的應用OooPlay有了新的版本(2.4)更新。"},
        ),
        (
            "feedback",
            {"action": "應用反饋", "message": "您的應用OooPlay收到一條新的反饋信息"},
        ),
        (
            "crashlog",
            {
                "action": "Crash log",
                "message": "您的應用OooPlay收到了新的Crash Log",
                "notes": "libsystem_kernel.dylib 0x3094c49c mach_msg_trap 20 CoreFoundation "
                "0x21edf7f3 <redacted> 146 CoreFoundation 0x21edddb9 <redacted> 1016 ...",
            },
        ),
    ],
)
def test_it_reads_the_documented_sample_as_it_is(name: str, expected: dict[str, str]) -> None:
    body = (DOCUMENTED / f"{name}.txt").read_bytes()
    event = decode_one(body, "application/json")
    assert event.type == name
    assert event.fields == {**FIELDS_OF_ALL, "type": name, **expected}
    assert event.raw == body


@pytest.mark.parametrize("name", ["updateVersion", "feedback", "crashlog"])
def test_the_documented_samples_are_not_json(name: str) -> None:
    text = (DOCUMENTED / f"{name}.txt").read_text(encoding="utf-8")
    assert "'iOS'" in text
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(text)


@pytest.mark.parametrize("name", KNOWN_TYPES)
def test_it_reads_the_bundled_sample_as_it_is(name: str) -> None:
    body = (SAMPLES / f"{name}.json").read_bytes()
    event = decode_one(body, "application/json")
    assert event.type == name
    assert event.payload == json.loads(body)
    assert event.raw == body


@pytest.mark.parametrize("name", KNOWN_TYPES)
def test_a_bundled_sample_reads_like_an_event_of_today(name: str) -> None:
    text = (SAMPLES / f"{name}.json").read_text(encoding="utf-8")
    sample = json.loads(text)
    assert sample["title"] in sample["message"] and sample["title"].startswith("商城")
    for name in ("created", "updated"):
        assert sample[name].startswith("2026-")
    moment = datetime.fromisoformat(f"{sample['created']}+08:00").timestamp()
    assert 0 <= sample["timestamp"] - moment <= 2
    assert "弱智" not in text and "2015" not in text and "OooPlay" not in text


def test_there_is_a_sample_of_every_known_event() -> None:
    assert {path.stem for path in SAMPLES.glob("*.json")} == set(KNOWN_TYPES)
