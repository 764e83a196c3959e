"""Environment → frozen Settings; whatever is wrong is listed in one go (README, "Variables")."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit
from zoneinfo import ZoneInfo

from bridge import setting_values as values
from bridge.errors import WrongValueError
from bridge.model import Bot, Secret
from bridge.wording import N_, gettext, key_variable, nearest, said

T = TypeVar("T")

_SECRETS = (
    "WECOM_BOT_KEY",
    "BRIDGE_TOKEN",
    "BRIDGE_ADMIN_PASSWORD",
    "BRIDGE_HEARTBEAT_URL",
    "DATABASE_URL",
    "PGYER_API_KEY",
)
PREFIXES = ("BRIDGE_", "WECOM_", "PGYER_")  # of the names that are the bridge's own
_BOT_PREFIX = "WECOM_BOT_KEY_"
_LEVELS = {name: name for name in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")}
_NO_BOT = N_("paste the key or the webhook URL of a WeCom group robot")
_NO_TOKEN = N_(
    "choose a long random word, e.g. by openssl rand -hex 16, and keep it; bridge init does so"
)


def default_templates() -> Path:
    """Return `templates` in the working folder, else the folder that came with the bridge."""
    here = Path("templates")
    return here if here.is_dir() else shipped_templates()


def shipped_templates() -> Path:
    """Return the folder of templates that came with the bridge, as a package or as a checkout."""
    package = Path(__file__).parent
    inside = package / "default_templates"
    return inside if inside.is_dir() else package.parent / "templates"


def _templates(value: str) -> Path:
    if value and not Path(value).is_dir():
        raise WrongValueError("there is no folder of this name")
    return Path(value) if value else default_templates()


def _routes(value: str) -> Path | None:
    if value and not Path(value).is_file():
        raise WrongValueError("there is no file of this name")
    path = Path(value or "routes.toml")
    return path if path.exists() else None


def _variable(
    name: str, default: str, read: Callable[..., Any], unset: str = "", **options: Any
) -> Any:
    """Declare the field that `read`, with these options, makes of a variable.

    Its WrongValueError says what to write instead; `unset` says it where the variable must be set.
    """
    return field(metadata={"variable": (name, default, partial(read, **options), unset)})


@dataclass(frozen=True)
class Settings:
    """The checked environment. Ages are in seconds, `rate` is in calls to WeCom per 60 s."""

    bots: Mapping[str, Bot]
    tokens: tuple[Secret, ...] = _variable("BRIDGE_TOKEN", "", values.tokens, _NO_TOKEN)
    admin_password: Secret | None = _variable("BRIDGE_ADMIN_PASSWORD", "", values.password)
    database_url: Secret = _variable("DATABASE_URL", "sqlite:///bridge.db", values.database_url)
    templates: Path = _variable("BRIDGE_TEMPLATES", "", _templates)
    routes: Path | None = _variable("BRIDGE_ROUTES", "", _routes)
    timezone: ZoneInfo = _variable("BRIDGE_TIMEZONE", "Asia/Shanghai", values.timezone)
    rate: int = _variable("BRIDGE_RATE", "18", values.whole, least=1)
    dedupe: float = _variable("BRIDGE_DEDUPE_SECONDS", "600", values.number, allow_zero=True)
    max_age: float = _variable("BRIDGE_MAX_AGE_HOURS", "24", values.number, unit=3600)
    retention: float = _variable("BRIDGE_RETENTION_DAYS", "30", values.number, unit=86400)
    heartbeat_url: Secret | None = _variable("BRIDGE_HEARTBEAT_URL", "", values.heartbeat_url)
    public_url: str = _variable("BRIDGE_PUBLIC_URL", "", values.public_url)
    pgyer_key: Secret | None = _variable("PGYER_API_KEY", "", values.pgyer_key)
    pgyer_url: str = _variable("PGYER_API_URL", values.PGYER, values.pgyer_url)
    pgyer_interval: int = _variable("PGYER_POLL_SECONDS", "300", values.whole, least=10)
    dispatch: bool = _variable("BRIDGE_DISPATCH", "on", values.one_of, on=True, off=False)
    port: int = _variable("PORT", "8000", values.whole, least=0, most=65535)
    workers: int = _variable("WEB_CONCURRENCY", "1", values.whole, least=1)
    log_level: str = _variable("LOG_LEVEL", "INFO", values.one_of, **_LEVELS)
    log_format: str = _variable("LOG_FORMAT", "text", values.one_of, text="text", json="json")

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return every string that must be redacted, longest first.

        A short secret or a plain word is only redacted inside a URL, where it can leak: redacted
        everywhere it would cut the same letters out of ordinary text.
        """
        webhooks = list(filter(None, (bot.webhook.reveal() for bot in self.bots.values())))
        found = {*webhooks, *([self.admin_password.reveal()] if self.admin_password else ())}
        if self.heartbeat_url:
            parts = urlsplit(self.heartbeat_url.reveal())
            # The HTTP library's own lines have only path and query; a short path is no secret.
            found |= {parts.geturl(), *([parts.path] if len(parts.path) > 8 else ())}
            for name, value in parse_qsl(parts.query):
                found |= _redacted(value, f"{name}=%s")
        if self.pgyer_key:
            found |= _redacted(self.pgyer_key.reveal(), "_api_key=%s")
        for token in self.tokens:
            found |= _redacted(token.reveal(), "/pgyer/%s")
        for url in webhooks:
            for key in parse_qs(urlsplit(url).query).get("key", ()):
                found |= _redacted(key, "?key=%s", "&key=%s")
        url = self.database_url.reveal()
        if password := values.database_password(url):
            found |= {url, *_redacted(password, ":%s@"), *_redacted(unquote(password), ":%s@")}
        for password in re.findall("[?&]password=([^&#]+)", url):
            places = "?password=%s", "&password=%s"
            found |= {url, *_redacted(password, *places), *_redacted(unquote(password), *places)}
        return tuple(sorted(found, key=len, reverse=True))

    @property
    def warnings(self) -> list[str]:
        """Return what is allowed but probably a mistake."""
        names: dict[Secret, list[str]] = {}
        for bot in self.bots.values():
            names.setdefault(bot.webhook, []).append(key_variable(bot.name))
        text = N_("%(names)s have the same key: WeCom counts their messages together")
        shared = [", ".join(same) for same in names.values() if len(same) > 1]
        found = [gettext(text, names=same) for same in shared]
        if any(len(token.reveal()) < 16 for token in self.tokens):
            text = N_("BRIDGE_TOKEN is short: whoever guesses it can post to your groups")
            found.append(gettext(text))
        return found


def _redacted(secret: str, *places: str) -> set[str]:
    is_word = re.fullmatch(r"\w{,7}|[^\W\d_]{,15}|\W*|.{,2}", secret)
    return {place % secret for place in places} if is_word else {secret}


class _Environment:
    """Reads variables: `known` are the names of all, `problems` is what is wrong with them."""

    def __init__(self, environ: Mapping[str, str], needs_keys: bool) -> None:
        self.environ = environ
        self.needs_keys = needs_keys
        self.known: set[str] = set()
        self.problems: list[str] = []

    def text(self, name: str) -> str:
        """Return a variable's trimmed value, '' if unset; a secret may come as `<NAME>_FILE`."""
        value = self.environ.get(name, "").strip()
        self.known.add(name)
        if not self.is_secret(name):
            return value
        self.known.add(f"{name}_FILE")
        path = self.environ.get(f"{name}_FILE", "").strip()
        if not path:
            return value
        if value:
            self.problem("%(name)s and %(name)s_FILE are both set: keep one of them", name=name)
            return value
        try:
            value = Path(path).read_text(encoding="utf-8-sig").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = gettext(getattr(error, "strerror", None) or N_("not UTF-8 text"))
            where = {"name": name, "path": path}
            self.problem("%(name)s_FILE: cannot read %(path)s: %(why)s", **where, why=reason)
            return ""
        if not value:
            self.problem("%(name)s_FILE: %(path)s is empty", name=name, path=path)
        return value

    @staticmethod
    def is_secret(name: str) -> bool:
        return name in _SECRETS or name.startswith(_BOT_PREFIX)

    def parsed(self, name: str, default: str, parse: Callable[[str], T], unset: str = "") -> T:
        """Return a variable read by `parse`; see `_variable`."""
        before = len(self.problems)
        value = self.text(name) or default
        try:
            found = parse(value)
        except WrongValueError as error:
            shown = {"name": name, "value": value, "problem": said(error)}
            # A key, or a URL with a secret, may have been pasted into the wrong variable.
            if self.is_secret(name) or re.search(r"[?@]|/pgyer/|[0-9A-Za-z-]{20}", value):
                self.problem("%(name)s %(problem)s", **shown)
            else:
                self.problem("%(name)s is %(value)r, but %(problem)s", **shown)
            found = parse(default)
        if unset and self.needs_keys and not found and len(self.problems) == before:
            self.problem("%(name)s is not set: %(hint)s", name=name, hint=gettext(unset))
        return found

    def problem(self, text: str, **values: object) -> None:
        """Note a problem, in the language; the text begins with the variable's name."""
        self.problems.append(gettext(text, **values))


def load(environ: Mapping[str, str], needs_keys: bool = True) -> tuple[Settings, list[str]]:
    """Read all variables of the contract; return them with every problem found.

    With problems, or without keys, the settings are only good for checking, not for running.
    """
    read = _Environment(environ, needs_keys)
    bots = _bots(read)
    rows = {each.name: each.metadata["variable"] for each in fields(Settings)[1:]}
    settings = Settings(bots, **{name: read.parsed(*row) for name, row in rows.items()})
    _find_unknown(read)
    return settings, read.problems


def _find_unknown(read: _Environment) -> None:
    # Also compared without the prefix: BRIDGE_PORT means PORT, BRIDGE_BOT_KEY means WECOM_BOT_KEY.
    known = sorted(read.known)
    by_tail = {name.partition("_")[2]: name for name in known if name.startswith(PREFIXES)}
    by_tail |= {name: name for name in known}
    for name in sorted(read.environ.keys() - read.known):
        if not name.startswith(PREFIXES) or name.startswith(_BOT_PREFIX):
            continue
        close = name.removesuffix("_FILE")  # only a secret may come as a file
        if close not in known:
            tail = name.partition("_")[2]
            close = by_tail.get(tail) or nearest(name, known, least=0.8)
            close = close or by_tail.get(nearest(tail, by_tail), "")
        text = N_("%(name)s is not a variable of the bridge: see the table in the README")
        if close:
            text = N_("%(name)s is not a variable of the bridge: did you mean %(close)s?")
        read.problem(text, name=name, close=close)


def _bots(read: _Environment) -> dict[str, Bot]:
    api = read.parsed("WECOM_API_URL", values.WECOM, values.api_url)
    named = {"default": "WECOM_BOT_KEY"}
    for variable in sorted(read.environ):
        is_bot = variable.startswith(_BOT_PREFIX) and variable != "WECOM_BOT_KEY_FILE"
        if not is_bot or not read.environ[variable].strip():
            continue
        variable = variable.removesuffix("_FILE")
        name = variable.removeprefix(_BOT_PREFIX).lower()
        if not re.fullmatch(r"[a-z0-9_]+", name):
            read.problem("%(name)s: a bot's name is letters, digits and _ only", name=variable)
        elif named.setdefault(name, variable) != variable:
            text = N_("%(one)s and %(other)s name the same bot: keep one of them")
            if name == "default":
                text = N_("%(one)s and %(other)s name the same bot: the default bot is %(one)s")
            read.problem(text, one=named[name], other=variable)
    # Also a bot with a broken key has a name, so that it is not a problem of routes, too.
    bots = {}
    for name, variable in named.items():
        unset = _NO_BOT if name == "default" else ""
        webhook = read.parsed(variable, "", partial(values.webhook, api=api), unset)
        bots[name] = Bot(name, Secret(webhook))
    return bots
