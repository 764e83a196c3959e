"""The type of an event, by `type` and else by `action`, in every spelling that is known."""

from typing import Any

import pytest
from bodies import decode_one, dumps

from bridge.receiving.event_types import KNOWN_TYPES, event_type


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
