"""What an outcome says beside its verdict: words for the reader, an uploaded file's id."""

import json

import pytest
import requests

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


@pytest.mark.parametrize("status", [200, 302, 404, 429, 502])
def test_an_answer_without_an_errcode_is_shown_by_its_status(status: int) -> None:
    assert str(status) in classify(status, b"<html>").detail


@pytest.mark.parametrize(("status", "reason"), [(299, "not_json"), (300, "http_300")])
def test_only_a_success_can_be_no_json(status: int, reason: str) -> None:
    assert classify(status, b"").reason == reason


def test_what_is_shown_of_an_errmsg_ends_at_the_first_tail_and_after_200_characters() -> None:
    assert core_message("a, more info at b from ip: c, hint: d") == "a"
    assert core_message("x" * 300) == "x" * 200


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (requests.ConnectTimeout(), "no connection in time"),
        (requests.ReadTimeout(), "may have arrived"),
        (requests.exceptions.SSLError(), "TLS"),
        (requests.exceptions.ProxyError(), "proxy"),
        (requests.ConnectionError(), "connection failed"),
    ],
    ids=repr,
)
def test_a_call_without_an_answer_says_in_words_what_happened(
    error: requests.RequestException, words: str
) -> None:
    assert words in transport_failure(error).detail
