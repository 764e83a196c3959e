"""Replies of Pgyer's API → builds, and a build → the event that its webhook would have been; pure.

What is read may come in any shape that was ever seen: an array or an object with a list, numbers
as strings, missing values. What is passed on is a list of fields: never a password, a signed
download link or a key of the app.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Any

from bridge.errors import PgyerError, UndecodableError
from bridge.model import API, Event, as_text, is_web_address
from bridge.receiving.builds import build_fields
from bridge.receiving.cleaning import clean
from bridge.receiving.decoding import event_of

_ZONE = timezone(timedelta(hours=8))  # of Pgyer's times, which name none
_SHOWN = (
    "buildKey", "buildType", "buildFileName", "buildFileSize", "buildName", "buildVersion",
    "buildVersionNo", "buildBuildVersion", "buildShortcutUrl", "buildIdentifier", "buildIcon",
    "buildDescription", "buildUpdateDescription", "buildCreated", "buildUpdated",
    "buildQRCodeURL", "iconUrl",
)  # fmt: skip
_ICONS = (
    "https://cdn-app-icon2.pgyer.com/{}/{}?x-oss-process=image/resize,m_lfit,h_120,w_120/format,jpg"
)
_MAX_TEXT = 20_000  # characters of one value


@dataclass(frozen=True)
class Build:
    """A build of an app, by their keys.

    `counter` is Pgyer's own number, one more with each upload of an app. `created` is in epoch
    seconds, None where it cannot be read. `fields` are those that may be passed on.
    """

    key: str
    app: str
    counter: int
    created: float | None
    fields: Mapping[str, str]
    is_published: bool = True
    is_hidden: bool = False

    @property
    def slug(self) -> str:
        """Return the last part of the address of the app's page, '' where it is not known."""
        return self.fields.get("buildShortcutUrl", "").rstrip("/").rpartition("/")[2]

    @property
    def name(self) -> str:
        """Return app, version and number, for a reader."""
        names = ("buildName", "buildVersion")
        return " ".join([*(self.fields.get(name, "") for name in names), f"({self.counter})"])


def pages_of(data: Any) -> int | None:
    """Return how many pages there are, None where it is not said."""
    return _whole(data.get("pageCount")) if isinstance(data, Mapping) else None


def builds_of(data: Any, app: str = "") -> list[Build]:
    """Return the builds of a page; `app` is the key of their app where the rows do not say it.

    Raises PgyerError where nothing of a page can be read.
    """
    rows = data.get("list") if isinstance(data, Mapping) else data
    if isinstance(rows, Mapping):  # PHP makes an object of an array with gaps
        rows = list(rows.values())
    if not isinstance(rows, list):
        raise PgyerError("unreadable", "a reply without a list")
    found = [build for row in rows if (build := build_of(row, app))]
    if rows and not found:
        raise PgyerError("unreadable", "a list of what are no builds")
    return found


def build_of(row: Any, app: str = "") -> Build | None:
    """Return the build of a row, None where it lacks what a build is known by."""
    try:
        row = clean(row) if isinstance(row, Mapping) else {}
    except UndecodableError:
        return None
    key, app = as_text(row.get("buildKey")), as_text(row.get("appKey")) or app
    counter = _whole(row.get("buildBuildVersion"))
    if counter is None or not all(re.fullmatch(r"[\w-]{1,64}", text) for text in (key, app)):
        return None
    return Build(
        key,
        app,
        counter,
        _moment(as_text(row.get("buildCreated"))),
        {name: text for name in _SHOWN if (text := _plain(row.get(name)))},
        as_text(row.get("buildIsPublishComplete")) in ("", "1"),
        as_text(row.get("buildIsDisplayInHistory")) == "2",
    )


def view_of(data: Any, app: str) -> Build | None:
    """Return the build of a reply about a single one."""
    rows = [data] if isinstance(data, Mapping) else data
    return build_of(rows[0], app) if isinstance(rows, list) and rows else None


def event_of_build(build: Build, now: float) -> Event:
    """Return the event that the webhook of a build would have been, received at `now` (epoch s)."""
    fields = {**build_fields(build.fields), "source": API, "build": details(build)}
    return replace(event_of(fields, now), source=API)


def details(build: Build) -> dict[str, str]:
    """Return what a template can show of a build: `icon`, `qrcode` and the API's own fields."""
    icon = build.fields.get("buildIcon", "")
    if re.fullmatch(r"[0-9A-Za-z]{5,64}", icon):
        icon = _ICONS.format("/".join(icon[:5]), icon)
    pictures = {
        "icon": build.fields.get("iconUrl") or icon,
        "qrcode": build.fields.get("buildQRCodeURL", ""),
    }
    good = {name: url for name, url in pictures.items() if is_web_address(url)}
    return {**good, **build.fields}


def _plain(value: Any) -> str:
    """Return a value as text, '' for one that has others in it, whatever these are."""
    return "" if isinstance(value, Mapping | list) else as_text(value)[:_MAX_TEXT]


def _whole(value: Any) -> int | None:
    text = as_text(value)
    return int(text) if re.fullmatch(r"[0-9]{1,15}", text) else None


def _moment(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=_ZONE)
        return moment.timestamp()
    except (ValueError, OverflowError, OSError):
        return None
