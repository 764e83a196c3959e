"""What routes.toml says is read rule by rule; every mistake in it is named with file and line."""

from datetime import UTC

import pytest

from bridge.model import Event, Route
from bridge.receiving.event_types import KNOWN_TYPES, UNDECODABLE, event_type
from bridge.receiving.routing import parse, route

BOTS = ("default", "dev", "ops", "qa")


def rules(text: str) -> list[Route]:
    routes, problems = parse(text, "routes.toml", BOTS)
    assert problems == []
    return routes


def problems(text: str) -> list[str]:
    return parse(text, "routes.toml", BOTS)[1]


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
    ("given", "mention"),
    [
        ('"13800138000"', ["13800138000"]),
        ("13800138000", ["13800138000"]),
        ("[13800138000, 10086]", ["13800138000", "10086"]),
        ('"+86 138-0013-8000"', ["13800138000"]),
        ('"+8613800138000"', ["13800138000"]),
        ('"86 13800138000"', ["13800138000"]),
        ('"0086-13800138000"', ["13800138000"]),
        ('"(+86) 138 0013 8000"', ["13800138000"]),
        ('"138 0013 8000"', ["13800138000"]),
        ('"138.0013.8000"', ["13800138000"]),
        ('"１３８００１３８０００"', ["13800138000"]),
        ('"@13800138000"', ["13800138000"]),
        ('"13800138000 13900139000"', ["13800138000", "13900139000"]),
        ('"138 0013 8000, 139 0013 9000"', ["13800138000", "13900139000"]),
        ('"@wangqing"', ["wangqing"]),
        ('"＠wangqing"', ["wangqing"]),
        ('"<@wangqing>"', ["wangqing"]),
        ('"<@wangqing><@lisi>"', ["wangqing", "lisi"]),
        ('"<@wangqing> <@lisi>"', ["wangqing", "lisi"]),
        ('"@wangqing @lisi"', ["wangqing", "lisi"]),
        ('"wangqing,lisi"', ["wangqing", "lisi"]),
        ('" wangqing , lisi , "', ["wangqing", "lisi"]),
        ('"wangqing，lisi、zhaoliu；qianqi"', ["wangqing", "lisi", "zhaoliu", "qianqi"]),
        ('"""wangqing\nlisi"""', ["wangqing", "lisi"]),
        ('["li", "@li", "<@li>"]', ["li"]),
        ('"wang.qing-2@corp.com"', ["wang.qing-2@corp.com"]),
        ('"all"', ["@all"]),
        ('"ALL"', ["@all"]),
        ('"@ALL"', ["@all"]),
        ('"<@all>"', ["@all"]),
        ('"@所有人"', ["@all"]),
        ('"所有人"', ["@all"]),
        ('["@all", "all", "@全体成员"]', ["@all"]),
        ('"alli"', ["alli"]),
    ],
)
def test_a_mention_is_put_right(given: str, mention: list[str]) -> None:
    [route] = rules(f"[[route]]\nmention = {given}\n")
    assert list(route.mention) == mention


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("王清", "write a userid"),
        ("@王清", "write a userid"),
        ("wangqing（王清）", "write a userid"),
        ("li,王清", "write a userid"),
        ("+1 415 555 2671", "has a blank"),
        ("+85291234567", "write a userid"),
        ("+86 1380013800", "has a blank"),
        ("+861380013800", "write a userid"),
        ("-li", "write a userid"),
        ("li/wang", "write a userid"),
        ("li?", "write a userid"),
        ("@@li", "write a userid"),
        ("@li@wang", "write a userid"),
        ("https://a.example/li", "write a userid"),
        ("a" * 65, "write a userid"),
        ("wang qing", "has a blank in it: write each userid in quotes of its own"),
        ("13800138000 wang", "has a blank"),
        ("138 0013 800", "has a blank"),
        ("@", "write a userid"),
        ("<@>", "names nobody"),
        (",", "names nobody"),
    ],
)
def test_a_mention_that_calls_nobody_is_refused(given: str, hint: str) -> None:
    [problem] = problems(f'[[route]]\nmention = ["lisi", "{given}"]\n')
    assert problem.startswith(f"routes.toml:1 (rule 1): mention {given!r} ")
    assert hint in problem


@pytest.mark.parametrize(
    ("given", "type_"),
    [
        ("新版本", "updateVersion"),
        ("更新", "updateVersion"),
        ("应用更新", "updateVersion"),
        ("應用更新", "updateVersion"),
        ("update_version", "updateVersion"),
        ("反馈", "feedback"),
        ("用户反馈", "feedback"),
        ("崩溃", "crashlog"),
        ("崩潰", "crashlog"),
        ("崩溃日志", "crashlog"),
        ("闪退", "crashlog"),
        ("Crash Log", "crashlog"),
        ("crash", "crashlog"),
        ("版本变动", "versionChange"),
        ("设置变动", "appSettings"),
        ("App 设置变动", "appSettings"),
        ("应用设置变动", "appSettings"),
        ("应用已迁移", "transferApp"),
        ("迁移", "transferApp"),
        ("应用已删除", "deleteApp"),
        ("删除", "deleteApp"),
        ("无法识别", "undecodable"),
        ("无法识别的通知", "undecodable"),
        ("崩溃*", "crashlog"),
        ("*迁移*", "transferApp"),
    ],
)
def test_a_type_may_have_another_name(given: str, type_: str) -> None:
    text = f'[[route]]\ntype = "{given}"\nbots = "dev"\n'
    for kind in (*KNOWN_TYPES, UNDECODABLE, "buildFinished"):
        found = route(Event(kind, {"type": kind}, 0.0), rules(text), UTC).targets
        assert [target.bot for target in found] == ["dev" if kind == type_ else "default"]
    payload = {"type": given}
    own = route(Event(event_type(payload), payload, 0.0), rules(text), UTC).targets
    assert [target.bot for target in own] == ["dev"]


@pytest.mark.parametrize(
    "given", ["buildFinished", "version_edited", "test", "a-b", "新包*", "打包完成*"]
)
def test_a_type_of_an_own_sender_is_taken(given: str) -> None:
    [route] = rules(f'[[route]]\ntype = "{given}"\n')
    assert route.conditions == {"type": (given,)}


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("crashlogs", "did you mean 'crashlog'? (one of your own senders': 'crashlogs*')"),
        ("feedbak", "did you mean 'feedback'?"),
        ("updateVersions", "did you mean 'updateVersion'?"),
        ("vesionChange", "did you mean 'versionChange'?"),
        ("undecodeable", "did you mean 'undecodable'?"),
        ("新包", "updateVersion, feedback, crashlog, versionChange, appSettings"),
        ("打包完成", "(one of your own senders': '打包完成*')"),
        ("---", "is no type of Pgyer's"),
        ("digest", "without `type` a rule matches all"),
        ("default", "without `type` a rule matches all"),
        ("botStopped", "is no event's type"),
        ("expired", "is no event's type"),
    ],
)
def test_a_type_that_nothing_can_have_is_refused(given: str, hint: str) -> None:
    [problem] = problems(f'[[route]]\ntype = ["feedback", "{given}"]\n')
    assert problem.startswith(f"routes.toml:1 (rule 1): type {given!r} ")
    assert hint in problem


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
        ("mention = 1.5", "mention must be a text or a list of texts, not 1.5"),
        ("mention = [true]", "mention must be a text or a list of texts"),
        ('mention = ["li", ""]', "mention must be a text or a list of texts"),
        ('continue = "yes"', "continue must be true or false, not 'yes'"),
        ("continue = 1", "continue must be true or false, not 1"),
        ('template = ["a"]', "template must be a text, not ['a']"),
        ("template = 5", "template must be a text, not 5"),
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


def test_without_a_line_to_name_it_names_the_rule() -> None:
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
        ('bots = "dev"\n', "unknown key 'bots': write each rule under [[route]]"),
        ("[[routes]]\n", "unknown key 'routes': write each rule under [[route]]"),
    ],
)
def test_each_rule_is_written_under_route_in_two_brackets(text: str, hint: str) -> None:
    [problem] = problems(text)
    assert problem.startswith("routes.toml: ")
    assert hint in problem


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("bots = 'ab'", "unknown bot 'ab' (there are: default, dev, ops, qa)"),
        ("template = 5", "template must be a text, not 5"),
        ("template = '/'", "template must be a name such as crashlog-short, not '/'"),
        ("attach = 'x'", "attach knows qrcode and log, not 'x'"),
        ("attach = ['pdf']", "attach knows qrcode and log, not 'pdf'"),
        ("attach = 1", "attach must be a text or a list of texts, not 1"),
        ("quiet = 7", "quiet must be a text, not 7"),
        ("quiet = 'x'", "quiet must be two times such as 22:00-08:00, not 'x'"),
        ("quiet = ''", "quiet must be two times such as 22:00-08:00, not ''"),
        (
            "quiet = '8:00-8:00'",
            "quiet begins when it ends: to mute for good, write bots = []",
        ),
        ("continue = 1", "continue must be true or false, not 1"),
        ("app = 7", "app must be a text or a list of texts, not 7"),
    ],
)
def test_a_problem_says_what_to_write_instead(line: str, said: str) -> None:
    assert f"routes.toml:1 (rule 1): {said}" in problems(f"[[route]]\n{line}\n")


@pytest.mark.parametrize(
    ("given", "quiet"),
    [
        ("22:00-08:00", (1320, 480)),
        ("0:00-23:59", (0, 1439)),
        (" 09:05 - 19:50 ", (545, 1190)),
        ("20:10-3:01", (1210, 181)),
    ],
)
def test_quiet_hours_are_written_as_two_times_of_the_day(
    given: str, quiet: tuple[int, int]
) -> None:
    [route] = rules(f"[[route]]\nquiet = '{given}'\n")
    assert route.quiet == quiet


@pytest.mark.parametrize(
    "given",
    ["24:00-8:00", "30:00-8:00", "22:60-8:00", "22:0-8:00", "22-8:00", "022:00-8:00", "22:00-8:00x",
     "22:000-8:00", ":00-8:00", "22:00", "22:00-8:00-9:00", "22:00~8:00", "22-8"],
)  # fmt: skip
def test_quiet_hours_that_are_no_two_times_are_a_problem(given: str) -> None:
    said = f"quiet must be two times such as 22:00-08:00, not {given!r}"
    assert problems(f"[[route]]\nquiet = '{given}'\n") == [f"routes.toml:1 (rule 1): {said}"]


@pytest.mark.parametrize(("text", "line"), [("[[route]\n", "12"), ("a = '", "…")])
def test_a_file_that_is_no_toml_is_named_with_the_line(text: str, line: str) -> None:
    [problem] = problems("\n" * 11 + text)
    assert problem.startswith(f"routes.toml: line {line} is no valid TOML (Expected ")
