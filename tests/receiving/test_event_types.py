"""The type of an event, by `type` and else by `action`, in every spelling that is known."""

from typing import Any

import pytest
from bodies import decode_one, dumps

from bridge.receiving.event_types import KNOWN_TYPES, event_type, read_type


@pytest.mark.parametrize(
    ("name", "actions"),
    [
        ("updateVersion", "应用更新|應用更新|App update|APP UPDATE|app-update| 应用 更新 "),
        ("feedback", "应用反馈|應用反饋|App feedback|Feedback|FEEDBACK|app_feedback"),
        ("crashlog", "Crash log|crash log|CrashLog|crash_log|崩溃日志|崩潰日誌"),
        ("versionChange", "版本变动|版本變動|Version management|version change|VERSION MANAGEMENT"),
        (
            "appSettings",
            "App 设置变动|App 設置變動|App设置变动|app 设置变动|App settings|AppSettings",
        ),
        ("transferApp", "迁移应用|遷移應用|App migration|app  Migration"),
        ("deleteApp", "删除应用|刪除應用|App deletion|App Deletion|delete app"),
    ],
)
def test_the_action_names_the_event_where_the_type_does_not(name: str, actions: str) -> None:
    for action in actions.split("|"):
        for given_type in ("", "null", "app_something", "未知"):
            assert event_type({"type": given_type, "action": action}) == name, action
        assert event_type({"action": action}) == name, action


@pytest.mark.parametrize("name", KNOWN_TYPES)
def test_a_known_type_names_the_event_whatever_the_action(name: str) -> None:
    for given_type in (name, name.upper(), f" {name} ", name.lower()):
        assert event_type({"type": given_type, "action": "应用更新"}) == name
        assert event_type({"type": given_type, "action": "别的"}) == name
        assert event_type({"type": given_type}) == name


def test_the_known_events_are_the_seven_of_the_contract() -> None:
    names = "updateVersion feedback crashlog versionChange appSettings transferApp deleteApp"
    assert sorted(KNOWN_TYPES) == sorted(names.split())


@pytest.mark.parametrize(
    ("payload", "name"),
    [
        ({"type": "buildFinished", "action": "打包完成"}, "buildFinished"),
        ({"type": " 新 类型 "}, "新 类型"),
        ({"type": "a/b_C"}, "a/b_C"),
        ({"type": 7}, "7"),
        ({"type": None, "action": None}, ""),
        ({"type": "undefined"}, ""),
        ({"type": "---"}, "---"),
        ({}, ""),
    ],
)
def test_an_unknown_type_stays_as_it_came(payload: dict[str, Any], name: str) -> None:
    assert decode_one(dumps(payload).encode()).type == name


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("updateVersion", "应用更新|版本更新|app update|application update|new version"),
        ("feedback", "应用反馈|用户反馈|app feedback|application feedback|user feedback"),
        ("crashlog", "crash|崩溃日志|应用崩溃|闪退日志|crash 日志|app crash"),
        ("versionChange", "版本变动|版本变更|版本管理|version management|version changed"),
        ("appSettings", "app设置变动|应用设置变动|设置变动|app设置变更|app setting"),
        ("appSettings", "app settings change|app settings changed|application settings"),
        ("transferApp", "迁移应用|应用迁移|app migration|migrate app|migration app|app transfer"),
        ("transferApp", "application migration"),
        ("deleteApp", "删除应用|应用删除|app deletion|app delete|app deleted"),
        ("deleteApp", "application deletion"),
    ],
)
def test_every_known_spelling_names_the_type_in_an_event_and_in_a_route(
    name: str, words: str
) -> None:
    for word in words.split("|"):
        assert event_type({"type": word}) == name, word
        assert event_type({"action": word}) == name, word
        assert read_type(word) == [name, word], word


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("updateVersion", "新版本|新版|更新|update"),
        ("feedback", "反馈|意见反馈"),
        ("crashlog", "崩溃|闪退|crashes|crash report"),
        ("versionChange", "版本修改|版本编辑"),
        ("appSettings", "设置|应用设置|app 设置|settings"),
        ("transferApp", "迁移|转移|应用转移|应用已迁移|transfer|migration"),
        ("deleteApp", "删除|应用已删除|delete"),
        ("undecodable", "无法解析|无法解码|无法识别|无法识别的通知"),
    ],
)
def test_a_route_may_name_a_type_in_words_that_decide_no_event(name: str, words: str) -> None:
    for word in words.split("|"):
        assert read_type(word) == [name, word], word
        assert event_type({"action": word}) == "", word


@pytest.mark.parametrize("name", [*KNOWN_TYPES, "undecodable"])
def test_a_route_s_type_in_any_case_is_the_type(name: str) -> None:
    assert read_type(name) == read_type(name.upper()) == [name]


def test_a_route_s_glob_of_chinese_names_stands_for_the_types_that_they_name() -> None:
    assert read_type("崩溃*") == ["崩溃*", "crashlog"]
    assert read_type("*设置*") == ["*设置*", "appSettings"]
    assert read_type("崩溃日?") == ["崩溃日?", "crashlog"]
    assert read_type("[崩x]溃日志") == ["[崩x]溃日志", "crashlog"]
    assert read_type("app*") == ["app*"]  # of types themselves


@pytest.mark.parametrize(
    ("word", "problem"),
    [
        ("digest", "is no event's type: without `type` a rule matches all of them"),
        (
            "crashlogs",
            "is no type of Pgyer's: did you mean 'crashlog'? (one of your own senders': "
            "'crashlogs*')",
        ),
        (
            "打包",
            "is no type of Pgyer's, which are updateVersion, feedback, crashlog, versionChange, "
            "appSettings, transferApp, deleteApp (one of your own senders': '打包*')",
        ),
    ],
)
def test_a_type_that_can_only_be_a_mistake_is_refused_with_a_hint(word: str, problem: str) -> None:
    with pytest.raises(ValueError, match="is no") as refused:
        read_type(word)
    assert str(refused.value) == problem
