"""The rules in plain words, and why an event goes where it goes."""

from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from bridge.model import Event, Route, Target
from bridge.receiving.explain import (
    Result,
    check_rules,
    checked_text,
    default_text,
    rule_text,
    target_text,
)
from bridge.receiving.routing import parse
from bridge.wording import speaking

ZONE = ZoneInfo("Asia/Shanghai")
RULES = """
[[route]]
type = ["crashlog", "feedback"]
app = "商城*"
bots = ["dev"]
mention = ["wangqing", "@all"]
quiet = "22:00-8:05"
[[route]]
type = "新版本"
device = ["iOS", "Android"]
bots = ["default", "dev"]
template = "short"
attach = ["qrcode", "log"]
continue = true
[[route]]
version = "*preview*"
action = "应用更新"
attach = []
bots = []
[[route]]
"""


def rules(text: str = RULES) -> list[Route]:
    routes, problems = parse(text, "routes.toml", {"default", "dev"})
    assert problems == []
    return routes


@pytest.fixture(autouse=True)
def _in_chinese() -> Iterator[None]:
    with speaking("zh"):
        yield


def test_a_rule_is_a_sentence_in_chinese() -> None:
    assert [rule_text(rule) for rule in rules()] == [
        "第 1 条：类型为 崩溃日志 或 用户反馈、应用名匹配 商城* → dev，"
        "提醒 @wangqing @所有人，22:00-08:05 暂缓",
        "第 2 条：类型为 新版本、平台为 iOS 或 Android → default、dev，"
        "模板 short，附二维码，截断时附完整文件，再看后面的规则",
        "第 3 条：版本匹配 *preview*、action 字段为 应用更新 → 不发送，不附文件",
        "第 4 条：所有通知 → default",
    ]
    assert default_text(rules()) == "都不匹配 → default"
    assert default_text([]) == "没有路由规则：所有通知 → default"


def test_a_rule_is_a_sentence_in_english() -> None:
    with speaking("en"):
        sentences = [rule_text(rule) for rule in rules()]
        otherwise = default_text(rules())
    assert sentences == [
        "Rule 1: type is crash log or feedback and app name matches 商城* → dev, "
        "mentions @wangqing @all, delayed 22:00-08:05",
        "Rule 2: type is new version or 新版本 and platform is iOS or Android → default and dev, "
        "template short, with the QR code, the whole notes as a file if cut, then the rules below",
        "Rule 3: version matches *preview* and action is 应用更新 → not sent, without attachments",
        "Rule 4: every event → default",
    ]
    assert otherwise == "None of them matches → default"


def test_each_rule_says_what_became_of_it_and_which_conditions_failed() -> None:
    payload = {"type": "updateVersion", "title": "OooPlay\n\t2", "os_version": "9.preview"}
    event = Event("updateVersion", {**payload, "device_type": "iOS"}, 0.0)
    checked = check_rules(event, rules())
    assert [(one.rule.rule, one.result, list(one.failed)) for one in checked] == [
        (1, Result.FAILED, ["type", "app"]),
        (2, Result.MATCHED, []),
        (3, Result.FAILED, ["action"]),
        (4, Result.MATCHED, []),
    ]
    assert [checked_text(event, one) for one in checked] == [
        "✗ 第 1 条：类型是“新版本”，不是 崩溃日志 或 用户反馈；应用名是“OooPlay 2”，不匹配 商城*",
        "✓ 第 2 条：匹配，再看后面的规则",
        "✗ 第 3 条：action 字段为空",
        "✓ 第 4 条：匹配",
    ]


def test_after_the_rule_that_decides_none_is_looked_at() -> None:
    event = Event("crashlog", {"title": "商城"}, 0.0)
    checked = check_rules(event, rules())
    assert [one.result for one in checked] == [Result.MATCHED, *[Result.NOT_REACHED] * 3]
    assert checked_text(event, checked[1]) == "– 第 2 条：前面已有规则生效，不再看"


def test_a_long_value_is_cut() -> None:
    event = Event("crashlog", {"title": "x" * 5000}, 0.0)
    [one] = check_rules(event, rules('[[route]]\napp = "商城"\n'))
    assert checked_text(event, one) == f"✗ 第 1 条：应用名是“{'x' * 80}”，不是 商城"


def test_a_target_says_whom_it_mentions_and_until_when_it_is_delayed() -> None:
    until = datetime(2026, 3, 11, 8, 0, tzinfo=ZONE).timestamp()
    assert target_text(Target("dev"), ZONE) == "dev"
    target = Target("dev", ("13800138000",), "short", ("qrcode",), until)
    assert target_text(target, ZONE) == (
        "dev，提醒 @13800138000，模板 short，附二维码，暂缓到 03-11 08:00"
    )
