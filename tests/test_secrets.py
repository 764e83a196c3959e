"""No secret shows itself, and everything that must be redacted is known."""

import dataclasses
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from environments import KEY, NEEDED, TOKEN, WECOM, good, problem, problems, webhooks

from bridge.model import Bot, Secret
from bridge.settings import load


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Run in an empty folder, so that no routes.toml or templates of the project are found."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path


def test_two_tokens_are_good_during_a_rotation() -> None:
    settings = good(BRIDGE_TOKEN=" the-old-token-of-ours , the-new-token-of-ours,")
    assert [t.reveal() for t in settings.tokens] == [
        "the-old-token-of-ours",
        "the-new-token-of-ours",
    ]


@pytest.mark.parametrize(
    "content",
    [b"%s", b"%s\n", b"  %s \r\n\r\n", b"\xef\xbb\xbf%s\r\n"],
    ids=["bare", "newline", "white space", "BOM"],
)
def test_a_secret_may_come_from_a_file(folder: Path, content: bytes) -> None:
    for name in ("key", "dev", "token", "password"):
        (folder / name).write_bytes(content % f"the-{name}-in-a-file".encode())
    (folder / "database").write_bytes(content % b"sqlite:////data/bridge.db")
    (folder / "monitor").write_bytes(content % b"https://hc.example.com/ping/0f3b")
    (folder / "pgyer").write_bytes(content % b"0f1e2d3c4b5a69788796a5b4c3d2e1f0")
    settings, found = load(
        {
            "WECOM_BOT_KEY_FILE": str(folder / "key"),
            "WECOM_BOT_KEY_Dev_FILE": str(folder / "dev"),
            "BRIDGE_TOKEN_FILE": f" {folder / 'token'} ",
            "BRIDGE_ADMIN_PASSWORD_FILE": "password",
            "BRIDGE_HEARTBEAT_URL_FILE": "monitor",
            "DATABASE_URL_FILE": "database",
            "PGYER_API_KEY_FILE": "pgyer",
        }
    )
    assert found == []
    assert webhooks(settings) == {
        "default": WECOM + "the-key-in-a-file",
        "dev": WECOM + "the-dev-in-a-file",
    }
    assert settings.tokens == (Secret("the-token-in-a-file"),)
    assert settings.admin_password == Secret("the-password-in-a-file")
    assert settings.database_url == Secret("sqlite:////data/bridge.db")
    assert settings.heartbeat_url == Secret("https://hc.example.com/ping/0f3b")
    assert settings.pgyer_key == Secret("0f1e2d3c4b5a69788796a5b4c3d2e1f0")
    assert "https://hc.example.com/ping/0f3b" in settings.secrets
    assert "0f1e2d3c4b5a69788796a5b4c3d2e1f0" in settings.secrets


SECRET_NAMES = [
    "WECOM_BOT_KEY",
    "WECOM_BOT_KEY_DEV",
    "BRIDGE_TOKEN",
    "BRIDGE_ADMIN_PASSWORD",
    "BRIDGE_HEARTBEAT_URL",
    "DATABASE_URL",
    "PGYER_API_KEY",
]


@pytest.mark.parametrize("name", SECRET_NAMES)
@pytest.mark.parametrize("file", ["missing", ".", "empty", "blank", "binary"])
def test_it_names_the_file_that_holds_no_secret(folder: Path, name: str, file: str) -> None:
    (folder / "empty").touch()
    (folder / "blank").write_text("\ufeff \n")
    (folder / "binary").write_bytes(b"secret\xff\xfe\x00")
    environ = {key: value for key, value in NEEDED.items() if key != name}
    _, found = load({**environ, f"{name}_FILE": file})
    [only] = found
    assert only.startswith(f"{name}_FILE: ")
    assert file in only
    assert "secret" not in only


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_secret_comes_by_one_way_only(folder: Path, name: str) -> None:
    before, after = {
        "DATABASE_URL": ("sqlite:///", ".db"),
        "BRIDGE_HEARTBEAT_URL": ("https://", ".example.com"),
    }.get(name, ("", ""))
    (folder / "file").write_text(f"{before}from-the-file{after}")
    value = f"{before}from-the-variable{after}"
    text = problem(**{name: value, f"{name}_FILE": "file"})
    assert f"{name} and {name}_FILE are both set" in text
    assert "from-the" not in text


HIDDEN = "s3cr3t-word"


@pytest.mark.parametrize(
    "environ",
    [
        {"WECOM_BOT_KEY": f"key {HIDDEN}"},
        {"WECOM_BOT_KEY": f"ftp://a.b/send?key={HIDDEN}"},
        {"WECOM_BOT_KEY_DEV": f"https://{HIDDEN}"},
        {"WECOM_BOT_KEY_DEFAULT": HIDDEN},
        {"WECOM_BOT_KEY_DEV": HIDDEN, "WECOM_BOT_KEY_dev": HIDDEN},
        {"WECOM_BOT_KEY_A-B": HIDDEN},
        {"WECOM_BOT_KEI": HIDDEN},
        {"WECOM_BOT_KEY": HIDDEN, "WECOM_API_URL": f"{WECOM}{HIDDEN}"},
        {"BRIDGE_TOKEN": f"{HIDDEN}/"},
        {"BRIDGE_TOKEN": f"{HIDDEN},b,c"},
        {"BRIDGE_TOKENN": HIDDEN},
        {"BRIDGE_PASSWORD": HIDDEN},
        {"BRIDGE_ADMIN_PASSWORD": HIDDEN, "BRIDGE_ADMIN_PASSWORD_FILE": "x"},
        {"PGYER_API_KEY": f"{HIDDEN} x"},
        {"PGYER_API_KEI": HIDDEN},
        {"PGYER_API_URL": f"https://p.cn/?_api_key={HIDDEN}"},
        {"DATABASE_URL": f"mysql://user:{HIDDEN}@host/name"},
        {"DATABASE_URL": f"sqlite://{HIDDEN}"},
        {"DATABASE_URL": f"postgres://user:{HIDDEN}@host:port/name"},
    ],
    ids=str,
)
def test_no_problem_shows_a_secret(environ: dict[str, str]) -> None:
    found = problems(**environ)
    assert found
    assert HIDDEN not in "\n".join(found)


@dataclasses.dataclass
class Holder:
    secret: Secret
    secrets: tuple[Secret, ...]


def test_a_secret_does_not_show_itself() -> None:
    secret = Secret(HIDDEN)
    settings = good(
        WECOM_BOT_KEY=HIDDEN,
        BRIDGE_TOKEN=HIDDEN,
        BRIDGE_ADMIN_PASSWORD=HIDDEN,
        DATABASE_URL=f"postgres://u:{HIDDEN}@h/d",
    )
    shown = [
        str(secret),
        repr(secret),
        f"{secret}",
        f"{secret!r}",
        f"{secret!s:>12}",
        format(secret),
        format(secret, ""),
        "{} {!r}".format(secret, secret),  # noqa: UP032
        "%s %r" % (secret, secret),  # noqa: UP031
        ascii(secret),
        str([secret]),
        str({secret: secret}),
        repr(Holder(secret, (secret,))),
        repr(Bot("dev", secret)),
        repr(settings),
        str(settings),
    ]
    for text in shown:
        assert HIDDEN not in text
        assert "***" in text


def test_a_secret_does_not_show_in_a_traceback() -> None:
    secret = Secret(HIDDEN)
    with pytest.raises(TypeError) as raised:
        _ = secret + "x"  # type: ignore[operator]
    with pytest.raises(ValueError, match=r"\*\*\*") as second:
        raise ValueError(secret)
    for error in (raised.value, second.value):
        text = "".join(
            traceback.TracebackException.from_exception(error, capture_locals=True).format()
        )
        assert "secret = Secret('***')" in text
        assert HIDDEN not in text


def test_a_secret_reveals_itself_to_who_asks_and_equals_its_like() -> None:
    assert Secret("a").reveal() == "a"
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1


def test_a_bots_fingerprint_tells_keys_apart_and_holds_none() -> None:
    one, two = Bot("a", Secret("https://x?key=1")), Bot("a", Secret("https://x?key=2"))
    assert one.fingerprint == Bot("b", one.webhook).fingerprint != two.fingerprint
    assert len(one.fingerprint) == 16
    int(one.fingerprint, 16)  # it would raise


def test_it_lists_every_secret_longest_first() -> None:
    settings = good(
        WECOM_BOT_KEY_DEV=WECOM + "key-of-dev&x=1",
        BRIDGE_TOKEN="the-old-token-of-ours,the-new-token-of-ours",
        BRIDGE_ADMIN_PASSWORD="open sesame",
        DATABASE_URL="postgres://user:pass-of-db@host:5432/name",
    )
    assert set(settings.secrets) == {
        KEY,
        WECOM + KEY,
        "key-of-dev",
        WECOM + "key-of-dev&x=1",
        "the-old-token-of-ours",
        "the-new-token-of-ours",
        "open sesame",
        "pass-of-db",
        settings.database_url.reveal(),
    }
    assert list(settings.secrets) == sorted(settings.secrets, key=len, reverse=True)


def test_the_secrets_hold_a_password_as_it_is_and_as_the_url_writes_it() -> None:
    secrets = good(DATABASE_URL="postgres://user:p%40ss-%E5%8F%A3@host/name").secrets
    assert {"p%40ss-%E5%8F%A3", "p@ss-口"} <= set(secrets)


@pytest.mark.parametrize("password", ["p[w", "p]w", "a[b]c", "p/w", "p#w", "p?w", "p:w", "p%w"])
def test_a_password_with_any_mark_is_a_secret_or_a_problem(password: str) -> None:
    settings, found = load({**NEEDED, "DATABASE_URL": f"postgres://user:{password}@host/name"})
    assert password not in "\n".join(found)
    if found:
        [only] = found
        assert only.startswith("DATABASE_URL ")
    else:
        assert password in settings.secrets


@pytest.mark.parametrize("url", ["sqlite:////data/b.db", "sqlite:////da:ta@x/b.db"])
def test_a_database_without_a_password_is_no_secret(url: str) -> None:
    assert set(good(DATABASE_URL=url).secrets) == {KEY, WECOM + KEY, TOKEN}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WECOM_API_URL", "693a91f6-7aaa-4bc4-97a0-0ec2sifa5aaa"),
        ("PGYER_API_URL", "0123456789abcdef0123456789abcdef"),
        ("BRIDGE_PUBLIC_URL", "https://status.example.com/api/push/Ab3?status=up"),
    ],
)
def test_a_secret_in_the_variable_of_an_address_is_not_shown(name: str, value: str) -> None:
    _settings, found = load({**NEEDED, name: value})
    assert found[0].startswith(name)
    assert value not in "\n".join(found)


def test_a_password_among_the_options_of_a_database_is_a_secret() -> None:
    url = "postgresql://host/name?user=me&password=hunter2-%26secret"
    settings, _found = load({**NEEDED, "DATABASE_URL": url})
    assert {url, "hunter2-%26secret", "hunter2-&secret"} <= set(settings.secrets)
