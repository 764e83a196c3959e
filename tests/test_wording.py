"""The texts for reasons, states and types in both languages."""

import pytest

from bridge.delivery.wecom import _POLICY
from bridge.samples import examples
from bridge.wording import _TABLES, STATES, TYPES, Text, advice, meaning, state, type_name

REASONS = [
    *(reason for _, reason in _POLICY.values()), *_TABLES["reasons"],
    "read_timeout", "connect_timeout", "tls", "proxy", "connection", "not_json", "interrupted",
    "internal_error", "too_old", "done_by_hand",
]  # fmt: skip


def test_a_text_is_shown_in_one_language_or_in_both() -> None:
    text = Text("已发送", "sent")
    assert (text.show("zh"), text.show("en"), text.show()) == ("已发送", "sent", "已发送 · sent")
    assert Text("x", "x").show() == "x"


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_has_a_meaning_and_advice_in_both_languages(reason: str) -> None:
    for text in (meaning(reason), advice(reason, "dev")):
        assert text.zh != text.en
        assert not text.zh.isascii() and text.en.isascii()
        assert "_" not in meaning(reason).en and "{" not in text.zh + text.en


def test_reasons_with_a_number_keep_it() -> None:
    assert meaning("errcode_93017").show() == (
        "企业微信拒收：未知错误码 93017 · WeCom refused it: unknown errcode 93017"
    )
    assert "query?e=93017" in advice("errcode_93017", "dev").zh
    assert "502" in meaning("http_502").en
    assert "WECOM_API_URL" in advice("http_502", "dev").en


def test_errcodes_of_uploads_have_their_own_meaning() -> None:
    assert meaning("errcode_45001") == Text("文件太大", "the file is too large")


def test_what_is_not_known_is_shown_as_it_is() -> None:
    assert (meaning("").show(), meaning("new").show()) == ("", "new")
    assert (state("new").show(), type_name("证书过期").show()) == ("new", "证书过期")


def test_the_advice_names_the_variable_of_the_bot() -> None:
    assert "WECOM_BOT_KEY_DEV" in advice("invalid_webhook", "dev").zh
    assert "WECOM_BOT_KEY_" not in advice("invalid_webhook", "default").zh
    assert "WECOM_BOT_KEY" in advice("robot_not_in_group", "default").en


def test_a_disabled_robot_needs_no_new_key() -> None:
    assert "重新启用" in advice("robot_disabled", "dev").zh
    assert "WECOM_BOT_KEY" not in advice("robot_disabled", "dev").zh


def test_every_state_and_every_known_type_has_a_name() -> None:
    assert [state(name).zh for name in STATES] == ["待发", "已发送", "发送失败", "已过期"]
    assert examples().keys() <= TYPES.keys()
    for text in (*STATES.values(), *TYPES.values()):
        assert not text.zh.isascii() and text.en.isascii()
