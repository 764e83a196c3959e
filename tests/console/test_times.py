"""Times as the pages show them."""

from contextvars import ContextVar
from zoneinfo import ZoneInfo

import pytest
from support import Clock

from bridge.console.blueprint import Times


def test_times_are_shown_in_the_bridge_s_zone() -> None:
    at = Clock().now  # 2027-01-15 16:00 in Shanghai
    times = Times(ZoneInfo("Asia/Shanghai"), at)
    assert times.full(at) == "2027-01-15 16:00:00"
    assert times.local(at).isoformat() == "2027-01-15T16:00:00+08:00"
    assert [times.short(at - ago) for ago in (0, 86400, 400 * 86400)] == [
        "16:00:00", "01-14 16:00", "2025-12-11"
    ]  # fmt: skip


def test_the_age_of_a_time_is_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.wording.language", ContextVar("language", default="en"))
    at = Clock().now
    times = Times(ZoneInfo("UTC"), at)
    assert [times.ago(at - ago) for ago in (0, 61, 7300, 200_000)] == [
        "just now", "1 min ago", "2 h ago", "2 d ago"
    ]  # fmt: skip
