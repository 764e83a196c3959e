"""The texts for reasons, states and types in both languages."""

import re
from collections.abc import Callable

import pytest

from bridge.delivery.wecom import _POLICY
from bridge.errors import StorageError
from bridge.samples import examples
from bridge.wording import (
    _TABLES,
    STATES,
    TRANSLATIONS,
    TYPES,
    advice,
    carried,
    current,
    gettext,
    meaning,
    speaking,
    state,
    type_name,
)
from bridge.wording import detail as detail_of
from bridge.wording import said as text_of

REASONS = [
    *(reason for _, reason in _POLICY.values()), *_TABLES["reasons"],
    "read_timeout", "connect_timeout", "tls", "proxy", "connection", "not_json", "interrupted",
    "internal_error", "too_old", "done_by_hand",
]  # fmt: skip


def said(text: Callable[[], str]) -> tuple[str, str]:
    """Return a text in Chinese and in English."""
    found = []
    for name in ("zh", "en"):
        with speaking(name):
            found.append(text())
    return found[0], found[1]


def test_a_text_is_in_the_language_of_the_reader() -> None:
    assert said(lambda: state("sent")) == ("已发送", "sent")
    assert said(lambda: gettext("Try again")) == ("重试", "Try again")
    assert said(lambda: gettext("")) == ("", "")


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({}, "zh"),
        ({"LANG": "C"}, "zh"),
        ({"LANG": "C.UTF-8"}, "zh"),
        ({"LANG": "POSIX"}, "zh"),
        ({"LANG": "zh_TW.UTF-8"}, "zh"),
        ({"LANG": "en_US.UTF-8"}, "en"),
        ({"LANG": "en"}, "en"),
        ({"LANG": "fr_FR.UTF-8"}, "en"),
        ({"LANG": "Czech"}, "en"),
        ({"LC_MESSAGES": "en_GB", "LANG": "zh_CN"}, "en"),
        ({"LC_ALL": "zh_CN", "LC_MESSAGES": "en_GB", "LANG": "en_GB"}, "zh"),
        ({"LC_ALL": "", "LC_MESSAGES": "", "LANG": "en_GB"}, "en"),
        ({"LC_ALL": "C", "LANG": "en_GB"}, "zh"),
    ],
)
def test_the_environment_names_the_language(
    variables: dict[str, str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    assert current() == name
    with speaking("zh"), speaking("en"):
        assert current() == "en"
    assert current() == name


def test_an_error_says_its_values_in_the_language() -> None:
    error = StorageError("the disk is full: %(free)s KiB are left", free=3)
    assert str(error) == "the disk is full: 3 KiB are left"
    assert said(lambda: text_of(error)) == ("磁盘已满，只剩 3 KiB", str(error))
    assert said(lambda: text_of(StorageError("50% of x"))) == ("50% of x", "50% of x")


def test_no_text_of_a_table_is_in_both_languages() -> None:
    """One language per line: the Chinese text is Chinese, and the English one has none of it."""
    findings = {code: row for rows in _TABLES["findings"].values() for code, row in rows.items()}
    for tables in (_TABLES["states"], _TABLES["types"], _TABLES["advice"], findings):
        for row in tables.values():
            for zh, en in zip(row[::2], row[1::2], strict=True):
                assert re.search("[一-鿿]", zh) and not re.search("[一-鿿]", en), row


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_has_a_meaning_and_advice_in_both_languages(reason: str) -> None:
    zh_meaning, en_meaning = said(lambda: meaning(reason))
    for zh, en in ((zh_meaning, en_meaning), said(lambda: advice(reason, "dev"))):
        assert zh != en
        assert not zh.isascii() and en.isascii()
        assert "_" not in en_meaning and "{" not in zh + en


def test_reasons_with_a_number_keep_it() -> None:
    assert said(lambda: meaning("errcode_93017")) == (
        "企业微信拒收：未知错误码 93017",
        "WeCom refused it: unknown errcode 93017",
    )
    assert "query?e=93017" in said(lambda: advice("errcode_93017", "dev"))[0]
    assert "502" in said(lambda: meaning("http_502"))[1]
    assert "WECOM_API_URL" in said(lambda: advice("http_502", "dev"))[1]


@pytest.mark.parametrize(
    ("reason", "errcode", "detail", "shown"),
    [("invalid_webhook", 93000, "invalid webhook url", "invalid webhook url"), ("ok", 0, "ok", ""),
     ("ok", 0, "missing HTTP 404", "missing HTTP 404"),
     ("wrong_address", None, "HTTP 404 without an errcode", "HTTP 404"),
     ("http_502", None, "HTTP 502 without an errcode", ""),
     ("connection", None, "the connection failed or broke", ""),
     ("unreadable_answer", None, "DecodeError at the answer", "DecodeError")],
)  # fmt: skip
def test_a_detail_adds_wecom_s_words_and_does_not_repeat_the_meaning(
    reason: str, errcode: int | None, detail: str, shown: str
) -> None:
    assert said(lambda: detail_of(reason, errcode, detail)) == (shown, shown)


def test_errcodes_of_uploads_have_their_own_meaning() -> None:
    assert said(lambda: meaning("errcode_45001")) == ("文件太大", "the file is too large")
    for number in (44001, 40004, 40005, 40006, 40009, 45001):
        for text in said(lambda number=number: advice(f"errcode_{number}", "dev")):
            assert "attach = []" in text
            assert "模板" not in text and "template" not in text


def test_chinese_has_one_kind_of_quotes() -> None:
    catalog = (TRANSLATIONS / "zh/LC_MESSAGES/messages.po").read_text(encoding="utf-8")
    assert not set("「」『』‘’") & set(catalog + repr(_TABLES))


def test_what_is_not_known_is_shown_as_it_is() -> None:
    assert (meaning(""), meaning("new")) == ("", "new")
    assert (state("new"), type_name("证书过期")) == ("new", "证书过期")


def test_the_advice_names_the_variable_of_the_bot() -> None:
    assert "WECOM_BOT_KEY_DEV" in said(lambda: advice("invalid_webhook", "dev"))[0]
    assert "WECOM_BOT_KEY_" not in said(lambda: advice("invalid_webhook", "default"))[0]
    assert "WECOM_BOT_KEY" in said(lambda: advice("robot_not_in_group", "default"))[1]


def test_a_disabled_robot_needs_no_new_key() -> None:
    zh, _ = said(lambda: advice("robot_disabled", "dev"))
    assert "重新启用" in zh and "WECOM_BOT_KEY" not in zh


def test_what_a_call_carried_has_a_name_and_its_msgtype() -> None:
    for kind in _TABLES["carried"]:
        zh, en = said(lambda kind=kind: carried(kind))  # type: ignore[misc]
        assert not zh.isascii() and en.isascii()
    assert said(lambda: carried("digest text")) == ("汇总消息（text）", "digest (text)")
    assert said(lambda: carried("message news")) == ("news 消息", "news message")
    assert (carried(""), carried("new kind")) == ("", "new kind")


def test_every_state_and_every_known_type_has_a_name() -> None:
    states = [said(lambda name=name: state(name)) for name in STATES]  # type: ignore[misc]
    assert [zh for zh, _ in states] == ["待发", "已发送", "发送失败", "已过期"]
    assert examples().keys() <= set(TYPES)
    types = [said(lambda name=name: type_name(name)) for name in TYPES]  # type: ignore[misc]
    for zh, en in (*states, *types):
        assert not zh.isascii() and en.isascii()
