"""The text of one variable → its checked value; pure.

Each function raises a WrongValueError that reads on after the variable's name and says what to
write instead. It never contains the value, which may be a secret.
"""

import importlib.util
import ipaddress
import re
from contextlib import suppress
from typing import TypeVar
from urllib.parse import SplitResult, parse_qs, parse_qsl, quote, unquote, urlsplit
from zoneinfo import ZoneInfo

from bridge.errors import WrongValueError
from bridge.model import Secret, is_loopback
from bridge.wording import N_, gettext

T = TypeVar("T")

WECOM = "https://qyapi.weixin.qq.com"
PGYER = "https://api.pgyer.com"
_SEND = "/cgi-bin/webhook/send"
_WEBHOOK = f"{WECOM}{_SEND}?key=…"
_KEY = re.compile(r"(?=.*[A-Za-z0-9])[A-Za-z0-9_.~-]+")

# Parameters of other tools in a database's URL, and what to do instead.
_ADVICE = {
    ("schema", "currentSchema", "search_path"): N_(
        "write options=-csearch_path%3D<schema> instead"
    ),
    ("ssl", "sslaccept", "usessl", "useSSL"): N_("write sslmode=require instead"),
    ("pgbouncer", "connection_limit", "pool_timeout", "prepareThreshold"): N_(
        "leave it out, a pooler needs no setting"
    ),
}
# What libpq takes, of parameters in which it would refuse every connection otherwise.
_VALUES = {
    "sslmode": "disable|allow|prefer|require|verify-ca|verify-full",
    "port": "[0-9,]*",
    "connect_timeout": "-?[0-9]+",
}
# What documentation and examples write where a secret belongs.
_PLACEHOLDER = re.compile(
    r"(your|paste|put|insert|enter|replace|change|choose|fill)([-_.~]|me|this|key|token|pass|bot).*"
    r"|.*[-_.~]here|[x*.~_-]{2,}"
    r"|none|null|undefined|todo|tbd|placeholder|\$?\{.*\}|<.*>",
    re.IGNORECASE,
)


def webhook(value: str, api: str) -> str:
    """Return a bot's webhook URL; a bare key gets `api` before it; '' stays ''."""
    if re.search(r"[\s,;|，；、]|.https?://", value):
        raise WrongValueError(
            "must be one bare key or one webhook URL, without quotes or blanks: each robot has a "
            "variable of its own, such as WECOM_BOT_KEY_DEV"
        )
    key, parts = value, None
    if value and (not _KEY.fullmatch(value) or "weixin.qq.com" in value):
        try:
            parts = _address(value)
            [key] = parse_qs(parts.query)["key"]
        except (ValueError, KeyError):
            raise WrongValueError(
                "is neither a bare key nor a webhook URL such as %(url)s; its host and port must "
                "be right, too",
                url=_WEBHOOK,
            ) from None
        if not _KEY.fullmatch(key):
            raise WrongValueError(
                "has a key with wrong characters: copy %(url)s again as WeCom shows it",
                url=_WEBHOOK,
            )
    if _PLACEHOLDER.fullmatch(key):
        raise WrongValueError(
            "is a placeholder: write the key of your robot, or its webhook URL as WeCom shows it"
        )
    if not parts:
        return f"{api}{_SEND}?key={key}" if key else ""
    if parts.hostname == urlsplit(WECOM).hostname and parts.path != _SEND:
        raise WrongValueError(
            "is an address of WeCom, but not of a webhook: it must be %(url)s", url=_WEBHOOK
        )
    return value


def _address(value: str) -> SplitResult:
    """Split an http(s) address; ValueError where no host or port can be like this."""
    if re.search(r"[\s\\\x00-\x1f\x7f]", value):  # urlsplit would drop line breaks
        raise ValueError
    parts = urlsplit(value)
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or host in ("http", "https") or parts.port == 0:
        raise ValueError
    if ":" in host or re.search(r"(^|\.)\d+\.?$", host):
        ipaddress.ip_address(host.partition("%")[0])
    elif len(host) > 253 or not re.fullmatch(r"[\w-]{1,63}(\.[\w-]{1,63})*\.?", host):
        raise ValueError
    return parts


def _base(value: str) -> SplitResult:
    with suppress(ValueError):
        parts = _address(value)
        if not parts.query and not parts.fragment:
            return parts
    raise WrongValueError("must be an address such as https://example.com, without ? and #")


def api_url(value: str) -> str:
    """Return the base that bare keys are appended to, without the path that comes with them."""
    if "key=" in value:
        raise WrongValueError(
            "must be the base alone, such as https://example.com (%(wecom)s is the default): "
            "the key belongs into WECOM_BOT_KEY",
            wecom=WECOM,
        )
    _base(value)
    return re.sub(r"(/cgi-bin(/webhook(/send)?)?)?/*$", "", value)


def public_url(value: str) -> str:
    """Return the bridge's own address without a slash at its end; '' stays ''."""
    if not value:
        return ""
    parts = _base(value)
    if "@" in parts.netloc or re.search(r"/pgyer/.|/console(/|$)", parts.path):
        raise WrongValueError(
            "must be the bridge's own address, such as https://example.com, "
            "without a password, /pgyer/… or /console behind it"
        )
    return value.rstrip("/")


def heartbeat_url(value: str) -> Secret | None:
    """Return the address of a monitor, None for ''; whoever knows it could keep an alarm silent."""
    if not value:
        return None
    try:
        _address(value)
    except ValueError:
        text = N_("must be the whole http or https address that the monitor gives you")
        raise WrongValueError(text) from None
    return Secret(value)


def pgyer_key(value: str) -> Secret | None:
    """Return the key of Pgyer's API, None for ''."""
    if not value:
        return None
    if not re.fullmatch(r"[A-Za-z0-9_-]{8,128}", value) or _PLACEHOLDER.fullmatch(value):
        text = N_("must be the API Key alone, as Pgyer's page shows it: 32 letters and digits")
        raise WrongValueError(text)
    return Secret(value)


def pgyer_url(value: str) -> str:
    """Return the base of Pgyer's API without /apiv2, which comes with the calls."""
    parts = _base(value)
    if "@" in parts.netloc or (parts.scheme != "https" and not is_loopback(value)):
        text = N_("must be an https address such as %(pgyer)s, since the API Key is sent there")
        raise WrongValueError(text, pgyer=PGYER)
    return re.sub(r"(/apiv2(/.*)?)?/*$", "", value)


def tokens(value: str) -> tuple[Secret, ...]:
    """Return the secret parts of the receiver's URL that are valid, none for ''."""
    given = [token.strip() for token in value.split(",") if token.strip()]
    if len(given) > 2:
        raise WrongValueError("has more than two tokens: the old and the new one")
    for token in given:
        if not re.fullmatch(r"[A-Za-z0-9._~-]+", token):
            raise WrongValueError("is a part of a URL: only letters, digits and . _ ~ -")
        if not re.search(r"[A-Za-z0-9]", token):
            raise WrongValueError("needs letters or digits: choose a long random word")
    return tuple(map(_chosen, given))


def password(value: str) -> Secret | None:
    """Return the admin password, None for ''."""
    if value and len(value) < 8:
        raise WrongValueError("is too short: use at least 8 characters, better 16")
    return _chosen(value) if value else None


def _chosen(value: str) -> Secret:
    if _PLACEHOLDER.fullmatch(value):
        raise WrongValueError(
            "is a placeholder: choose a random word, e.g. by: openssl rand -hex 16"
        )
    return Secret(value)


def database_url(value: str) -> Secret:
    """Return the URL of an SQLite file, or of PostgreSQL as libpq reads it."""
    scheme, _, rest = value.partition("://")
    if scheme == "sqlite":
        if not rest.startswith("/") or re.search(r"/$|:memory:|\?", rest):
            raise WrongValueError(
                "must name a file, without options: "
                "sqlite:///bridge.db (or sqlite:////data/bridge.db)"
            )
        return Secret(value)
    if scheme not in ("postgres", "postgresql"):
        raise WrongValueError("must begin with sqlite:///, postgres:// or postgresql://")
    if not importlib.util.find_spec("psycopg"):
        raise WrongValueError("needs psycopg: pip install 'pgyer-wecom-bridge[postgres]'")
    # libpq wants special characters in a password escaped; whoever pasted it may not know.
    if found := database_password(value):
        rest = rest.replace(f":{found}@", f":{quote(unquote(found), safe='')}@", 1)
    value = f"postgresql://{rest}"
    try:
        parts = urlsplit(value)
        good = parts.port != 0 and not re.search(r"\s|%(?![0-9A-Fa-f]{2})", value)
    except ValueError:
        good = False
    if not good:
        raise WrongValueError(
            "must be like postgres://user:password@host:5432/name, its port a number"
        )
    if parts.query:
        _check_parameters(parts.query)
    return Secret(value)


def _check_parameters(query: str) -> None:
    """Raise where a parameter or its value is none of libpq's: it would refuse every connection."""
    from psycopg.pq import Conninfo  # here, since most processes that read settings need it not

    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in _VALUES and not re.fullmatch(_VALUES[name], value):
            text = N_("has the parameter %(name)s with a value that PostgreSQL does not know")
            raise WrongValueError(text, name=name)
        if name in known or (name, value) == ("ssl", "true"):
            continue
        advice = N_("leave it out")
        advice = next((text for names, text in _ADVICE.items() if name in names), advice)
        raise WrongValueError(
            "has the parameter %(name)s, which PostgreSQL does not know: %(advice)s",
            name=name if re.fullmatch(r"\w{1,30}", name) else "…",
            advice=gettext(advice),
        )


def database_password(url: str) -> str:
    """Return the password in a database's URL as it is written there, '' where there is none."""
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite":
        return ""
    # A password may contain any character, `@` and `?` too; after the host an `@` is an option's.
    user, at, host = rest.partition("@")
    return f"{user}{at}{host.partition('?')[0]}".rpartition("@")[0].partition(":")[2]


def timezone(value: str) -> ZoneInfo:
    """Return the time zone of that name."""
    try:
        return ZoneInfo(value)
    except (OSError, ValueError, KeyError):
        raise WrongValueError("must be a time zone such as Asia/Shanghai or UTC") from None


def whole(value: str, least: int, most: int = 10**6) -> int:
    """Return a whole number in this range."""
    if not re.fullmatch(r"[0-9]{1,7}", value) or not least <= int(value) <= most:
        text = N_("must be a whole number from %(least)s to %(most)s")
        raise WrongValueError(text, least=least, most=most)
    return int(value)


def number(value: str, unit: float = 1.0, allow_zero: bool = False) -> float:
    """Return a positive decimal number of units."""
    good = re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value)
    if not good or (float(value) == 0 and not allow_zero):
        least = N_("must be a number of 0 or more")
        raise WrongValueError(least if allow_zero else N_("must be a number above 0"))
    return float(value) * unit


def one_of(value: str, **choices: T) -> T:
    """Return what one of these words stands for, in whatever case it is written."""
    for word, meaning in choices.items():
        if word.lower() == value.lower():
            return meaning
    raise WrongValueError("must be one of %(choices)s", choices=", ".join(choices))
