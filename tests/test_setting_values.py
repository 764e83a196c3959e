"""Bots, addresses, tokens, passwords and databases: what is read, and what is refused."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from environments import KEY, NEEDED, TOKEN, WECOM, good, problem, webhooks

from bridge import configure
from bridge.errors import SettingsError
from bridge.model import Secret


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Run in an empty folder, so that no routes.toml or templates of the project are found."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path


# --- bots ---


@pytest.mark.parametrize(
    "value",
    [
        KEY,
        f"  {KEY}\n",
        WECOM + KEY,
        f"\t{WECOM}{KEY} ",
    ],
)
def test_a_bot_is_a_bare_key_or_a_whole_url(value: str) -> None:
    assert webhooks(good(WECOM_BOT_KEY=value)) == {"default": WECOM + KEY}


@pytest.mark.parametrize("base", ["http://127.0.0.1:9000", "http://127.0.0.1:9000/"])
def test_the_api_url_is_the_base_of_bare_keys_only(base: str) -> None:
    settings = good(WECOM_API_URL=base, WECOM_BOT_KEY_DEV=WECOM + "key-of-dev")
    assert webhooks(settings) == {
        "default": f"http://127.0.0.1:9000/cgi-bin/webhook/send?key={KEY}",
        "dev": WECOM + "key-of-dev",
    }


def test_the_webhook_of_a_private_wecom_stays_as_it_is() -> None:
    url = "https://wecom.corp.example:8443/proxy/cgi-bin/webhook/send?debug=1&key=abc"
    assert webhooks(good(WECOM_BOT_KEY=url)) == {"default": url}


def test_a_bot_is_named_by_the_end_of_its_variable_in_lower_case() -> None:
    settings = good(WECOM_BOT_KEY_DEV="k1", WECOM_BOT_KEY_Qa_2="k2", WECOM_BOT_KEY_ops="k3")
    assert webhooks(settings) == {
        "default": WECOM + KEY,
        "dev": WECOM + "k1",
        "qa_2": WECOM + "k2",
        "ops": WECOM + "k3",
    }


def test_two_names_for_one_bot_are_a_problem() -> None:
    text = problem(WECOM_BOT_KEY_DEV="k1", WECOM_BOT_KEY_dev="k2")
    assert "WECOM_BOT_KEY_DEV and WECOM_BOT_KEY_dev name the same bot" in text


def test_a_broken_key_does_not_make_its_bot_unknown_to_the_routes(folder: Path) -> None:
    (folder / "routes.toml").write_text('[[route]]\nbots = "dev"\n')
    with pytest.raises(SettingsError) as refused:
        configure({**NEEDED, "WECOM_BOT_KEY_DEV": "not a key"})
    [only] = refused.value.problems
    assert only.startswith("WECOM_BOT_KEY_DEV ")


ONE = "a variable of its own, such as WECOM_BOT_KEY_DEV"


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (f"{WECOM}{KEY} {WECOM}another-key", ONE),
        (f"{WECOM}{KEY}\n{WECOM}another-key", ONE),
        (f"{WECOM}{KEY},{WECOM}another-key", ONE),
        (f"{WECOM}{KEY}{WECOM}another-key", ONE),
        (f"{WECOM}{KEY};another-key", ONE),
        (f"{KEY} another-key", ONE),
        (f"{KEY},another-key", ONE),
        (f"{KEY}，another-key", ONE),
        (f"{KEY}、another-key", ONE),
        (f"{KEY}|another-key", ONE),
        ("693a91f6 7b4c 4bc4", "without quotes or blanks"),
        ("693a91f6-\n7b4c-4bc4", "without quotes or blanks"),
        (f"{WECOM}693a91f6- 7b4c-4bc4", "without quotes or blanks"),
        (f"{WECOM}693a91f6-\r\n7b4c", "without quotes or blanks"),
        (f"{WECOM}693a91f6%207b4c", "wrong characters"),
        (f"{WECOM}693a91f6+7b4c", "wrong characters"),
        (f"{WECOM}{KEY}）", "wrong characters"),
        (f'{WECOM}{KEY}"', "wrong characters"),
        (f"{WECOM}<KEY>", "wrong characters"),
        (f'"{KEY}"', "bare key"),
        (f"key={KEY}", "bare key"),
        ("<KEY>", "bare key"),
        ("...", "bare key"),
        ("qyapi.weixin.qq.com", "bare key"),
        ("paste-the-key-here", "placeholder"),
        ("YOUR_KEY", "placeholder"),
        ("your-key", "placeholder"),
        ("yourkey", "placeholder"),
        ("YOUR_WECOM_KEY", "placeholder"),
        ("put.it.here", "placeholder"),
        ("changeme", "placeholder"),
        ("xxx", "placeholder"),
        ("XXXXXXXX-XXXX-XXXX-XXXX-XXXXXXXXXXXX", "placeholder"),
        ("null", "placeholder"),
        (f"{WECOM}YOUR_KEY", "placeholder"),
        (f"{WECOM}xxxxxxxx", "placeholder"),
        ("https://qyapi.weixin.qq.com:99999/cgi-bin/webhook/send?key=a1", "host and port"),
        ("https://qyapi.weixin.qq.com:port/cgi-bin/webhook/send?key=a1", "host and port"),
        ("https://qyapi.weixin.qq.com:0/cgi-bin/webhook/send?key=a1", "host and port"),
        ("https://qyapi.weixin.qq.com:-1/cgi-bin/webhook/send?key=a1", "host and port"),
        ("https://qyapi..weixin.qq.com/cgi-bin/webhook/send?key=a1", "host and port"),
        ("https://.example.com/cgi-bin/webhook/send?key=a1", "host and port"),
        ("https://qyapi*example.com/cgi-bin/webhook/send?key=a1", "host and port"),
        (f"https://{'a' * 64}.example.com/send?key=a1", "host and port"),
        ("https://999.1.1.1/send?key=a1", "host and port"),
        ("https://10.0.0/send?key=a1", "host and port"),
        ("https://https//qyapi.weixin.qq.com/cgi-bin/webhook/send?key=a1", "host and port"),
        ("https:\\\\qyapi.weixin.qq.com\\cgi-bin?key=a1", "host and port"),
        ("https://qyapi.weixin.qq.com/?key=a1", "not of a webhook"),
        ("https://qyapi.weixin.qq.com/cgi-bin/webhook/upload_media?key=a1", "not of a webhook"),
        ("https://QYAPI.weixin.qq.com/cgi-bin/webhook/send/?key=a1", "not of a webhook"),
    ],
)
@pytest.mark.parametrize("name", ["WECOM_BOT_KEY", "WECOM_BOT_KEY_DEV"])
def test_a_key_that_can_only_be_a_mistake_is_refused(name: str, value: str, hint: str) -> None:
    text = problem(**{name: value})
    assert text.startswith(f"{name} ")
    assert hint in text
    assert KEY not in text


@pytest.mark.parametrize(
    "value",
    [
        "demo",
        "key-of-default",
        "yourikas-key",
        "0a1b2c3d-0000-4000-8000-000000000000",
        "http://127.0.0.1:9000/cgi-bin/webhook/send?key=demo",
        "http://[::1]:9000/cgi-bin/webhook/send?key=demo",
        "http://wecom_proxy:80/hook?key=demo",
        "https://企业.example/hook?key=demo",
    ],
)
def test_an_unusual_key_or_address_is_taken(value: str) -> None:
    assert value in webhooks(good(WECOM_BOT_KEY=value))["default"]


@pytest.mark.parametrize(
    "value",
    [
        "https://wecom.example:8443",
        "https://wecom.example:8443/",
        "https://wecom.example:8443/cgi-bin",
        "https://wecom.example:8443/cgi-bin/webhook/",
        "https://wecom.example:8443/cgi-bin/webhook/send",
    ],
)
def test_the_path_of_a_webhook_is_not_doubled_behind_the_api_url(value: str) -> None:
    webhook = "https://wecom.example:8443/cgi-bin/webhook/send?key=" + KEY
    assert webhooks(good(WECOM_API_URL=value)) == {"default": webhook}


def test_the_api_url_keeps_the_path_of_a_proxy() -> None:
    settings = good(WECOM_API_URL="https://proxy.example/wecom/cgi-bin/")
    url = f"https://proxy.example/wecom/cgi-bin/webhook/send?key={KEY}"
    assert webhooks(settings) == {"default": url}


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("WECOM_API_URL", WECOM + KEY, "the key belongs into WECOM_BOT_KEY"),
        ("WECOM_API_URL", "https://wecom.example:99999", "address such as"),
        ("WECOM_API_URL", "https://wecom example", "address such as"),
        ("WECOM_API_URL", "https://wecom.\nexample", "address such as"),
        ("WECOM_API_URL", "https://wecom..example", "address such as"),
        ("WECOM_API_URL", "https://a.example https://b.example", "address such as"),
        ("WECOM_API_URL", "https://a.example?x=1", "without ? and #"),
        ("WECOM_API_URL", "https://a.example/#top", "without ? and #"),
        ("BRIDGE_HEARTBEAT_URL", "hc.example.com/ping/0f3b", "whole http or https address"),
        ("BRIDGE_HEARTBEAT_URL", "ftp://hc.example.com/ping", "whole http or https address"),
        ("BRIDGE_HEARTBEAT_URL", "0f3b9c54", "whole http or https address"),
        ("BRIDGE_PUBLIC_URL", "https://a.example:0", "address such as"),
        ("BRIDGE_PUBLIC_URL", "https://a.example:80:80", "address such as"),
        ("BRIDGE_PUBLIC_URL", "https://user:word@a.example", "without a password"),
        ("BRIDGE_PUBLIC_URL", f"https://a.example/pgyer/{TOKEN}", "without"),
        ("BRIDGE_PUBLIC_URL", "https://a.example/console/", "without"),
        ("BRIDGE_TOKEN", ".", "needs letters or digits"),
        ("BRIDGE_TOKEN", "..", "needs letters or digits"),
        ("BRIDGE_TOKEN", "-", "needs letters or digits"),
        ("BRIDGE_TOKEN", "~_~", "needs letters or digits"),
        ("BRIDGE_TOKEN", f"{TOKEN},...", "needs letters or digits"),
        ("BRIDGE_TOKEN", "changeme", "placeholder"),
        ("BRIDGE_TOKEN", "your-token", "placeholder"),
        ("BRIDGE_TOKEN", "xxxx", "placeholder"),
        ("BRIDGE_TOKEN", "a-long-random-word-here", "placeholder"),
        ("BRIDGE_TOKEN", "<token>", "letters, digits"),
    ],
)
def test_an_address_or_token_that_can_only_be_a_mistake_is_refused(
    name: str, value: str, hint: str
) -> None:
    text = problem(**{name: value})
    assert text.startswith(f"{name} ")
    assert hint in text
    for secret in (KEY, TOKEN, "user:word"):
        assert secret not in text


@pytest.mark.parametrize("value", ["https://a.example/pgyer", "https://a.example/tools/console-1"])
def test_the_public_url_may_have_a_path(value: str) -> None:
    assert good(BRIDGE_PUBLIC_URL=value).public_url == value


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("demo", "at least 8 characters"),
        ("1234567", "at least 8 characters"),
        ("七个字的密码呀", "at least 8 characters"),
        ("changeme", "placeholder"),
        ("your-password", "placeholder"),
        ("<password>", "placeholder"),
        ("${PASSWORD}", "placeholder"),
        ("xxxxxxxxxx", "placeholder"),
    ],
)
def test_a_password_that_can_only_be_a_mistake_is_refused(value: str, hint: str) -> None:
    text = problem(BRIDGE_ADMIN_PASSWORD=value)
    assert text.startswith("BRIDGE_ADMIN_PASSWORD ")
    assert hint in text
    assert value not in text


@pytest.mark.parametrize(
    "value", ["12345678", "八个字的密码是它", "change the world", "yours truly"]
)
def test_eight_characters_are_a_password(value: str) -> None:
    assert good(BRIDGE_ADMIN_PASSWORD=value).admin_password == Secret(value)


# --- the database ---


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("postgres://u:p@h:5432/d", "postgresql://u:p@h:5432/d"),
        ("postgresql://u:p@h/d?sslmode=require", "postgresql://u:p@h/d?sslmode=require"),
        (" postgres:///d\n", "postgresql:///d"),
        ("postgres://u:p#w@h/d", "postgresql://u:p%23w@h/d"),
        ("postgres://u:p@w@h/d?sslmode=require", "postgresql://u:p%40w@h/d?sslmode=require"),
        ("postgres://u:p@h/d?application_name=a@b", "postgresql://u:p@h/d?application_name=a@b"),
        ("sqlite:///a.db", "sqlite:///a.db"),
        ("sqlite:////data/a.db", "sqlite:////data/a.db"),
    ],
)
def test_it_reads_the_database_url(given: str, read: str) -> None:
    assert good(DATABASE_URL=given).database_url.reveal() == read


def test_it_says_how_to_get_psycopg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "needs psycopg: pip install" in problem(DATABASE_URL="postgres://u:p@h/d")


@pytest.mark.parametrize(
    ("parameters", "hint"),
    [
        ("schema=public", "schema, which PostgreSQL does not know: write options=-csearch_path"),
        ("currentSchema=x", "write options=-csearch_path"),
        ("pgbouncer=true", "pgbouncer, which PostgreSQL does not know: leave it out, a pooler"),
        ("pgbouncer=true&connection_limit=1", "pgbouncer"),
        ("sslmode=require&connection_limit=1", "connection_limit"),
        ("pool_timeout=0", "leave it out, a pooler needs no setting"),
        ("sslaccept=strict", "write sslmode=require instead"),
        ("ssl=1", "write sslmode=require instead"),
        ("useSSL=", "write sslmode=require instead"),
        ("supa=base-pooler.x", "supa, which PostgreSQL does not know: leave it out"),
        ("sslmode=bogus", "sslmode with a value that PostgreSQL does not know"),
        ("connect_timeout=abc", "connect_timeout with a value"),
        ("port=abc", "port with a value"),
        ("SSLMODE=require", "SSLMODE, which PostgreSQL does not know"),
        ("a%20b=1", "…, which PostgreSQL does not know"),
    ],
)
def test_a_parameter_of_other_tools_is_refused(parameters: str, hint: str) -> None:
    text = problem(DATABASE_URL=f"postgres://u:pass-of-db@h/d?{parameters}")
    assert text.startswith("DATABASE_URL has the parameter ")
    assert hint in text
    assert "pass-of-db" not in text


@pytest.mark.parametrize(
    "parameters",
    ["sslmode=require&channel_binding=require", "connect_timeout=5", "options=-csearch_path%3Dx"],
)
def test_a_parameter_of_libpq_is_kept(parameters: str) -> None:
    url = f"postgresql://u:pass-of-db@h/d?{parameters}"
    assert good(DATABASE_URL=url).database_url.reveal() == url
