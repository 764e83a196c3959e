"""The environment is read once, and all that is wrong with it is listed at once."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from environments import KEY, NEEDED, TOKEN, WECOM, good, problem, webhooks

from bridge import configure
from bridge.errors import SettingsError
from bridge.model import Secret
from bridge.settings import default_templates, load
from bridge.wording import refusal


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Run in an empty folder, so that no routes.toml or templates of the project are found."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path


PGYER_KEY = Secret("0f1e2d3c4b5a69788796a5b4c3d2e1f0")

# --- defaults and values ---


def test_it_needs_a_key_and_a_token_and_has_a_default_for_the_rest() -> None:
    settings = good()
    assert webhooks(settings) == {"default": WECOM + KEY}
    assert settings.tokens == (Secret(TOKEN),)
    assert settings.admin_password is None
    assert settings.database_url == Secret("sqlite:///bridge.db")
    assert settings.templates == default_templates()
    assert settings.routes is None
    assert settings.timezone == ZoneInfo("Asia/Shanghai")
    assert settings.rate == 18
    assert settings.dedupe == 600
    assert settings.max_age == 24 * 3600
    assert settings.retention == 30 * 86400
    assert settings.public_url == ""
    assert settings.pgyer_key is None
    assert settings.pgyer_url == "https://api.pgyer.com"
    assert settings.pgyer_interval == 300
    assert settings.port == 8000
    assert settings.workers == 1
    assert settings.log_level == "INFO"
    assert settings.log_format == "text"
    assert settings.warnings == []


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        good().rate = 19  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "value", "attribute", "read"),
    [
        ("BRIDGE_TIMEZONE", "UTC", "timezone", ZoneInfo("UTC")),
        ("BRIDGE_TIMEZONE", " America/New_York ", "timezone", ZoneInfo("America/New_York")),
        ("BRIDGE_RATE", "1", "rate", 1),
        ("BRIDGE_RATE", " 20\n", "rate", 20),
        ("BRIDGE_DEDUPE_SECONDS", "0", "dedupe", 0),
        ("BRIDGE_DEDUPE_SECONDS", "30.5", "dedupe", 30.5),
        ("BRIDGE_MAX_AGE_HOURS", "0.5", "max_age", 1800),
        ("BRIDGE_MAX_AGE_HOURS", "48", "max_age", 48 * 3600),
        ("BRIDGE_RETENTION_DAYS", "7", "retention", 7 * 86400),
        ("BRIDGE_PUBLIC_URL", "https://bridge.example.com", "public_url", None),
        ("BRIDGE_PUBLIC_URL", "http://10.0.0.1:8000", "public_url", None),
        ("PGYER_API_KEY", "0f1e2d3c4b5a69788796a5b4c3d2e1f0", "pgyer_key", PGYER_KEY),
        ("PGYER_API_URL", "https://p.example.com/", "pgyer_url", "https://p.example.com"),
        ("PGYER_API_URL", "https://p.cn/x/apiv2/app/", "pgyer_url", "https://p.cn/x"),
        ("PGYER_API_URL", "http://127.0.0.1:9001", "pgyer_url", None),
        ("PGYER_API_URL", "http://localhost:9001/apiv2", "pgyer_url", "http://localhost:9001"),
        ("PGYER_POLL_SECONDS", "10", "pgyer_interval", 10),
        ("PORT", "5000", "port", 5000),
        ("PORT", "65535", "port", 65535),
        ("WEB_CONCURRENCY", "4", "workers", 4),
        ("LOG_LEVEL", "DEBUG", "log_level", "DEBUG"),
        ("LOG_LEVEL", "warning", "log_level", "WARNING"),
        ("LOG_LEVEL", "Error", "log_level", "ERROR"),
        ("LOG_FORMAT", "json", "log_format", "json"),
        ("LOG_FORMAT", "JSON", "log_format", "json"),
    ],
)
def test_it_reads_the_variable(name: str, value: str, attribute: str, read: object) -> None:
    assert getattr(good(**{name: value}), attribute) == (value if read is None else read)


def test_the_public_url_loses_its_last_slash() -> None:
    assert good(BRIDGE_PUBLIC_URL="https://a.example/bridge/").public_url == (
        "https://a.example/bridge"
    )


@pytest.mark.parametrize("empty", ["", " ", "\n"])
def test_an_empty_value_counts_as_unset(empty: str) -> None:
    names = (
        "WECOM_API_URL BRIDGE_ADMIN_PASSWORD BRIDGE_TEMPLATES BRIDGE_ROUTES BRIDGE_TIMEZONE "
        "BRIDGE_RATE BRIDGE_DEDUPE_SECONDS BRIDGE_MAX_AGE_HOURS BRIDGE_RETENTION_DAYS "
        "BRIDGE_PUBLIC_URL DATABASE_URL PORT WEB_CONCURRENCY LOG_LEVEL LOG_FORMAT "
        "WECOM_BOT_KEY_DEV WECOM_BOT_KEY_FILE BRIDGE_TOKEN_FILE BRIDGE_ADMIN_PASSWORD_FILE "
        "DATABASE_URL_FILE WECOM_BOT_KEY_DEV_FILE"
    )
    assert good(**dict.fromkeys(names.split(), empty)) == good()


@pytest.mark.parametrize(
    "name", ["WECOM_BOT_KEY_DEFAULT", "WECOM_BOT_KEY_Ops", "WECOM_BOT_KEY_OPS"]
)
def test_an_empty_key_names_no_bot_twice(name: str) -> None:
    settings = good(**{"WECOM_BOT_KEY_ops": "key-of-ops", name: ""})
    assert webhooks(settings) == {"default": WECOM + KEY, "ops": WECOM + "key-of-ops"}


def test_variables_of_others_are_none_of_its_business() -> None:
    assert good(PATH="/bin", HOME="/root", PORTS="x", DATABASE="x", MY_BRIDGE_X="1") == good()


# --- what is wrong is named ---


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("BRIDGE_TIMEZONE", "Mars/Olympus", "Asia/Shanghai"),
        ("BRIDGE_TIMEZONE", "Asia", "Asia/Shanghai"),
        ("BRIDGE_TIMEZONE", "/etc/passwd", "Asia/Shanghai"),
        ("BRIDGE_TIMEZONE", "../../etc/passwd", "Asia/Shanghai"),
        ("BRIDGE_RATE", "0", "whole number from 1"),
        ("BRIDGE_RATE", "-1", "whole number from 1"),
        ("BRIDGE_RATE", "1.5", "whole number from 1"),
        ("BRIDGE_RATE", "1e1", "whole number from 1"),
        ("BRIDGE_RATE", "twenty", "whole number from 1"),
        ("BRIDGE_RATE", "１８", "whole number from 1"),
        ("BRIDGE_RATE", "99999999", "whole number from 1"),
        ("BRIDGE_DEDUPE_SECONDS", "-1", "number of 0 or more"),
        ("BRIDGE_DEDUPE_SECONDS", "10m", "number of 0 or more"),
        ("BRIDGE_DEDUPE_SECONDS", "nan", "number of 0 or more"),
        ("BRIDGE_MAX_AGE_HOURS", "0", "number above 0"),
        ("BRIDGE_MAX_AGE_HOURS", "0.0", "number above 0"),
        ("BRIDGE_MAX_AGE_HOURS", "1d", "number above 0"),
        ("BRIDGE_MAX_AGE_HOURS", "inf", "number above 0"),
        ("BRIDGE_RETENTION_DAYS", "0", "number above 0"),
        ("BRIDGE_RETENTION_DAYS", "for ever", "number above 0"),
        ("BRIDGE_PUBLIC_URL", "bridge.example.com", "https://example.com"),
        ("BRIDGE_PUBLIC_URL", "ftp://bridge.example.com", "https://example.com"),
        ("BRIDGE_PUBLIC_URL", "https://", "https://example.com"),
        ("BRIDGE_PUBLIC_URL", "http://[::1", "https://example.com"),
        ("WECOM_API_URL", "qyapi.weixin.qq.com", "https://example.com"),
        ("WECOM_API_URL", "file:///etc/passwd", "https://example.com"),
        ("PGYER_API_URL", "http://api.pgyer.com", "https address such as https://api.pgyer.com"),
        ("PGYER_API_URL", "https://me:pw@api.pgyer.com", "https address"),
        ("PGYER_API_URL", "https://api.pgyer.com/?_api_key=x", "without ? and #"),
        ("PGYER_API_KEY", "two words", "API Key alone"),
        ("PGYER_API_KEY", "your_api_key_here", "API Key alone"),
        ("PGYER_API_KEY", "short", "API Key alone"),
        ("PGYER_POLL_SECONDS", "9", "whole number from 10"),
        ("BRIDGE_TEMPLATES", "no-such-folder", "no-such-folder"),
        ("BRIDGE_ROUTES", "no-such-file.toml", "no-such-file.toml"),
        ("BRIDGE_ROUTES", ".", "no file"),
        ("PORT", "65536", "whole number from 0 to 65535"),
        ("PORT", "http", "whole number from 0 to 65535"),
        ("WEB_CONCURRENCY", "0", "whole number from 1"),
        ("WEB_CONCURRENCY", "auto", "whole number from 1"),
        ("LOG_LEVEL", "loud", "DEBUG, INFO, WARNING, ERROR, CRITICAL"),
        ("LOG_FORMAT", "xml", "text, json"),
        ("DATABASE_URL", "mysql://u@h/d", "sqlite:///, postgres:// or postgresql://"),
        ("DATABASE_URL", "bridge.db", "sqlite:///, postgres:// or postgresql://"),
        ("DATABASE_URL", "sqlite://", "must name a file"),
        ("DATABASE_URL", "sqlite:///", "must name a file"),
        ("DATABASE_URL", "sqlite://bridge.db", "must name a file"),
        ("DATABASE_URL", "sqlite:////", "must name a file"),
        ("DATABASE_URL", "sqlite:////data/", "must name a file"),
        ("DATABASE_URL", "postgres://u%zz:p@h/d", "must be like postgres://"),
        ("DATABASE_URL", "sqlite:///:memory:", "must name a file"),
        ("DATABASE_URL", "sqlite:///file::memory:?uri=true", "must name a file"),
        ("DATABASE_URL", "sqlite:///?timeout=5", "must name a file"),
        ("DATABASE_URL", "postgres://u:p@h:port/d", "port"),
        ("DATABASE_URL", "sqlite:///file:x?mode=memory&uri=true", "must name a file"),
        ("BRIDGE_TOKEN", "one,two,three", "more than two"),
        ("BRIDGE_TOKEN", "with/slash", "letters, digits"),
        ("BRIDGE_TOKEN", "with space", "letters, digits"),
        ("BRIDGE_TOKEN", "口令", "letters, digits"),
        ("BRIDGE_TOKEN", "good,b?d", "letters, digits"),
        ("WECOM_BOT_KEY", "not a key", "bare key"),
        ("WECOM_BOT_KEY", "https://qyapi.weixin.qq.com/cgi-bin/webhook/send", "bare key"),
        ("WECOM_BOT_KEY", "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=", "bare key"),
        ("WECOM_BOT_KEY", "https://a.b/send?key=1&key=2", "bare key"),
        ("WECOM_BOT_KEY", "ftp://a.b/send?key=1", "bare key"),
        ("WECOM_BOT_KEY", "https:///send?key=1", "bare key"),
        ("WECOM_BOT_KEY", "http://[::1/send?key=1", "bare key"),
        ("WECOM_BOT_KEY_DEV", "钥匙", "bare key"),
        ("WECOM_BOT_KEY_A-B", "key", "letters, digits"),
        ("WECOM_BOT_KEY_研发", "key", "letters, digits"),
        ("WECOM_BOT_KEY_", "key", "letters, digits"),
        ("WECOM_BOT_KEY_DEFAULT", "key", "the default bot is WECOM_BOT_KEY"),
    ],
)
def test_it_names_the_variable_with_a_bad_value(name: str, value: str, hint: str) -> None:
    text = problem(**{name: value})
    assert name in text.replace(":", " ").split()
    assert hint in text
    assert "\n" not in text


@pytest.mark.parametrize("value", ["", ","])
def test_a_missing_key_and_a_missing_token_are_two_problems(value: str) -> None:
    _, found = load({"BRIDGE_TOKEN": value})
    assert [text.split(":")[0] for text in found] == [
        "WECOM_BOT_KEY is not set",
        "BRIDGE_TOKEN is not set",
    ]


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("BRIDGE_RATES", "did you mean BRIDGE_RATE?"),
        ("BRIDGE_TOKENS", "did you mean BRIDGE_TOKEN?"),
        ("BRIDGE_TIME_ZONE", "did you mean BRIDGE_TIMEZONE?"),
        ("BRIDGE_ADMIN_PASWORD", "did you mean BRIDGE_ADMIN_PASSWORD?"),
        ("BRIDGE_ADMIN_PASSWORD_FIEL", "did you mean BRIDGE_ADMIN_PASSWORD_FILE?"),
        ("WECOM_BOTKEY", "did you mean WECOM_BOT_KEY?"),
        ("WECOM_API", "did you mean WECOM_API_URL?"),
        ("BRIDGE_PORT", "did you mean PORT?"),
        ("WECOM_PORT", "did you mean PORT?"),
        ("BRIDGE_LOG_LEVEL", "did you mean LOG_LEVEL?"),
        ("BRIDGE_LOGFORMAT", "did you mean LOG_FORMAT?"),
        ("BRIDGE_WEB_CONCURRENCY", "did you mean WEB_CONCURRENCY?"),
        ("BRIDGE_DATABASE_URL", "did you mean DATABASE_URL?"),
        ("BRIDGE_DATABASE", "did you mean DATABASE_URL?"),
        ("BRIDGE_BOT_KEY", "did you mean WECOM_BOT_KEY?"),
        ("BRIDGE_WECOM_BOT_KEY", "did you mean WECOM_BOT_KEY?"),
        ("WECOM_TOKEN", "did you mean BRIDGE_TOKEN?"),
        ("WECOM_API_URL_FILE", "did you mean WECOM_API_URL?"),
        ("BRIDGE_RATE_FILE", "did you mean BRIDGE_RATE?"),
        ("WECOM_BOT_KEYS_DEV", "did you mean WECOM_BOT_KEY?"),
        ("PGYER_KEY", "did you mean PGYER_API_KEY?"),
        ("WECOM_KEY", "did you mean WECOM_BOT_KEY?"),
        ("PGYER_TOKEN", "did you mean BRIDGE_TOKEN?"),
        ("PGYER_WEBHOOK", "table in the README"),
        ("BRIDGE_QQQQQQQQ", "table in the README"),
    ],
)
@pytest.mark.parametrize("value", ["a-value-not-to-show", " 1"])
def test_it_stops_at_a_name_that_it_does_not_know(name: str, suggestion: str, value: str) -> None:
    text = problem(**{name: value})
    assert text.startswith(f"{name} is not a variable of the bridge")
    assert suggestion in text
    assert "not-to-show" not in text


def test_a_plain_variable_does_not_come_from_a_file(folder: Path) -> None:
    (folder / "rate").write_text("5")
    assert "BRIDGE_RATE_FILE is not a variable" in problem(BRIDGE_RATE_FILE="rate")


def test_it_reports_every_problem_at_once(folder: Path) -> None:
    (folder / "routes.toml").write_text('[[route]]\nbots = "nobody"\n[[route]]\nmood = "bad"\n')
    with pytest.raises(SettingsError) as refused:
        configure(
            {
                "WECOM_BOT_KEY_DEV": "https://nowhere",
                "BRIDGE_RATE": "many",
                "BRIDGE_TIMEZONE": "Nowhere",
                "BRIDGE_TEMPLATE": "x",
                "DATABASE_URL": "oracle://x",
                "BRIDGE_ADMIN_PASSWORD_FILE": "missing",
                "LOG_LEVEL": "loud",
                "PORT": "x",
            }
        )
    names = [
        "WECOM_BOT_KEY is",
        "WECOM_BOT_KEY_DEV is",
        "BRIDGE_TOKEN is",
        "BRIDGE_RATE is",
        "BRIDGE_TIMEZONE is",
        "BRIDGE_TEMPLATE is",
        "DATABASE_URL must",
        "BRIDGE_ADMIN_PASSWORD_FILE:",
        "LOG_LEVEL is",
        "PORT is",
        "routes.toml:1 (rule 1)",
        "routes.toml:3 (rule 2)",
    ]
    report = refusal(refused.value)
    lines = report.splitlines()
    assert lines[0] == f"The bridge cannot start: {len(names)} problem(s) to fix first."
    assert len(lines) == 1 + len(names)
    for name in names:
        assert sum(line.startswith(f"  - {name}") for line in lines[1:]) == 1, f"{name}\n{report}"


# --- files ---


def test_it_takes_the_templates_that_are_named(folder: Path) -> None:
    (folder / "ours").mkdir()
    assert good(BRIDGE_TEMPLATES="ours").templates == Path("ours")


def test_it_takes_the_templates_here_before_its_own(folder: Path) -> None:
    assert (default_templates() / "default.markdown.j2").is_file()
    (folder / "templates").mkdir()
    assert default_templates() == Path("templates")


def test_it_takes_routes_toml_where_there_is_one(folder: Path) -> None:
    (folder / "routes.toml").write_text('\ufeff[[route]]\ntype = "crashlog"\n', encoding="utf-8")
    settings, routes = configure(NEEDED)
    assert settings.routes == Path("routes.toml")
    assert [route.conditions for route in routes] == [{"type": ("crashlog",)}]


def test_it_takes_the_routes_that_are_named(folder: Path) -> None:
    (folder / "routes.toml").write_text("[[route]]\nbots = []\n")
    (folder / "mine.toml").write_text("[[route]]\n[[route]]\n")
    settings, routes = configure({**NEEDED, "BRIDGE_ROUTES": "mine.toml"})
    assert settings.routes == Path("mine.toml")
    assert len(routes) == 2


def test_it_needs_no_routes() -> None:
    assert configure(NEEDED)[1] == []


def test_routes_that_are_no_text_are_a_problem(folder: Path) -> None:
    (folder / "routes.toml").write_bytes("# 路由\n".encode("gbk"))
    with pytest.raises(SettingsError) as refused:
        configure(NEEDED)
    [only] = refused.value.problems
    assert only.startswith("routes.toml: cannot be read as UTF-8 text")


# --- warnings ---


def test_it_warns_of_one_key_under_two_names() -> None:
    settings = good(WECOM_BOT_KEY_DEV=WECOM + KEY, WECOM_BOT_KEY_OPS="another")
    [warning] = settings.warnings
    assert "WECOM_BOT_KEY, WECOM_BOT_KEY_DEV have the same key" in warning
    assert KEY not in warning


@pytest.mark.parametrize("token", ["hunter2", f"{TOKEN},fifteen-letters"])
def test_it_warns_of_a_token_that_can_be_guessed(token: str) -> None:
    [warning] = good(BRIDGE_TOKEN=token).warnings
    assert "BRIDGE_TOKEN is short" in warning
    assert token not in warning


def test_it_does_not_warn_of_sixteen_letters() -> None:
    assert good(BRIDGE_TOKEN="sixteen-letters-").warnings == []


def test_an_error_says_everything_also_where_nobody_asks_for_the_report() -> None:
    values: dict[str, Any] = {"BRIDGE_RATE": "x", "PORT": "y"}
    with pytest.raises(SettingsError, match=r"(?s)BRIDGE_RATE.*PORT"):
        configure({**NEEDED, **values})
