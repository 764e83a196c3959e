"""Times as the pages show them."""

from zoneinfo import ZoneInfo

from console_client import Console, settle
from support import Clock

from bridge.console.blueprint import Times
from bridge.model import Verdict


def test_times_are_shown_in_the_bridge_s_zone() -> None:
    at = Clock().now  # 2027-01-15 16:00 in Shanghai
    times = Times(ZoneInfo("Asia/Shanghai"), at)
    assert times.full(at) == "2027-01-15 16:00:00"
    assert times.local(at).isoformat() == "2027-01-15T16:00:00+08:00"
    assert [times.short(at - ago) for ago in (0, 86400, 400 * 86400)] == [
        "16:00:00", "01-14 16:00", "2025-12-11"
    ]  # fmt: skip


def test_the_age_of_the_last_call_is_in_words(console: Console) -> None:
    settle(console, Verdict.SENT, "ok", 0)
    now = console.bridge.clock()
    ages = {0: "just now", 61: "1 min ago", 7300: "2 h ago", 200_000: "2 d ago"}
    for later, said in ages.items():
        console.bridge.clock = lambda at=now + later: at
        assert said in console.page("/bots")
