"""A log line says what happened, in one line, and never a secret."""

import json
import logging
import logging.config
import re
import sys
import time
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

import pytest

from bridge.logs import RedactingFormatter, config, forms, redact
from bridge.settings import Settings, load

KEY = "693a91f6-7xxx-4bc4"
TOKEN = "a-token-that-nobody-guesses"
PASSWORD = "p\"ä\\s/s w&rd'"  # what JSON, a repr and a URL each write in their own way
URL = f"https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key={KEY}"
DATABASE = "postgresql://user:pass-of-db@host/name"
STYLES = ["text", "json"]


def settings(**environ: str) -> Settings:
    found, problems = load(
        {
            "WECOM_BOT_KEY": KEY,
            "BRIDGE_TOKEN": TOKEN,
            "BRIDGE_ADMIN_PASSWORD": PASSWORD,
            "DATABASE_URL": DATABASE,
            **environ,
        }
    )
    assert problems == []
    return found


SECRETS = settings().secrets


def record(message: str, *args: object, **more: object) -> logging.LogRecord:
    made = logging.LogRecord("bridge.console", logging.INFO, __file__, 1, message, args, None)
    made.created, made.msecs = 1_800_000_000.042, 42
    made.__dict__.update(more)
    return made


def line(style: str, message: str, *args: object, **more: object) -> str:
    return RedactingFormatter(SECRETS, style).format(record(message, *args, **more))


def raised(message: str) -> object:
    try:
        try:
            raise ConnectionError(message)
        except ConnectionError as error:
            raise ValueError(f"because of {message!r}") from error
    except ValueError:
        return sys.exc_info()


def clean(text: str) -> bool:
    """Whether no secret shows in a text, in whatever way it could be written."""
    forms = [
        form
        for secret in (KEY, TOKEN, PASSWORD, "pass-of-db")
        for form in (
            secret,
            repr(secret)[1:-1],
            json.dumps(secret)[1:-1],
            json.dumps(secret, ensure_ascii=False)[1:-1],
            quote(secret),
            quote(secret, safe=""),
            quote_plus(secret),
        )
    ]
    return not any(form in text for form in forms)


def test_a_text_line_has_a_time_a_level_a_name_and_a_message() -> None:
    assert line("text", "event %s accepted", 7) == (
        "2027-01-15T08:00:00.042Z INFO    bridge.console: event 7 accepted"
    )


def test_the_time_is_utc_wherever_the_bridge_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "CST-8")
    time.tzset()
    try:
        assert line("text", "x").startswith("2027-01-15T08:00:00.042Z ")
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_json_line_holds_the_same_and_the_facts() -> None:
    text = line(
        "json", "event %s → %s", 7, "研发", facts={"event": 7, "type": "反馈", "late": None}
    )
    assert "\n" not in text
    assert "研发" in text
    assert json.loads(text) == {
        "time": "2027-01-15T08:00:00.042Z",
        "level": "INFO",
        "logger": "bridge.console",
        "message": "event 7 → 研发",
        "event": 7,
        "type": "反馈",
        "late": None,
    }


def test_a_json_line_takes_any_fact() -> None:
    assert json.loads(line("json", "x", facts={"path": {1}, "n": 1.5}))["path"] == "{1}"


def test_a_text_line_is_followed_by_its_traceback() -> None:
    first, *rest = line("text", "stumbled", exc_info=raised("boom")).splitlines()
    assert first.endswith(" bridge.console: stumbled")
    assert rest[0] == "Traceback (most recent call last):"
    assert rest[-1] == "ValueError: because of 'boom'"


def test_a_json_line_holds_its_traceback() -> None:
    text = line("json", "stumbled", exc_info=raised("boom"))
    assert "\n" not in text
    assert json.loads(text)["traceback"].endswith("ValueError: because of 'boom'")
    assert "traceback" not in json.loads(line("json", "fine"))


@pytest.mark.parametrize("style", STYLES)
def test_nobody_can_forge_a_line_of_the_log(style: str) -> None:
    forged = "x\n2027-01-15T08:00:00.042Z INFO    bridge.console: all is well\r\nand so on"
    assert len(line(style, "event 7 (%s) accepted", forged).splitlines()) == 1


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("secret", SECRETS)
def test_no_secret_shows_wherever_it_comes_in(style: str, secret: str) -> None:
    shown = [
        line(style, f"POST {secret} 200"),
        line(style, "POST %s 200", secret),
        line(style, "POST %r 200", secret),
        line(style, "POST %(url)s 200", {"url": secret}),
        line(style, "failed: %s", ConnectionError(f"Max retries exceeded with url: {secret}")),
        line(style, "failed: %s", [secret, {"a": secret}]),
        line(style, "failed", exc_info=raised(f"cannot reach {secret}")),
    ]
    for text in shown:
        assert clean(text)
        assert "***" in text


@pytest.mark.parametrize("secret", SECRETS)
def test_no_secret_shows_in_the_facts(secret: str) -> None:
    text = line("json", "x", facts={"url": f"<{secret}>", "error": ValueError(secret)})
    assert clean(text)
    assert json.loads(text)["url"] == "<***>"
    assert json.loads(text)["error"] == "***"


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    "encode",
    [quote, lambda s: quote(s, safe=""), quote_plus],
    ids=["quote", "quote all", "quote_plus"],
)
def test_no_secret_shows_encoded_for_a_url(style: str, secret: str, encode: object) -> None:
    assert callable(encode)
    text = line(style, "GET /go?to=%s HTTP/1.1", encode(secret))
    assert clean(text)
    assert "***" in text


@pytest.mark.parametrize("style", STYLES)
def test_both_tokens_of_a_rotation_are_secrets(style: str) -> None:
    secrets = settings(BRIDGE_TOKEN="the-token-of-ours,the-token-of-ours-that-is-new").secrets
    text = RedactingFormatter(secrets, style).format(
        record('"POST /pgyer/the-token-of-ours-that-is-new/dev" "POST /pgyer/the-token-of-ours"')
    )
    assert "the-token" not in text
    assert "is-new" not in text
    assert text.count("***") == 2


def test_a_secret_that_is_a_number_leaves_a_json_line_whole() -> None:
    secrets = settings(BRIDGE_ADMIN_PASSWORD="20482048").secrets
    text = RedactingFormatter(secrets, "json").format(
        record("the password is %s", "20482048", facts={"event": 20482048, "bytes": 1204820481})
    )
    assert json.loads(text)["message"] == "the password is ***"


ORDINARY = "deploy of the bridge: post 1 to postgres is pending, key=pending, /pgyer is up"


@pytest.mark.parametrize(
    "short", ["p", "1", "e", "is", "of", "post", "bridge", "postgres", "/", "."]
)
def test_a_short_secret_does_not_blot_ordinary_words(short: str) -> None:
    database = f"postgresql://user:{quote(short, safe='')}@host/name"
    secrets = settings(DATABASE_URL=database).secrets
    assert redact(ORDINARY, forms(secrets)) == ORDINARY
    shown = redact(f"cannot connect to {database}", forms(secrets))
    assert shown == "cannot connect to ***"


@pytest.mark.parametrize("short", ["p", "7", "post", "bridge", "pending"])
def test_a_short_secret_is_redacted_in_a_url(short: str) -> None:
    secrets = settings(
        WECOM_BOT_KEY=short,
        BRIDGE_TOKEN=short,
        DATABASE_URL=f"postgresql://user:{short}@host/name",
    ).secrets
    for text in (
        f"Max retries exceeded with url: /cgi-bin/webhook/send?key={short} (…)",
        f"GET /send?debug=on&key={short} HTTP/1.1",
        f'"POST /pgyer/{short}/dev HTTP/1.1"',
        f"postgresql://user:{short}@other/name",
    ):
        assert "***" in (shown := redact(text, forms(secrets)))
        assert f"={short}" not in shown and f"/{short}" not in shown and f":{short}" not in shown
    assert redact(ORDINARY, forms(secrets)) == ORDINARY


def test_redact_leaves_what_is_no_secret() -> None:
    assert redact("event 7 → dev", SECRETS) == "event 7 → dev"
    assert redact(f"{KEY}{TOKEN}", SECRETS) == "******"
    assert redact(f"key={KEY}", ()) == f"key={KEY}"


@pytest.fixture
def _loggers() -> Iterator[None]:
    """Give every logger that the configuration touches its state back."""
    names = ("", "gunicorn.error", "gunicorn.access")
    loggers = [logging.getLogger(name) for name in names]
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate = propagate


@pytest.mark.usefixtures("_loggers")
@pytest.mark.parametrize("style", STYLES)
def test_every_logger_of_the_process_is_redacted_at_debug(
    style: str, capsys: pytest.CaptureFixture[str]
) -> None:
    logging.config.dictConfig(config(settings(LOG_LEVEL="debug", LOG_FORMAT=style)))
    names = ["bridge", "urllib3.connectionpool", "requests", "gunicorn.error"]
    for name in names:
        logging.getLogger(name).debug('"POST %s HTTP/1.1" %s', URL, 200)
    logging.getLogger("gunicorn.access").info("POST /pgyer/%s 200", TOKEN)
    out, err = capsys.readouterr()
    assert out == ""
    assert clean(err)
    lines = err.splitlines()
    assert len(lines) == len(names) + 1
    assert all("***" in text for text in lines)
    if style == "json":
        assert [json.loads(text)["logger"] for text in lines] == [*names, "gunicorn.access"]
    else:
        assert all(re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z (DEBUG|INFO) ", text) for text in lines)


@pytest.mark.usefixtures("_loggers")
def test_gunicorn_logs_each_request_only_at_debug(capsys: pytest.CaptureFixture[str]) -> None:
    logging.config.dictConfig(config(settings()))
    logging.getLogger("gunicorn.access").info("POST / 200")
    logging.getLogger("bridge").debug("not shown")
    logging.getLogger("bridge").info("shown")
    logging.getLogger("gunicorn.error").info("shown too")
    err = capsys.readouterr().err.splitlines()
    assert [text.rsplit(": ", 1)[1] for text in err] == ["shown", "shown too"]
