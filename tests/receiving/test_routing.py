"""The routes decide which bots an event is sent to, how and when."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from bridge.model import Event, Route, Target
from bridge.receiving.routing import parse, quiet_end, route

BOTS = ("default", "dev", "ops", "qa")
DEFAULT = [("default", (), "")]


def event(type_: str = "updateVersion", **payload: Any) -> Event:
    return Event(type_, {"type": type_, "title": "OooPlay", **payload}, 0.0)


def rules(text: str) -> list[Route]:
    routes, problems = parse(text, "routes.toml", BOTS)
    assert problems == []
    return routes


def targets_of(
    event: Event, routes: list[Route], bots: tuple[str, ...] = ()
) -> list[tuple[str, tuple[str, ...], str]]:
    """Return each target's bot, mentions and template."""
    found = route(event, routes, UTC, bots).targets
    return [(target.bot, target.mention, target.template) for target in found]


def sent(
    text: str, bots: tuple[str, ...] = (), **payload: Any
) -> list[tuple[str, tuple[str, ...], str]]:
    return targets_of(event(payload.pop("type_", "updateVersion"), **payload), rules(text), bots)


def names(text: str, bots: tuple[str, ...] = (), **payload: Any) -> list[str]:
    return [bot for bot, _, _ in sent(text, bots, **payload)]


def matches(condition: str, **payload: Any) -> bool:
    """Whether a rule of this one condition applies; any other event goes to `default`."""
    found = names(f'[[route]]\n{condition}\nbots = "dev"\n', **payload)
    assert found in (["dev"], ["default"])
    return found == ["dev"]


# --- which rule ---


EXAMPLE = """
[[route]]
type = "crashlog"            # glob, or a list; also: app, device, version, action
bots = ["dev"]
mention = ["wangqing", "@all"]      # userids in markdown; @all and mobile numbers as a follow-up
template = "crashlog-short"  # otherwise by the event's type
"""


def test_it_reads_the_example_of_the_design() -> None:
    assert rules(EXAMPLE) == [
        Route(
            rule=1,
            bots=("dev",),
            conditions={"type": ("crashlog",)},
            mention=("wangqing", "@all"),
            template="crashlog-short",
            continues=False,
        )
    ]
    assert sent(EXAMPLE, type_="crashlog") == [("dev", ("wangqing", "@all"), "crashlog-short")]
    assert sent(EXAMPLE, type_="feedback") == DEFAULT


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "route = []\n", "\r\n"])
def test_without_rules_everything_goes_to_the_default_bot(text: str) -> None:
    assert rules(text) == []
    assert sent(text) == DEFAULT


def test_a_rule_without_conditions_matches_everything() -> None:
    for type_ in ("updateVersion", "crashlog", "未知", ""):
        assert names('[[route]]\nbots = "dev"\n', type_=type_) == ["dev"]


def test_a_rule_without_bots_sends_to_the_default_one() -> None:
    assert sent('[[route]]\nmention = "li"\ntemplate = "x"\n') == [("default", ("li",), "x")]


@pytest.mark.parametrize(
    ("condition", "payload", "expected"),
    [
        ('type = "crashlog"', {"type_": "crashlog"}, True),
        ('type = "crashlog"', {"type_": "updateVersion"}, False),
        ('type = "CrashLog"', {"type_": "crashlog"}, True),
        ('type = "updateversion"', {"type_": "updateVersion"}, True),
        ('type = "*Version"', {"type_": "updateVersion"}, True),
        ('type = "*"', {"type_": ""}, True),
        ('type = ["feedback", "crashlog"]', {"type_": "crashlog"}, True),
        ('type = ["feedback", "crashlog"]', {"type_": "updateVersion"}, False),
        ('type = ["delete*", "*log"]', {"type_": "crashlog"}, True),
        ('app = "OooPlay"', {"title": "OooPlay"}, True),
        ('app = "oooplay"', {"title": "OooPlay"}, True),
        ('app = "Ooo"', {"title": "OooPlay"}, False),
        ('app = "Ooo*"', {"title": "OooPlay Beta"}, True),
        ('app = "*beta*"', {"title": "OooPlay Beta 2"}, True),
        ('app = "?声动"', {"title": "新声动"}, True),
        ('app = "?声动"', {"title": "声动"}, False),
        ('app = ["QQ", "声*"]', {"title": "声动"}, True),
        ('app = "ÄPP"', {"title": "äpp"}, True),
        ('app = "[内部] 声动"', {"title": "[内部] 声动"}, True),
        ('app = "[内部] 声动"', {"title": "声动"}, False),
        ('app = "App (a+b) $1.0"', {"title": "app (A+B) $1.0"}, True),
        ('app = "App.x"', {"title": "AppBx"}, False),
        ('app = "App [12]"', {"title": "App 2"}, True),
        ('app = "App [12]"', {"title": "App 3"}, False),
        ('app = "App [12]"', {"title": "App [12]"}, True),
        ('app = "App [!12]"', {"title": "App 3"}, True),
        ('app = " QQ "', {"title": "QQ"}, True),
        ('app = "a*z"', {"title": "a\nb\nz"}, True),
        ('device = "ios"', {"device_type": "iOS"}, True),
        ('device = "ios"', {"device_type": "Android"}, False),
        ('device = ["ios", "harmony*"]', {"device_type": "HarmonyOS NEXT"}, True),
        ('device = "ios"', {}, False),
        ('device = "*"', {}, True),
        ('version = "4.*"', {"os_version": "4.7.0.0.preview"}, True),
        ('version = "4.*"', {"os_version": "14.1"}, False),
        ('version = "*.preview"', {"os_version": "4.7.0.0.preview"}, True),
        ('version = "2.4"', {"os_version": 2.4}, True),
        ('action = "应用更新"', {"action": "应用更新"}, True),
        ('action = "*更新"', {"action": "應用更新"}, True),
        ('action = "app *"', {"action": "App deletion"}, True),
        ('action = "应用更新"', {"action": None}, False),
        ('app = "QQ"\ndevice = "ios"', {"title": "QQ", "device_type": "iOS"}, True),
        ('app = "QQ"\ndevice = "ios"', {"title": "QQ", "device_type": "Android"}, False),
        ('app = "QQ"\ndevice = "ios"', {"title": "WeChat", "device_type": "iOS"}, False),
    ],
)
def test_a_condition_matches(condition: str, payload: dict[str, Any], expected: bool) -> None:
    assert matches(condition, **payload) is expected


@pytest.mark.parametrize(
    ("glob", "expected"),
    [("versionChange", True), ("version_*", True), ("VERSION_EDITED", True), ("feedback", False)],
)
def test_the_type_is_matched_as_it_came_and_by_the_bridges_name(glob: str, expected: bool) -> None:
    came = Event("versionChange", {"type": "version_edited", "action": "版本变动"}, 0.0)
    found = targets_of(came, rules(f'[[route]]\ntype = "{glob}"\nbots = "dev"\n'))
    assert found == ([("dev", (), "")] if expected else DEFAULT)


def test_an_undecodable_body_can_be_routed_by_its_type() -> None:
    text = '[[route]]\ntype = "undecodable"\nbots = "ops"\n'
    broken = Event("undecodable", {"begins": "x", "bytes": 1}, 0.0, b"x", "garbage")
    assert targets_of(broken, rules(text)) == [("ops", (), "")]
    assert targets_of(event(), rules(text)) == DEFAULT


def test_the_first_match_wins() -> None:
    text = """
        [[route]]
        type = "crashlog"
        bots = "dev"
        [[route]]
        app = "OooPlay"
        bots = "ops"
        [[route]]
        bots = "qa"
    """
    assert names(text, type_="crashlog") == ["dev"]
    assert names(text, type_="feedback") == ["ops"]
    assert names(text, type_="feedback", title="QQ") == ["qa"]


CONTINUED = """
    [[route]]
    type = "crashlog"
    bots = ["dev", "ops"]
    mention = ["wang", "li"]
    continue = true
    [[route]]
    device = "ios"
    bots = "qa"
    template = "ios"
    continue = true
    [[route]]
    app = "OooPlay"
    bots = ["ops", "qa"]
    mention = ["li", "@all"]
    template = "short"
    [[route]]
    bots = "default"
"""


def test_a_rule_that_continues_goes_on_to_the_rules_below() -> None:
    assert names(CONTINUED, type_="crashlog", device_type="iOS") == ["dev", "ops", "qa"]
    assert names(CONTINUED, type_="crashlog", title="QQ") == ["dev", "ops", "default"]
    assert names(CONTINUED, title="QQ") == ["default"]
    assert names(CONTINUED) == ["ops", "qa"]


def test_a_bot_that_several_rules_name_is_one_target_with_the_mentions_of_all() -> None:
    assert sent(CONTINUED, type_="crashlog", device_type="iOS") == [
        ("dev", ("wang", "li"), ""),
        ("ops", ("wang", "li", "@all"), "short"),
        ("qa", ("li", "@all"), "ios"),
    ]


def test_a_last_rule_that_continues_does_not_add_the_default_bot() -> None:
    assert names('[[route]]\nbots = "dev"\ncontinue = true\n') == ["dev"]


def test_continue_false_is_no_continue() -> None:
    assert names('[[route]]\nbots = "dev"\ncontinue = false\n[[route]]\nbots = "qa"\n') == ["dev"]


def test_no_bots_mute() -> None:
    text = '[[route]]\ntype = "feedback"\nbots = []\n[[route]]\nbots = "dev"\n'
    assert sent(text, type_="feedback") == []
    assert names(text) == ["dev"]


def test_a_muting_rule_that_continues_mutes_nothing_below() -> None:
    text = '[[route]]\nbots = []\nmention = "li"\ncontinue = true\n[[route]]\nbots = "dev"\n'
    assert sent(text) == [("dev", (), "")]


def test_a_bot_twice_in_a_rule_is_one_target() -> None:
    assert names('[[route]]\nbots = ["dev", "Dev", "qa", "dev"]\n') == ["dev", "qa"]


@pytest.mark.parametrize("given", ['"DEV"', '["Dev"]', '" dev "'])
def test_a_bots_name_may_be_written_in_any_case(given: str) -> None:
    assert names(f"[[route]]\nbots = {given}\n") == ["dev"]


# --- bots named in the URL ---


def test_bots_in_the_url_replace_those_of_the_rules() -> None:
    assert sent(CONTINUED, ("default", "dev"), type_="crashlog") == [
        ("default", ("wang", "li", "@all"), "short"),
        ("dev", ("wang", "li", "@all"), "short"),
    ]


def test_bots_in_the_url_keep_the_mentions_and_the_template_of_the_rule() -> None:
    assert sent(EXAMPLE, ("qa",), type_="crashlog") == [
        ("qa", ("wangqing", "@all"), "crashlog-short")
    ]


@pytest.mark.parametrize("text", ["", EXAMPLE])
def test_bots_in_the_url_are_sent_to_where_no_rule_matches(text: str) -> None:
    assert sent(text, ("qa", "ops")) == [("qa", (), ""), ("ops", (), "")]


def test_bots_in_the_url_are_sent_what_the_rules_mute() -> None:
    assert sent('[[route]]\nbots = []\nmention = "li"\n', ("qa",)) == [("qa", ("li",), "")]


# --- quiet hours and attachments ---

SHANGHAI = ZoneInfo("Asia/Shanghai")
BERLIN = ZoneInfo("Europe/Berlin")
NIGHT, NOON, LUNCH = (22 * 60, 8 * 60), (12 * 60, 13 * 60 + 30), (12 * 60 + 30, 13 * 60 + 45)


def at(text: str, zone: ZoneInfo = SHANGHAI) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


@pytest.mark.parametrize(
    ("quiet", "now", "end"),
    [
        (NIGHT, "2026-11-24 21:59:59", None),
        (NIGHT, "2026-11-24 22:00:00", "2026-11-25 08:00"),
        (NIGHT, "2026-11-24 23:59:59", "2026-11-25 08:00"),
        (NIGHT, "2026-11-25 00:00:00", "2026-11-25 08:00"),
        (NIGHT, "2026-11-25 07:59:59", "2026-11-25 08:00"),
        (NIGHT, "2026-11-25 08:00:00", None),
        (NIGHT, "2026-12-31 23:00:00", "2027-01-01 08:00"),
        (NOON, "2026-11-24 11:59:59", None),
        (NOON, "2026-11-24 12:00:00", "2026-11-24 13:30"),
        (NOON, "2026-11-24 13:30:00", None),
        (LUNCH, "2026-11-24 12:29:59", None),
        (LUNCH, "2026-11-24 12:30:00", "2026-11-24 13:45"),
        (LUNCH, "2026-11-24 13:45:00", None),
        (None, "2026-11-24 12:00:00", None),
    ],
)
def test_quiet_hours_delay_until_their_end_also_across_midnight(
    quiet: tuple[int, int] | None, now: str, end: str | None
) -> None:
    assert quiet_end(quiet, at(now), SHANGHAI) == (at(end) if end else 0.0)


def test_quiet_hours_are_those_of_the_bridge_s_time_zone() -> None:
    now = at("2026-11-24 22:30", SHANGHAI)
    assert quiet_end(NIGHT, now, BERLIN) == 0.0
    summer = at("2026-10-24 23:00", BERLIN)  # the clocks go back that night
    assert quiet_end(NIGHT, summer, BERLIN) == at("2026-10-25 08:00", BERLIN)


def one_target(text: str, now: float, bots: tuple[str, ...] = (), **payload: Any) -> Target:
    made = Event(str(payload.get("type", "")), payload, now)
    [target] = route(made, rules(text), SHANGHAI, bots).targets
    return target


def test_a_rule_with_quiet_hours_delays_and_one_without_to_the_same_bot_does_not() -> None:
    now = at("2026-11-24 23:00")
    quiet = "[[route]]\nquiet = '22:00-8:00'\n"
    assert one_target(quiet, now).not_before == at("2026-11-25 08:00")
    assert one_target(quiet, now, ("dev",)).not_before == at("2026-11-25 08:00")
    assert one_target(quiet + "continue = true\n[[route]]\n", now).not_before == 0.0
    first = "[[route]]\ncontinue = true\n"
    assert one_target(first + quiet, now).not_before == 0.0
    assert one_target(quiet, at("2026-11-24 12:00")).not_before == 0.0


def test_a_crash_has_its_log_attached_unless_the_rule_says_otherwise() -> None:
    assert one_target("", 0.0, type="crashlog").attach == ("log",)
    assert one_target("", 0.0, type="feedback").attach == ()
    assert one_target("[[route]]\nattach = []", 0.0, type="crashlog").attach == ()
    both = "[[route]]\nattach = ['qrcode', 'log']"
    assert one_target(both, 0.0, type="feedback").attach == ("qrcode", "log")
