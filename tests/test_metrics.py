"""The metrics, also with several workers, are those that the dashboards and alerts ask for."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from flask import Flask
from support import ROOT, Deployment, until

from bridge import create_app
from bridge.errors import StorageError
from bridge.sandbox import Sandbox

PASSWORD = "an-admin-password"


def scraped(text: str) -> dict[str, float]:
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_several_workers_add_up(
    sandbox: tuple[Sandbox, str], deploy: Callable[..., Deployment]
) -> None:
    box, api = sandbox
    more = {"WEB_CONCURRENCY": "3", "BRIDGE_ADMIN_PASSWORD": PASSWORD, "BRIDGE_RATE": "1000"}
    bridge = deploy(api, **more).start()
    box.fault("key-of-dev", "40058")
    for n in range(30):
        assert bridge.post(json.dumps({"type": "feedback", "title": f"A{n}"})).ok
    bridge.post('{"type": "from-outside"}', "/dev")
    bridge.post('{"type": "from-outside"}', "/dev")
    bridge.post("garbage")
    bridge.post("")

    def scrape() -> dict[str, float]:
        answer = requests.get(f"{bridge.url}/metrics", auth=("any", PASSWORD), timeout=20)
        assert answer.status_code == 200
        return scraped(answer.text)

    until(lambda: scrape().get('bridge_deliveries_total{bot="default",state="sent"}') == 31)
    for _ in range(10):  # whichever worker answers
        found = scrape()
        assert found['bridge_events_total{outcome="accepted",type="feedback"}'] == 30
        assert found['bridge_events_total{outcome="accepted",type="other"}'] == 1
        assert found['bridge_events_total{outcome="duplicate",type="other"}'] == 1
        assert found['bridge_events_total{outcome="undecodable",type="other"}'] == 1
        assert found['bridge_events_total{outcome="ping",type="other"}'] == 1
        assert found['bridge_deliveries_total{bot="dev",state="parked"}'] == 1
        assert found["bridge_acknowledge_seconds_count"] == 34
        assert found["bridge_delivered_seconds_count"] == 31
        assert found['bridge_pending_deliveries{bot="default"}'] == 0
    attempt = 'bridge_attempts_total{bot="dev",errcode="40058",reason="invalid_parameter"}'
    assert found[attempt] == 1


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    environ = {
        "WECOM_BOT_KEY": "key-of-default",
        "BRIDGE_TOKEN": "a-token-that-nobody-guesses",
        "BRIDGE_TEMPLATES": str(ROOT / "templates"),
        "DATABASE_URL": f"sqlite:///{tmp_path}/bridge.db",
    }
    return create_app({**environ, "BRIDGE_ADMIN_PASSWORD": PASSWORD})


def test_metrics_are_behind_the_admin_password(app: Flask) -> None:
    client = app.test_client()
    for auth in (None, ("x", ""), ("x", "wrong"), (PASSWORD, "")):
        answer = client.get("/metrics", auth=auth)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Basic")
    assert client.get("/metrics", auth=("x", PASSWORD)).status_code == 200
    app.extensions["bridge"].close()


def test_gauges_are_read_from_the_store(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    client, history = app.test_client(), app.extensions["bridge"].queries
    client.post("/pgyer/a-token-that-nobody-guesses", data=b'{"type": "feedback"}')
    found = scraped(client.get("/metrics", auth=("x", PASSWORD)).get_data(as_text=True))
    assert found['bridge_pending_deliveries{bot="default"}'] == 1
    assert found['bridge_bot_stopped{bot="default"}'] == 0
    assert found["bridge_template_errors"] == 0
    assert found["bridge_database_up"] == 1
    assert any(name.startswith("bridge_build_info{version=") for name in found)

    def broken() -> None:
        raise StorageError("gone")

    monkeypatch.setattr(history, "health", broken)
    found = scraped(client.get("/metrics", auth=("x", PASSWORD)).get_data(as_text=True))
    assert found["bridge_database_up"] == 0
    app.extensions["bridge"].close()


def test_without_a_password_there_are_no_metrics(
    sandbox: tuple[Sandbox, str], deploy: Callable[..., Deployment]
) -> None:
    bridge = deploy(sandbox[1]).start()
    assert requests.get(f"{bridge.url}/metrics", timeout=20).status_code == 404


@pytest.mark.parametrize("file", ["grafana.json", "alerts.yml"])
def test_the_dashboard_and_the_alerts_ask_for_metrics_that_there_are(file: str, app: Flask) -> None:
    text = (ROOT / "docs" / file).read_text(encoding="utf-8")
    asked = set(re.findall(r"\bbridge_\w+", text))
    client = app.test_client()
    client.post("/pgyer/a-token-that-nobody-guesses", data=b'{"type": "feedback"}')
    exposed = client.get("/metrics", auth=("x", PASSWORD)).get_data(as_text=True)
    known = set(re.findall(r"^# TYPE (\S+)", exposed, re.MULTILINE))
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in asked}
    assert families and families <= known
    app.extensions["bridge"].close()
