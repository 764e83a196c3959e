"""The receiver: what it answers, and what it says at the start."""

import gzip
import json
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from support import HOOK

from bridge import create_app
from bridge.errors import StorageError
from bridge.receiving import decoding as pgyer
from bridge.storage.schema import NEWEST


def test_an_event_is_accepted_once_and_then_a_duplicate(client: FlaskClient) -> None:
    first = client.post(HOOK, data=b'{"type": "feedback"}')
    again = client.post(HOOK, data=b'{"type": "feedback", "timestamp": 5}')
    assert first.get_json() == {"status": "accepted", "event": 1, "bots": ["default"]}
    assert again.get_json() == {"status": "duplicate", "event": 1}


def test_answers_are_in_the_contract_s_order_and_say_what_is_wrong(client: FlaskClient) -> None:
    assert client.post(HOOK).get_json() == {"status": "ping"}
    assert client.post("/pgyer/no").get_json() == client.get("/no").get_json()
    assert client.post(HOOK, data=b"\0").status_code == 400
    assert client.post(f"{HOOK}/x,dev").get_json() == {
        "error": "unknown bot x; there are: default, dev"
    }
    assert client.post(f"{HOOK}/DEV, dev,,", data=b"{}").get_json()["bots"] == ["dev"]
    assert client.post(HOOK, data=b" " * (pgyer.MAX_BODY + 1)).status_code == 413
    assert client.get(f"{HOOK}/dev/").status_code == 200
    put = client.put(HOOK)
    assert (put.status_code, put.headers["Allow"]) == (405, "GET, HEAD, POST")


def test_a_packed_body_that_is_too_large_unpacked_is_refused(client: FlaskClient) -> None:
    bomb = gzip.compress(b" " * (pgyer.MAX_BODY + 1))
    assert client.post(HOOK, data=bomb).status_code == 413


def test_a_mistake_of_ours_in_decoding_keeps_the_body(
    client: FlaskClient, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(pgyer, "decode", broken)
    answer = client.post(HOOK, data=b'{"type": "feedback"}')
    assert answer.status_code == 400
    kept = app.extensions["bridge"].queries.event(answer.get_json()["event"])
    assert kept.raw == b'{"type": "feedback"}'


def test_what_cannot_be_stored_is_a_503_that_asks_for_another_try(
    client: FlaskClient, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise StorageError("disk full")

    monkeypatch.setattr(app.extensions["bridge"].outbox, "accept", broken)
    answer = client.post(HOOK, data=b'{"type": "feedback"}')
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "5"


def test_likely_mistakes_are_said_at_the_start(
    environ: dict[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    routes = tmp_path / "r.toml"
    routes.write_text('[[route]]\ntemplate = "crashlog"\n[[route]]\ntemplate = "gone"\n')
    environ |= {"BRIDGE_ROUTES": str(routes), "BRIDGE_TOKEN": "short"}
    app = create_app({**environ, "WECOM_BOT_KEY_DEV": "key-of-default"})
    app.extensions["bridge"].close()
    assert "WECOM_BOT_KEY, WECOM_BOT_KEY_DEV have the same key" in caplog.text
    assert "BRIDGE_TOKEN is short" in caplog.text
    assert "rule 2: there is no template 'gone'" in caplog.text
    assert "crashlog" not in caplog.text


def test_a_database_of_a_newer_bridge_stops_the_start(
    environ: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(environ)
    newer = "INSERT INTO schema_versions (version, applied_at) VALUES (9999, 0)"
    app.extensions["bridge"].outbox.database.write(lambda c: c.execute(newer))
    app.extensions["bridge"].close()
    with pytest.raises(SystemExit) as stopped:
        create_app(environ)
    assert stopped.value.code == 4
    assert f"up to {NEWEST}" in caplog.text


def test_json_answers_are_readable_chinese(client: FlaskClient) -> None:
    answer = client.post(f"{HOOK}/微信")
    assert "unknown bot 微信" in answer.get_data(as_text=True)
    assert json.loads(answer.data)
