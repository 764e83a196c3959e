"""routes.toml decides which bots hear of an event, and how; what is wrong in it is named."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from bridge.model import Event, Route, Target
from bridge.receiving.routing import parse, quiet_end, targets

BOTS = ("default", "dev", "ops", "qa")
DEFAULT = [("default", (), "")]


def event(type_: str = "updateVersion", **payload: Any) -> Event:
    return Event(type_, {"type": type_, "title": "OooPlay", **payload}, 0.0)


def rules(text: str) -> list[Route]:
    routes, problems = parse(text, "routes.toml", BOTS)
    assert problems == []
    return routes


def told_of(
    event: Event, routes: list[Route], bots: tuple[str, ...] = ()
) -> list[tuple[str, tuple[str, ...], str]]:
    """Return each target's bot, mentions and template; the rest of it is no concern here."""
    found = targets(event, routes, UTC, bots)
    return [(target.bot, target.mention, target.template) for target in found]


def told(
    text: str, bots: tuple[str, ...] = (), **payload: Any
) -> list[tuple[str, tuple[str, ...], str]]:
    return told_of(event(payload.pop("type_", "updateVersion"), **payload), rules(text), bots)


def names(text: str, bots: tuple[str, ...] = (), **payload: Any) -> list[str]:
    return [bot for bot, _, _ in told(text, bots, **payload)]


def matches(condition: str, **payload: Any) -> bool:
    """Whether a rule of this one condition applies; any other event goes to `default`."""
    found = names(f'[[route]]\n{condition}\nbots = "dev"\n', **payload)
    assert found in (["dev"], ["default"])
    return found == ["dev"]


def problems(text: str) -> list[str]:
    return parse(text, "routes.toml", BOTS)[1]


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
    assert told(EXAMPLE, type_="crashlog") == [("dev", ("wangqing", "@all"), "crashlog-short")]
    assert told(EXAMPLE, type_="feedback") == DEFAULT


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "route = []\n", "\r\n"])
def test_without_rules_the_default_bot_hears_all(text: str) -> None:
    assert rules(text) == []
    assert told(text) == DEFAULT


def test_a_rule_without_conditions_matches_everything() -> None:
    for type_ in ("updateVersion", "crashlog", "未知", ""):
        assert names('[[route]]\nbots = "dev"\n', type_=type_) == ["dev"]


def test_a_rule_without_bots_tells_the_default_one() -> None:
    assert told('[[route]]\nmention = "li"\ntemplate = "x"\n') == [("default", ("li",), "x")]


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
    found = told_of(came, rules(f'[[route]]\ntype = "{glob}"\nbots = "dev"\n'))
    assert found == ([("dev", (), "")] if expected else DEFAULT)


def test_an_undecodable_body_can_be_routed_by_its_type() -> None:
    text = '[[route]]\ntype = "undecodable"\nbots = "ops"\n'
    broken = Event("undecodable", {"begins": "x", "bytes": 1}, 0.0, b"x", "garbage")
    assert told_of(broken, rules(text)) == [("ops", (), "")]
    assert told_of(event(), rules(text)) == DEFAULT


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


def test_a_bot_that_several_rules_name_is_told_once_with_the_mentions_of_all() -> None:
    assert told(CONTINUED, type_="crashlog", device_type="iOS") == [
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
    assert told(text, type_="feedback") == []
    assert names(text) == ["dev"]


def test_a_muting_rule_that_continues_mutes_nothing_below() -> None:
    text = '[[route]]\nbots = []\nmention = "li"\ncontinue = true\n[[route]]\nbots = "dev"\n'
    assert told(text) == [("dev", (), "")]


def test_a_bot_twice_in_a_rule_is_told_once() -> None:
    assert names('[[route]]\nbots = ["dev", "Dev", "qa", "dev"]\n') == ["dev", "qa"]


@pytest.mark.parametrize("given", ['"DEV"', '["Dev"]', '" dev "'])
def test_a_bots_name_may_be_written_in_any_case(given: str) -> None:
    assert names(f"[[route]]\nbots = {given}\n") == ["dev"]


# --- bots named in the URL ---


def test_bots_in_the_url_stand_in_for_those_of_the_rules() -> None:
    assert told(CONTINUED, ("default", "dev"), type_="crashlog") == [
        ("default", ("wang", "li", "@all"), "short"),
        ("dev", ("wang", "li", "@all"), "short"),
    ]


def test_bots_in_the_url_keep_the_mentions_and_the_template_of_the_rule() -> None:
    assert told(EXAMPLE, ("qa",), type_="crashlog") == [
        ("qa", ("wangqing", "@all"), "crashlog-short")
    ]


@pytest.mark.parametrize("text", ["", EXAMPLE])
def test_bots_in_the_url_are_told_where_no_rule_matches(text: str) -> None:
    assert told(text, ("qa", "ops")) == [("qa", (), ""), ("ops", (), "")]


def test_bots_in_the_url_are_told_what_the_rules_mute() -> None:
    assert told('[[route]]\nbots = []\nmention = "li"\n', ("qa",)) == [("qa", ("li",), "")]


# --- how ---


@pytest.mark.parametrize(
    ("line", "mention"),
    [
        ('mention = "li"', ("li",)),
        ('mention = ["li", " @all ", "13800138000"]', ("li", "@all", "13800138000")),
        ("mention = []", ()),
        ("", ()),
    ],
)
def test_mention_is_a_text_or_a_list(line: str, mention: tuple[str, ...]) -> None:
    [route] = rules(f"[[route]]\n{line}\n")
    assert route.mention == mention


@pytest.mark.parametrize(
    ("given", "template"),
    [
        ("crash_short-2", "crash_short-2"),
        ("crash.text.j2", "crash.text"),
        ("崩溃", "崩溃"),
        ("", ""),
    ],
)
def test_template_is_a_name(given: str, template: str) -> None:
    [route] = rules(f'[[route]]\ntemplate = "{given}"\n')
    assert route.template == template


def test_rules_are_numbered_from_one() -> None:
    assert [route.rule for route in rules("[[route]]\n[[route]]\n[[route]]\n")] == [1, 2, 3]


# --- what is wrong ---


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ('bots = "nobody"', "unknown bot 'nobody' (there are: default, dev, ops, qa)"),
        ('bots = ["dev", "opps"]', "unknown bot 'opps', did you mean 'ops'?"),
        ("bots = 1", "bots must be a text or a list of texts, not 1"),
        ("bots = [1]", "bots must be a text or a list of texts, not [1]"),
        ('bots = ""', "bots must be a text or a list of texts"),
        ('bots = ["dev", " "]', "bots must be a text or a list of texts"),
        ("bots = true", "bots must be a text or a list of texts"),
        ('typ = "crashlog"', "unknown key 'typ', did you mean 'type'?"),
        ('mentions = "li"', "unknown key 'mentions', did you mean 'mention'?"),
        ('bot = "dev"', "unknown key 'bot', did you mean 'bots'?"),
        ('Type = "crashlog"', "unknown key 'Type', did you mean 'type'?"),
        ('os_version = "4"', "unknown key 'os_version'"),
        ("xyzzy = 1", "unknown key 'xyzzy'"),
        ("type = []", "type must be a text or a list of texts, not []"),
        ('type = ""', "type must be a text or a list of texts"),
        ('app = ["QQ", 7]', "app must be a text or a list of texts"),
        ("version = 2.4", "version must be a text or a list of texts, not 2.4"),
        ('device = { a = "b" }', "device must be a text or a list of texts"),
        ("action = 2026-01-01", "action must be a text or a list of texts"),
        ("mention = 13800138000", "mention must be a text or a list of texts"),
        ('mention = ["li", ""]', "mention must be a text or a list of texts"),
        ('continue = "yes"', "continue must be true or false, not 'yes'"),
        ("continue = 1", "continue must be true or false, not 1"),
        ('template = ["a"]', "template must be text, not ['a']"),
        ("template = 5", "template must be text, not 5"),
        ('template = "../etc/passwd"', "template must be a name such as"),
        ('template = "a b"', "template must be a name such as"),
    ],
)
def test_it_names_file_line_and_rule_of_what_is_wrong(line: str, hint: str) -> None:
    text = f'# routes\n[[route]]\nbots = "dev"\n\n [[ route ]]  # the second\n{line}\n'
    [problem] = problems(text)
    assert problem.startswith("routes.toml:5 (rule 2): ")
    assert hint in problem


def test_it_names_every_problem_of_every_rule() -> None:
    found = problems(
        '[[route]]\nbots = ["a1", "b2"]\ncontinue = 0\n'
        '[[route]]\nbots = "dev"\n'
        "[[route]]\ntype = 3\nfoo = 1\n[other]\n"
    )
    where = [problem.split(": ")[0] for problem in found]
    assert sorted(where) == [
        "routes.toml",
        *["routes.toml:1 (rule 1)"] * 3,
        *["routes.toml:6 (rule 3)"] * 2,
    ]


def test_lines_are_right_in_a_file_from_windows() -> None:
    [problem] = problems('# one\r\n\r\n[[route]]\r\nbots = "x"\r\n')
    assert problem.startswith("routes.toml:3 (rule 1): ")


def test_where_it_cannot_tell_the_line_it_names_the_rule() -> None:
    [problem] = problems('route = [{ bots = "dev" }, { bots = "x" }]\n')
    assert problem.startswith("routes.toml (rule 2): ")


def test_a_broken_file_is_named_with_the_line() -> None:
    [problem] = problems('[[route]]\nbots = "dev"\ntype = crashlog\n')
    assert problem.startswith("routes.toml: ")
    assert "line 3" in problem


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ('[route]\nbots = "dev"\n', "under [[route]], with two brackets"),
        ("route = 5\n", "under [[route]], with two brackets"),
        ("route = [1]\n", "under [[route]], with two brackets"),
        ('bots = "dev"\n', "unknown key 'bots': rules stand under [[route]]"),
        ("[[routes]]\n", "unknown key 'routes': rules stand under [[route]]"),
    ],
)
def test_rules_stand_under_route_in_two_brackets(text: str, hint: str) -> None:
    [problem] = problems(text)
    assert problem.startswith("routes.toml: ")
    assert hint in problem


# Quiet hours and attachments

SHANGHAI = ZoneInfo("Asia/Shanghai")
BERLIN = ZoneInfo("Europe/Berlin")
NIGHT, NOON = (22 * 60, 8 * 60), (12 * 60, 13 * 60 + 30)


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
        (None, "2026-11-24 12:00:00", None),
    ],
)
def test_quiet_hours_hold_until_their_end_also_across_midnight(
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
    [target] = targets(made, rules(text), SHANGHAI, bots)
    return target


def test_a_rule_with_quiet_hours_holds_and_one_without_to_the_same_bot_does_not() -> None:
    now = at("2026-11-24 23:00")
    quiet = "[[route]]\nquiet = '22:00-8:00'\n"
    assert one_target(quiet, now).not_before == at("2026-11-25 08:00")
    assert one_target(quiet, now, ("dev",)).not_before == at("2026-11-25 08:00")
    assert one_target(quiet + "continue = true\n[[route]]\n", now).not_before == 0.0
    first = "[[route]]\ncontinue = true\n"
    assert one_target(first + quiet, now).not_before == 0.0
    assert one_target(quiet, at("2026-11-24 12:00")).not_before == 0.0


def test_the_log_goes_along_with_a_crash_unless_the_rule_says_otherwise() -> None:
    assert one_target("", 0.0, type="crashlog").attach == ("log",)
    assert one_target("", 0.0, type="feedback").attach == ()
    assert one_target("[[route]]\nattach = []", 0.0, type="crashlog").attach == ()
    both = "[[route]]\nattach = ['qrcode', 'log']"
    assert one_target(both, 0.0, type="feedback").attach == ("qrcode", "log")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("quiet = '22-8'", "quiet must be two times such as 22:00-08:00, not '22-8'"),
        ("quiet = '24:00-08:00'", "quiet must be two times"),
        ("quiet = '08:00-08:00'", "quiet begins when it ends"),
        ("quiet = 7", "quiet must be a text, not 7"),
        ("attach = ['pdf']", "attach knows qrcode and log, not 'pdf'"),
        ("attach = 1", "attach must be a text or a list of texts, not 1"),
    ],
)
def test_bad_quiet_hours_and_attachments_are_problems(line: str, said: str) -> None:
    _, problems = parse(f"[[route]]\n{line}\n", "routes.toml", ["default"])
    assert any(said in problem for problem in problems), problems
    assert all(problem.startswith("routes.toml:1 (rule 1): ") for problem in problems)
