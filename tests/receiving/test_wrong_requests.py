"""What is lost before it came in leaves a trace: in the log, in the metrics, for the console."""

from pathlib import Path

import pytest
from flask.testing import FlaskClient
from prometheus_client import REGISTRY
from support import HOOK, TOKEN, Clock

from bridge import create_app
from bridge.receiving.wrong_requests import WrongRequests


def counted(kind: str) -> float:
    return REGISTRY.get_sample_value("bridge_wrong_requests_total", {"kind": kind}) or 0.0


def test_the_first_is_logged_at_once_and_then_one_line_a_minute_counts_the_others(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = WrongRequests("token", "a wrong token", clock)
    for _ in range(5):
        wrong.note("10.0.0.1")
    assert len(caplog.records) == 1
    assert "a wrong token, from 10.0.0.1 (1 since 2027-01-15T08:00:00Z)" in caplog.text
    clock.advance(60)
    wrong.note("10.0.0.2")
    assert len(caplog.records) == 2
    line = "from 10.0.0.2; 5 such requests since the last line (6 since 2027-01-15T08:00:00Z)"
    assert line in caplog.text


def test_a_clock_that_goes_back_does_not_silence_it(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = WrongRequests("token", "a wrong token", clock)
    wrong.note("x")
    clock.advance(-3600)
    wrong.note("x")
    assert len(caplog.records) == 2


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_wrong_token_is_a_warning_and_counted_and_the_token_is_not_shown(
    client: FlaskClient, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    before = counted("token")
    headers = {"X-Forwarded-For": "8.8.8.8, 203.0.113.9"}
    answer = client.open("/pgyer/an-old-token", method=method, headers=headers)
    assert answer.status_code == 404
    assert answer.get_json() == {"error": "not found"}
    assert counted("token") == before + 1
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert "wrong token" in caplog.text and "203.0.113.9" in caplog.text
    assert "an-old-token" not in caplog.text


@pytest.mark.parametrize(
    ("method", "path", "body", "why"),
    [
        ("POST", "/qa", b"{}", "404: unknown bot qa; there are: default, dev"),
        ("POST", "/dev/more", b"{}", "404: not found"),
        ("PUT", "", b"{}", "405: "),
        ("POST", "", b" " * ((1 << 20) + 1), "413: the body is over 1048576 bytes"),
    ],
)
def test_what_is_refused_with_the_right_token_is_a_warning_and_counted(
    client: FlaskClient,
    caplog: pytest.LogCaptureFixture,
    method: str,
    path: str,
    body: bytes,
    why: str,
) -> None:
    before = counted("refused")
    assert client.open(HOOK + path, method=method, data=body).status_code == int(why[:3])
    assert counted("refused") == before + 1
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert f"right token is refused, and its event is lost ({why}" in record.getMessage()
    assert ("`bridge url` shows" in record.getMessage()) == (why[:3] != "413")
    assert TOKEN not in caplog.text


def test_what_is_kept_or_only_looked_at_is_not_called_refused(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    before = counted("refused")
    assert client.post(HOOK, data=b"\0").status_code == 400
    assert client.get(f"{HOOK}/qa").status_code == 404
    assert counted("refused") == before
    assert "refused" not in caplog.text


def test_an_address_cannot_write_lines_into_the_log(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    client.post("/pgyer/x", environ_base={"REMOTE_ADDR": "1.2.3.4\n" + "y" * 1000})
    [record] = caplog.records
    assert "\n" not in record.getMessage()
    assert "y" * 100 not in record.getMessage()


@pytest.mark.parametrize(
    "headers",
    [{"Content-Type": "application/json"}, {"User-Agent": "Mozilla/5.0 PgyerWebhookClient"}],
)
def test_a_get_that_was_a_post_before_a_redirect_is_a_warning(
    client: FlaskClient, caplog: pytest.LogCaptureFixture, headers: dict[str, str]
) -> None:
    before = counted("redirected")
    assert client.get(HOOK, headers=headers).status_code == 200
    assert counted("redirected") == before + 1
    assert "a redirect" in caplog.text
    assert TOKEN not in caplog.text


def test_a_browser_that_looks_at_the_address_is_no_warning(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    assert client.get(HOOK, headers={"User-Agent": "Mozilla/5.0"}).status_code == 200
    assert client.get(f"{HOOK}/dev").status_code == 200
    assert not caplog.records


@pytest.mark.parametrize(
    "path", [f"/{HOOK}", f"/pgyer//{TOKEN}", f"{HOOK}/", f"{HOOK}//dev/", f"///pgyer/{TOKEN}//"]
)
def test_doubled_and_trailing_slashes_do_not_matter(client: FlaskClient, path: str) -> None:
    answer = client.post("/", data=b"{}", environ_overrides={"PATH_INFO": path})
    assert (answer.status_code, answer.get_json()["status"]) == (200, "accepted")


@pytest.mark.parametrize("path", ["/healthz", "/healthz/", "/readyz/", "//healthz", "/"])
def test_health_checks_are_answered_however_they_are_written(
    client: FlaskClient, path: str
) -> None:
    answer = client.get("/", environ_overrides={"PATH_INFO": path})
    assert answer.status_code in (200, 503)
    assert answer.status_code == 200 or "dispatcher" in answer.get_data(as_text=True)


def test_the_bare_address_says_what_it_is_and_how_to_switch_the_console_on(
    client: FlaskClient, tmp_path: Path, environ: dict[str, str]
) -> None:
    assert "BRIDGE_ADMIN_PASSWORD" in client.get("/").get_data(as_text=True)
    app = create_app({**environ, "BRIDGE_ADMIN_PASSWORD": "an-admin-password"})
    text = app.test_client().get("/").get_data(as_text=True)
    assert "/console/" in text and "BRIDGE_ADMIN_PASSWORD" not in text
    app.extensions["bridge"].close()


def test_the_metrics_name_their_charset_once(environ: dict[str, str]) -> None:
    app = create_app({**environ, "BRIDGE_ADMIN_PASSWORD": "an-admin-password"})
    answer = app.test_client().get("/metrics", auth=("", "an-admin-password"))
    assert answer.headers["Content-Type"].count("charset") == 1
    app.extensions["bridge"].close()
