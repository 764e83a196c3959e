"""What a platform asks: health checks and metrics, in this process."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from flask import Flask
from flask.testing import FlaskClient
from support import TOKEN

from bridge import create_app
from bridge.errors import StorageError

HOOK = f"/pgyer/{TOKEN}"
PASSWORD = "a-password-of-ours"


@pytest.fixture(autouse=True)
def _dispatching() -> None:
    """Here it counts whether the dispatcher runs."""


@pytest.fixture
def app(environ: dict[str, str]) -> Iterator[Flask]:
    app = create_app({**environ, "BRIDGE_ADMIN_PASSWORD": PASSWORD})
    yield app
    app.extensions["bridge"].close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def test_readyz_lists_all_that_is_wrong(
    client: FlaskClient, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge = app.extensions["bridge"]
    idle = client.get("/readyz")
    assert idle.status_code == 503
    assert ["dispatcher" in problem for problem in idle.get_json()["problems"]] == [True]
    bridge.dispatcher.start()
    assert client.get("/readyz").get_json()["status"] == "ready"

    def broken() -> None:
        raise StorageError("disk full")

    monkeypatch.setattr(bridge.queries, "health", broken)
    assert client.get("/readyz").get_json()["problems"] == ["database: disk full"]
    assert client.get("/healthz").status_code == 200


def test_a_delivery_that_waits_too_long_shows_in_readyz(
    client: FlaskClient, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge = app.extensions["bridge"]
    client.post(HOOK, data=b'{"type": "feedback"}')
    real = bridge.queries.health()
    assert real.pending == 1
    monkeypatch.setattr(
        bridge.queries,
        "health",
        lambda: replace(real, oldest=real.oldest - 601, stopped={"dev": "why"}),
    )
    problems = client.get("/readyz").get_json()["problems"]
    assert problems[0].startswith("the oldest of 1 pending deliveries waits for 60")
    assert problems[0].endswith("s (bot default)")
    assert problems[1] == "bot dev is stopped: why"


def test_deliveries_for_a_bot_that_was_taken_out_of_the_settings_are_named(
    environ: dict[str, str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(environ)
    app.test_client().post(f"{HOOK}/dev", data=b'{"type": "feedback"}')
    app.extensions["bridge"].close()
    assert "WECOM_BOT_KEY_DEV" not in caplog.text
    del environ["WECOM_BOT_KEY_DEV"]
    app = create_app(environ)
    bridge = app.extensions["bridge"]
    [warning] = [one for one in caplog.records if "WECOM_BOT_KEY_DEV" in one.getMessage()]
    assert warning.levelname == "WARNING"
    assert warning.getMessage().startswith("bot dev, pending 1: it is not in the settings")
    real = bridge.queries.health()
    monkeypatch.setattr(bridge.queries, "health", lambda: replace(real, oldest=real.oldest - 601))
    [late, _dispatcher] = app.test_client().get("/readyz").get_json()["problems"]
    assert late.endswith("s (bot dev, which is not in the settings)")
    bridge.close()


def test_a_web_process_that_does_not_dispatch_is_ready_without(environ: dict[str, str]) -> None:
    app = create_app({**environ, "BRIDGE_DISPATCH": "off"})
    assert app.test_client().get("/readyz").get_json()["problems"] == []
    app.extensions["bridge"].close()


def test_a_database_that_can_only_be_read_is_not_ready_and_not_up(
    client: FlaskClient, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge = app.extensions["bridge"]
    bridge.dispatcher.start()

    def up() -> str:
        text = client.get("/metrics", auth=("", PASSWORD)).get_data(as_text=True)
        [line] = [line for line in text.splitlines() if line.startswith("bridge_database_up ")]
        return line.removeprefix("bridge_database_up ")

    assert client.get("/readyz").status_code == 200 and up() == "1.0"

    def cannot_write() -> None:
        raise StorageError("disk full")

    monkeypatch.setattr(bridge.outbox.database, "check", cannot_write)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.get_json()["problems"]) == (503, ["database: disk full"])
    assert up() == "0.0"
