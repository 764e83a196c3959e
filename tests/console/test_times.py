"""Times as the pages show them."""

from contextvars import ContextVar
from zoneinfo import ZoneInfo

import pytest
from support import Clock

from bridge.console.times import Times


def test_times_are_shown_in_the_bridge_s_zone() -> None:
    clock = Clock()  # 2027-01-15 16:00 in Shanghai
    times, at = Times(ZoneInfo("Asia/Shanghai"), clock), clock.now
    assert times.full(at) == "2027-01-15 16:00:00"
    assert times.local(at).isoformat() == "2027-01-15T16:00:00+08:00"
    assert [times.short(at - ago) for ago in (0, 86400, 400 * 86400)] == [
        "16:00:00", "01-14 16:00", "2025-12-11"
    ]  # fmt: skip
    assert times.is_past(at) and not times.is_past(at + 1)


def test_the_age_of_a_time_is_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.wording.language", ContextVar("language", default="en"))
    clock = Clock()
    times = Times(ZoneInfo("UTC"), clock)
    assert [times.ago(clock.now - ago) for ago in (0, 61, 7300, 200_000)] == [
        "just now", "1 min ago", "2 h ago", "2 d ago"
    ]  # fmt: skip
