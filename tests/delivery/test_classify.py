"""What an outcome says beside its verdict: words for the reader, an uploaded file's id."""

import json

import pytest
import requests
import urllib3

from bridge.delivery.wecom import classify, core_message, transport_failure
from bridge.model import Outcome, Verdict


def test_an_outcome_has_the_core_of_the_errmsg_for_the_reader() -> None:
    reply = {"errcode": 93000, "errmsg": "invalid webhook url, hint: [1], from ip: 1.2.3.4"}
    outcome = classify(200, json.dumps(reply).encode())
    assert outcome == Outcome(Verdict.STOP, "invalid_webhook", "invalid webhook url", 93000)


def test_an_errcode_that_nobody_knows_is_its_own_reason() -> None:
    outcome = classify(200, b'{"errcode": 987654, "errmsg": "something new"}')
    assert outcome == Outcome(Verdict.PARK, "errcode_987654", "something new", 987654)


def test_an_upload_has_the_id_of_the_file_and_a_message_has_none() -> None:
    assert classify(200, b'{"errcode": 0, "errmsg": "ok", "media_id": "3a8a"}').media_id == "3a8a"
    assert classify(200, b'{"errcode": 0, "errmsg": "ok"}').media_id == ""
    assert classify(200, b'{"errcode": 0, "errmsg": "ok", "media_id": null}').media_id == ""


@pytest.mark.parametrize(
    ("errcode", "verdict", "reason"),
    [
        (0, Verdict.SENT, "ok"),
        (-1, Verdict.RETRY, "system_busy"),
        (45009, Verdict.REST, "rate_limited"),
        (45033, Verdict.RETRY, "too_concurrent"),
        (93000, Verdict.STOP, "invalid_webhook"),
        (93004, Verdict.STOP, "robot_disabled"),
        (93008, Verdict.STOP, "robot_not_in_group"),
        (40008, Verdict.PARK, "invalid_msgtype"),
        (44004, Verdict.PARK, "empty_content"),
        (40058, Verdict.PARK, "invalid_parameter"),
        (40007, Verdict.PARK, "invalid_media_id"),
        (41006, Verdict.PARK, "media_id_missing"),
        (44005, Verdict.PARK, "errcode_44005"),
        (2147483647, Verdict.PARK, "errcode_2147483647"),
        (-2147483647, Verdict.PARK, "errcode_-2147483647"),
    ],
)
def test_an_errcode_has_a_verdict_and_a_reason(errcode: int, verdict: Verdict, reason: str) -> None:
    for written in (errcode, str(errcode)):
        reply = json.dumps({"errcode": written, "errmsg": "as it says"}).encode()
        assert classify(200, reply) == Outcome(verdict, reason, "as it says", errcode)


def test_an_errcode_that_no_column_holds_is_not_wecoms() -> None:
    for errcode in (2147483648, -2147483648):
        outcome = classify(200, b'{"errcode": %d}' % errcode)
        detail = "HTTP 200 with an errcode that is none"
        assert outcome == Outcome(Verdict.RETRY, "not_wecom", detail)


@pytest.mark.parametrize(
    ("status", "verdict", "reason"),
    [
        (200, Verdict.RETRY, "not_json"),
        (302, Verdict.RETRY, "http_302"),
        (399, Verdict.RETRY, "http_399"),
        (400, Verdict.PARK, "http_400"),
        (404, Verdict.STOP, "wrong_address"),
        (429, Verdict.RETRY, "http_429"),
        (499, Verdict.PARK, "http_499"),
        (500, Verdict.RETRY, "http_500"),
    ],
)
def test_an_answer_without_an_errcode_is_shown_by_its_status(
    status: int, verdict: Verdict, reason: str
) -> None:
    for reply in (b"<html>", b"[]", b'{"errcode": null}'):
        detail = f"HTTP {status} without an errcode"
        assert classify(status, reply) == Outcome(verdict, reason, detail)


def test_a_proxy_that_wants_a_password_is_named_as_such() -> None:
    detail = "the proxy asks for a name and password (HTTP 407)"
    assert classify(407, b"<html>") == Outcome(Verdict.RETRY, "proxy", detail)


@pytest.mark.parametrize("reply", [b"<html>", b"[]", b"{}", b'{"errcode": null}'])
def test_retry_after_counts_for_whatever_has_no_errcode_and_up_to_a_day(reply: bytes) -> None:
    assert classify(503, reply, "7").retry_after == 7.0
    assert classify(503, reply, "86400").retry_after == 86400.0
    assert classify(503, b'{"errcode": -1}', "7").retry_after is None


@pytest.mark.parametrize(("status", "reason"), [(299, "not_json"), (300, "http_300")])
def test_only_a_success_can_be_no_json(status: int, reason: str) -> None:
    assert classify(status, b"").reason == reason


def test_what_is_shown_of_an_errmsg_ends_at_the_first_tail_and_after_200_characters() -> None:
    assert core_message("a, more info at b from ip: c, hint: d") == "a"
    assert core_message("x" * 300) == "x" * 200
    for tail in (
        ", hint: [1]",
        "hint: [1]",
        " from ip: 1.2.3.4",
        ",  more info at https://a.example",
    ):
        assert core_message(f"a: b, c{tail}") == "a: b, c"
    assert core_message(" " * 200 + "x") == " " * 200


@pytest.mark.parametrize("sign", [*"\0\x1f\x7f\x9f\u2028\u2029\ud800\udfff"])
def test_a_sign_that_could_not_be_stored_or_would_act_is_shown_as_a_blank(sign: str) -> None:
    assert core_message(f"a{sign}b") == "a b"


def test_every_other_sign_of_an_errmsg_is_shown_as_it_is() -> None:
    kept = "a ~\xa0字\u2027\u202a\ud7ff\ue000😀"
    assert core_message(kept) == kept


def test_the_id_of_a_file_is_at_most_256_printable_ascii_characters() -> None:
    def media_id(value: str) -> str:
        return classify(200, json.dumps({"errcode": 0, "media_id": value}).encode()).media_id

    assert media_id("!~" * 128) == "!~" * 128
    for refused in ("x" * 257, "a b", "a\x7f", "字", "a\n"):
        assert media_id(refused) == ""


@pytest.mark.parametrize(
    ("error", "reason", "detail"),
    [
        (requests.ConnectTimeout(), "connect_timeout", "no connection in time"),
        (
            requests.ReadTimeout(),
            "read_timeout",
            "no answer in time: it may have arrived all the same",
        ),
        (requests.exceptions.SSLError(), "tls", "the TLS handshake failed"),
        (requests.exceptions.ProxyError(), "proxy", "the proxy refused, or cannot be used"),
        (requests.exceptions.InvalidURL(), "proxy", "the proxy refused, or cannot be used"),
        (requests.exceptions.InvalidSchema(), "proxy", "the proxy refused, or cannot be used"),
        (requests.ConnectionError(), "connection", "the connection failed or broke"),
        (urllib3.exceptions.HTTPError(), "connection", "the connection failed or broke"),
        (ZeroDivisionError(), "unreadable_answer", "ZeroDivisionError at the answer"),
    ],
    ids=repr,
)
def test_a_call_without_an_answer_says_in_words_what_happened(
    error: Exception, reason: str, detail: str
) -> None:
    assert transport_failure(error) == Outcome(Verdict.RETRY, reason, detail)
