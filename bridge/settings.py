"""Environment → frozen Settings; whatever is wrong is listed in one go (README, "Variables")."""

import difflib
import importlib.util
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qs, quote, unquote, urlsplit
from zoneinfo import ZoneInfo

from bridge.model import Bot, Secret

T = TypeVar("T")

_SECRETS = ("WECOM_BOT_KEY", "BRIDGE_TOKEN", "BRIDGE_ADMIN_PASSWORD", "DATABASE_URL")
_PLAIN = [
    "WECOM_API_URL",
    "BRIDGE_TEMPLATES",
    "BRIDGE_ROUTES",
    "BRIDGE_TIMEZONE",
    "BRIDGE_RATE",
    "BRIDGE_DEDUPE_SECONDS",
    "BRIDGE_MAX_AGE_HOURS",
    "BRIDGE_RETENTION_DAYS",
    "BRIDGE_PUBLIC_URL",
    "BRIDGE_DISPATCH",
]
_KNOWN = {*_PLAIN, *_SECRETS, *(f"{name}_FILE" for name in _SECRETS)}
_BOT_PREFIX = "WECOM_BOT_KEY_"
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


@dataclass(frozen=True)
class Settings:
    """What the environment says, checked. Ages are in seconds, `rate` in messages per 60 s."""

    bots: Mapping[str, Bot]
    tokens: tuple[Secret, ...]
    admin_password: Secret | None
    database_url: Secret
    templates: Path
    routes: Path | None
    timezone: ZoneInfo
    rate: int
    dedupe: float
    max_age: float
    retention: float
    public_url: str
    dispatch: bool
    port: int
    workers: int
    log_level: str
    log_format: str

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return every string that must never be shown, longest first."""
        found = {token.reveal() for token in self.tokens}
        for bot in self.bots.values():
            url = bot.webhook.reveal()
            found |= {url, *parse_qs(urlsplit(url).query).get("key", ())}
        if self.admin_password:
            found.add(self.admin_password.reveal())
        url = self.database_url.reveal()
        if password := _password(url):
            found |= {url, password, unquote(password)}
        return tuple(sorted(found, key=len, reverse=True))

    @property
    def warnings(self) -> list[str]:
        """Return what is allowed and yet likely a mistake."""
        names: dict[Secret, list[str]] = {}
        for bot in self.bots.values():
            names.setdefault(bot.webhook, []).append(bot.name)
        found = [
            f"bots {', '.join(same)} have the same key: WeCom counts their messages together"
            for same in names.values()
            if len(same) > 1
        ]
        if any(len(token.reveal()) < 16 for token in self.tokens):
            found.append("BRIDGE_TOKEN is short: whoever guesses it can post to your groups")
        return found


class _Reader:
    """Takes values out of an environment and gathers what is wrong with them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.problems: list[str] = []

    def text(self, name: str) -> str:
        """Return a variable's trimmed value, '' if unset; a secret may come as `<NAME>_FILE`."""
        value = self.environ.get(name, "").strip()
        if not self.is_secret(name):
            return value
        path = self.environ.get(f"{name}_FILE", "").strip()
        if not path:
            return value
        if value:
            self.problems.append(f"{name} and {name}_FILE are both set: keep one of them")
            return value
        try:
            value = Path(path).read_text(encoding="utf-8-sig").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8 text"
            self.problems.append(f"{name}_FILE: cannot read {path}: {reason}")
            return ""
        if not value:
            self.problems.append(f"{name}_FILE: {path} is empty")
        return value

    @staticmethod
    def is_secret(name: str) -> bool:
        return name in _SECRETS or name.startswith(_BOT_PREFIX)

    def parsed(self, name: str, default: str, parse: Callable[[str], T]) -> T:
        """Return a variable through `parse`, whose ValueError says what would be right."""
        try:
            return parse(self.text(name) or default)
        except ValueError as error:
            # A webhook's URL holds its key, also where it was pasted into the wrong variable.
            hidden = self.is_secret(name) or "key=" in self.text(name)
            shown = "" if hidden else f" is {self.text(name)!r}, but"
            self.problems.append(f"{name}{shown} {error}")
            return parse(default)

    def missing(self, name: str, hint: str) -> None:
        """Record that a required variable is not set, unless its file was already complained of."""
        if not any(problem.startswith(f"{name}_FILE") for problem in self.problems):
            self.problems.append(f"{name} is not set: {hint}")


def load(environ: Mapping[str, str]) -> tuple[Settings, list[str]]:
    """Read all variables of the contract; return them with every problem found.

    Where there is a problem the settings are for checking on with, not for use.
    """
    read = _Reader(environ)
    settings = Settings(
        bots=_bots(read),
        tokens=_tokens(read),
        admin_password=_optional(read.text("BRIDGE_ADMIN_PASSWORD")),
        database_url=Secret(read.parsed("DATABASE_URL", "sqlite:///bridge.db", _database_url)),
        templates=_templates(read),
        routes=_routes(read),
        timezone=read.parsed("BRIDGE_TIMEZONE", "Asia/Shanghai", _timezone),
        rate=read.parsed("BRIDGE_RATE", "18", _whole(1)),
        dedupe=read.parsed("BRIDGE_DEDUPE_SECONDS", "600", _number(allow_zero=True)),
        max_age=read.parsed("BRIDGE_MAX_AGE_HOURS", "24", _number()) * 3600,
        retention=read.parsed("BRIDGE_RETENTION_DAYS", "30", _number()) * 86400,
        public_url=read.parsed("BRIDGE_PUBLIC_URL", "", lambda v: _http_url(v) if v else ""),
        dispatch=read.parsed("BRIDGE_DISPATCH", "on", _one_of("on", "off", fold=str.lower)) == "on",
        port=read.parsed("PORT", "8000", _whole(0, 65535)),
        workers=read.parsed("WEB_CONCURRENCY", "1", _whole(1)),
        log_level=read.parsed("LOG_LEVEL", "INFO", _one_of(*_LEVELS, fold=str.upper)),
        log_format=read.parsed("LOG_FORMAT", "text", _one_of("text", "json", fold=str.lower)),
    )
    return settings, [*read.problems, *_unknown(environ)]


def _unknown(environ: Mapping[str, str]) -> list[str]:
    problems = []
    for name in sorted(environ):
        if not name.startswith(("BRIDGE_", "WECOM_")) or name in _KNOWN:
            continue
        if not name.startswith(_BOT_PREFIX):
            close = difflib.get_close_matches(name, _KNOWN, 1)
            hint = f"did you mean {close[0]}?" if close else "see the table in the README"
            problems.append(f"{name} is not a variable of the bridge: {hint}")
    return problems


def _bots(read: _Reader) -> dict[str, Bot]:
    api = read.parsed("WECOM_API_URL", "https://qyapi.weixin.qq.com", _http_url)
    named = {"default": "WECOM_BOT_KEY"}
    for variable in sorted(read.environ):
        if not variable.startswith(_BOT_PREFIX) or variable == "WECOM_BOT_KEY_FILE":
            continue
        if not read.environ[variable].strip():
            continue
        variable = variable.removesuffix("_FILE")
        name = variable.removeprefix(_BOT_PREFIX).lower()
        if not re.fullmatch(r"[a-z0-9_]+", name):
            read.problems.append(f"{variable}: a bot's name is letters, digits and _ only")
        elif named.setdefault(name, variable) != variable:
            hint = "keep one of them" if name != "default" else "the default bot is WECOM_BOT_KEY"
            read.problems.append(f"{named[name]} and {variable} name the same bot: {hint}")
    bots = {}
    for name, variable in named.items():
        value = read.text(variable)
        if not value:
            if name == "default":
                read.missing(variable, "paste the key or the webhook URL of a WeCom group robot")
            continue
        bots[name] = Bot(name, Secret(""))  # so that no route is blamed for a broken key
        try:
            bots[name] = Bot(name, Secret(_webhook(value, api)))
        except ValueError as error:
            read.problems.append(f"{variable} {error}")
    return bots


def _webhook(value: str, api: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_.~-]+", value):
        return f"{api}/cgi-bin/webhook/send?key={value}"
    try:
        parts = urlsplit(value)
    except ValueError:
        parts = urlsplit("")
    keys = parse_qs(parts.query).get("key", [])
    if parts.scheme not in ("http", "https") or not parts.hostname or len(keys) != 1:
        raise ValueError(
            "is neither a bare key nor a webhook URL such as "
            "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=…"
        )
    return value


def _tokens(read: _Reader) -> tuple[Secret, ...]:
    given = [token.strip() for token in read.text("BRIDGE_TOKEN").split(",") if token.strip()]
    if not given:
        read.missing("BRIDGE_TOKEN", "choose a long random word, e.g. by: openssl rand -hex 16")
    if len(given) > 2:
        read.problems.append("BRIDGE_TOKEN has more than two tokens: the old and the new one")
    if not all(re.fullmatch(r"[A-Za-z0-9._~-]+", token) for token in given):
        read.problems.append("BRIDGE_TOKEN stands in a URL: only letters, digits and . _ ~ -")
    return tuple(Secret(token) for token in given)


def _optional(value: str) -> Secret | None:
    return Secret(value) if value else None


def _templates(read: _Reader) -> Path:
    given = read.text("BRIDGE_TEMPLATES")
    if not given:
        return default_templates()
    if not Path(given).is_dir():
        read.problems.append(f"BRIDGE_TEMPLATES: there is no folder {given!r}")
    return Path(given)


def default_templates() -> Path:
    """Return `templates` here, else the folder that came with the bridge."""
    package = Path(__file__).parent
    places = (Path("templates"), package / "default_templates", package.parent / "templates")
    return next((place for place in places if place.is_dir()), places[0])


def _routes(read: _Reader) -> Path | None:
    given = read.text("BRIDGE_ROUTES")
    if not given:
        return Path("routes.toml") if Path("routes.toml").exists() else None
    if not Path(given).is_file():
        read.problems.append(f"BRIDGE_ROUTES: there is no file {given!r}")
        return None
    return Path(given)


def _database_url(value: str) -> str:
    scheme, _, rest = value.partition("://")
    if scheme == "sqlite":
        if not rest.startswith("/") or re.search(r"^/$|:memory:|\?", rest):
            raise ValueError(
                "must name a file, without options: "
                "sqlite:///bridge.db (or sqlite:////data/bridge.db)"
            )
        return value
    if scheme in ("postgres", "postgresql"):
        if not importlib.util.find_spec("psycopg"):
            raise ValueError("needs psycopg: pip install 'pgyer-wecom-bridge[postgres]'")
        # libpq wants what is special in a password to be escaped; whoever pasted it may not know.
        if password := _password(value):
            rest = rest.replace(f":{password}@", f":{quote(unquote(password), safe='')}@", 1)
        value = f"postgresql://{rest}"
        try:
            good = urlsplit(value).port != 0
        except ValueError:
            good = False
        if not good:
            raise ValueError(
                "must be like postgres://user:password@host:5432/name, its port a number"
            )
        return value
    raise ValueError("must begin with sqlite:///, postgres:// or postgresql://")


def _password(url: str) -> str:
    """Return the password in a database's URL as it is written there, '' where there is none."""
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite":
        return ""
    # A password may hold any mark, `@` and `?` too; behind the host an `@` is an option's.
    user, at, host = rest.partition("@")
    return f"{user}{at}{host.partition('?')[0]}".rpartition("@")[0].partition(":")[2]


def _http_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        good = parts.scheme in ("http", "https") and parts.hostname and not parts.query
    except ValueError:
        good = False
    if not good:
        raise ValueError("must be an address such as https://example.com")
    return value.rstrip("/")


def _timezone(value: str) -> ZoneInfo:
    try:
        return ZoneInfo(value)
    except (OSError, ValueError, KeyError):
        raise ValueError("must be a time zone such as Asia/Shanghai or UTC") from None


def _whole(least: int, most: int = 10**6) -> Callable[[str], int]:
    def parse(value: str) -> int:
        if not re.fullmatch(r"[0-9]{1,7}", value) or not least <= int(value) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(value)

    return parse


def _number(allow_zero: bool = False) -> Callable[[str], float]:
    def parse(value: str) -> float:
        good = re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value)
        if not good or (float(value) == 0 and not allow_zero):
            raise ValueError(f"must be a number {'of 0 or more' if allow_zero else 'above 0'}")
        return float(value)

    return parse


def _one_of(*choices: str, fold: Callable[[str], str]) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if fold(value) not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return fold(value)

    return parse
