"""The bridge's words as frozen values; nothing here does any work beyond reading itself."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

# Every key that Pgyer is known to send. `os_version` is the app's version, not an OS's.
FIELDS = [
    "action", "title", "link", "message", "type", "os_version", "build_version", "created",
    "updated", "timestamp", "appsize", "device_type", "appQRCodeURL", "notes",
]  # fmt: skip

API = "api"  # the source of an event that was found by asking Pgyer's API
LATE = 600.0  # seconds after which a pending delivery is reported as a problem

# What sloppy senders write where they mean that there is no value.
_NOTHING = {"null", "undefined", "None", "NULL"}


@dataclass(frozen=True, repr=False)
class Secret:
    """A string that cannot print itself; `reveal()` gives it to the one place that needs it."""

    _value: str

    def reveal(self) -> str:
        """Return the secret itself: never to be logged, stored or answered."""
        return self._value

    def __str__(self) -> str:
        return "***"

    def __repr__(self) -> str:
        return "Secret('***')"


@dataclass(frozen=True)
class Bot:
    """One WeCom group robot: its name, and the webhook URL, which has its key."""

    name: str
    webhook: Secret

    @property
    def fingerprint(self) -> str:
        """Tell one key from another without holding it: 16 hex digits for the database."""
        return hashlib.sha256(f"bot {self.webhook.reveal()}".encode()).hexdigest()[:16]


_encode = json.JSONEncoder(ensure_ascii=False).encode


def as_text(value: Any) -> str:
    """Return a decoded value as a reader should see it; what means "nothing" becomes ''."""
    if isinstance(value, str):
        text = value.strip()
        return "" if text in _NOTHING else text
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, Mapping | list):
        return to_json(value) if value else ""
    return str(value)


def to_json(value: Any, **options: Any) -> str:
    """Return a value as JSON, with Chinese as it is; `options` are those of `json.dumps`."""
    if not options:
        return _encode(value)
    return json.dumps(value, ensure_ascii=False, **options)


def is_web_address(value: Any) -> bool:
    """Tell whether a value is an http or https address."""
    try:
        parts = urlsplit(value if isinstance(value, str) else "")
    except ValueError:
        return False
    good = parts.scheme in ("http", "https") and bool(parts.hostname)
    return good and not re.search(r"\s", value)


def is_loopback(url: str) -> bool:
    """Tell whether an address leads to this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback or ip_address(host).is_unspecified
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def is_private(url: str) -> bool:
    """Tell whether an address leads nowhere from the internet: by its look, without a look-up."""
    try:
        return ip_address(urlsplit(url).hostname or "").is_private
    except ValueError:
        return is_loopback(url)


@dataclass(frozen=True)
class Event:
    """One decoded notification from Pgyer, or one of the bridge's own.

    `type` is one of the names that templates and routes use; for what is unknown, the type as it
    came. `payload` is what came, without nulls. `received_at` is in epoch seconds.
    `error` says why a body could not be decoded. `id` is None until the outbox has stored it.
    `source` is API where the bridge itself asked Pgyer for it. `build` is what Pgyer's API says of
    its build, for templates; it is not stored.
    """

    type: str
    payload: Mapping[str, Any]
    received_at: float
    raw: bytes = b""
    error: str = ""
    id: int | None = None
    source: str = ""
    build: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @cached_property
    def fields(self) -> dict[str, str]:
        """Every known field as text, '' where it is missing."""
        return {name: as_text(self.payload.get(name)) for name in FIELDS}


@dataclass(frozen=True)
class StoredEvent(Event):
    """An event with the rules that it was routed by, and how many duplicates followed.

    `rules` are as in `Routed`; None where they are not known, as of the bridge's own events.
    """

    rules: Sequence[int | str] | None = None
    duplicates: int = 0


@dataclass(frozen=True)
class Route:
    """A rule: the events that match every condition go to these bots, sent in this way.

    A condition is a field's name (or `type`) with globs of which one must match; `rule` is the
    rule's number in the file, from 1. `attach` is None where the event's type decides. `quiet` is
    from when to when its events are delayed, in minutes of the day.
    """

    rule: int
    bots: tuple[str, ...]
    conditions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    mention: tuple[str, ...] = ()
    template: str = ""
    attach: tuple[str, ...] | None = None
    quiet: tuple[int, int] | None = None
    continues: bool = False


@dataclass(frozen=True)
class Target:
    """One bot that an event goes to, and how.

    `attach` names what follows the message: `qrcode`, `log`. Not before `not_before` (epoch
    seconds, 0: at once).
    """

    bot: str
    mention: tuple[str, ...] = ()
    template: str = ""
    attach: tuple[str, ...] = ()
    not_before: float = 0.0


@dataclass(frozen=True)
class Routed:
    """An event with its targets and the `rules` by which it has them.

    These are the numbers of the rules that matched, none for the default, behind NAMED where the
    address named the bots.
    """

    event: Event
    targets: Sequence[Target]
    rules: Sequence[int | str] = ()


NAMED = "url"


@dataclass(frozen=True)
class Message:
    """What WeCom gets: a msgtype and its body, e.g. `markdown` and `{"content": …}`.

    The body of a `file` is `{"filename": str, "data": bytes}` until it has been uploaded, and then
    `{"media_id": str}`.
    """

    msgtype: str
    body: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the object that is posted to the robot's webhook."""
        return {"msgtype": self.msgtype, self.msgtype: dict(self.body)}


class Verdict(StrEnum):
    """What an attempt's outcome means for its deliveries and its bot."""

    SENT = "sent"  # WeCom took it
    RETRY = "retry"  # passing trouble: the same again after a back-off
    REST = "rest"  # over the rate: the bot rests, nothing is wrong with the message
    STOP = "stop"  # the robot is gone or its key is wrong: nothing can be sent through it
    PARK = "park"  # WeCom will never take this message


@dataclass(frozen=True)
class Outcome:
    """How one HTTP call to WeCom ended.

    `reason` is a short fixed word (a metric's label); `detail` is for the reader and has no
    secret. `retry_after` is in seconds, where WeCom itself said how long to wait.
    """

    verdict: Verdict
    reason: str
    detail: str = ""
    errcode: int | None = None
    retry_after: float | None = None
    media_id: str = ""  # of an upload that WeCom took


@dataclass(frozen=True)
class Delivery:
    """The duty to send one event to one bot; `messages_sent` counts those it has sent already.

    `media_id` is what WeCom called its uploaded file, at the epoch time `media_at`.
    """

    id: int
    event: Event
    target: Target
    messages_sent: int = 0
    media_id: str = ""
    media_at: float = 0.0


@dataclass(frozen=True)
class Attempt:
    """The right to make one HTTP call for a bot; `lease`, which is on record, fences it.

    Several deliveries go into one digest; their events then have only what it shows.
    """

    bot: str
    lease: str
    started_at: float
    deliveries: tuple[Delivery, ...]
