"""A build as Pgyer's API describes it → an `updateVersion` event; pure.

Build scripts post the reply of Pgyer's upload API to the receiver. Names and values are those of
Pgyer API 2.0: a number may come as a string, and a missing value as null or "".
"""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from bridge.errors import UndecodableError
from bridge.model import as_text, is_web_address
from bridge.receiving.cleaning import clean

PGYER = "https://www.pgyer.com"
# An event's field → the API's names for it, the first that has a value.
_FIELDS = {
    "title": ("buildName",),
    "os_version": ("buildVersion",),
    "build_version": ("buildBuildVersion", "buildVersionNo"),
    "created": ("buildCreated",),
    "updated": ("buildUpdated", "buildCreated"),
    "appsize": ("buildFileSize",),
    "appQRCodeURL": ("buildQRCodeURL",),
    "notes": ("buildUpdateDescription",),
}
_DEVICES = {"1": "iOS", "2": "Android", "ios": "iOS", "android": "Android", "harmony": "HarmonyOS"}
_SUFFIXES = {"ipa": "iOS", "apk": "Android", "hap": "HarmonyOS"}  # HarmonyOS: buildType is unknown


def build_fields(data: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields of the webhook's event for a build of Pgyer's API, without empty ones."""

    def text(*names: str) -> str:
        return next(filter(None, (as_text(data.get(name)) for name in names)), "")

    fields = {"action": "应用更新", "type": "updateVersion"}
    fields |= {field: text(*names) for field, names in _FIELDS.items()}
    fields["link"] = _link(text("buildShortcutUrl", "buildKey"))
    suffix = text("buildFileName", "buildFileKey").rpartition(".")[2].lower()
    fields["device_type"] = _DEVICES.get(text("buildType").lower()) or _SUFFIXES.get(suffix, "")
    if fields["title"] and fields["os_version"]:
        fields["message"] = f"您的应用{fields['title']}有了新的版本({fields['os_version']})更新。"
    return {field: value for field, value in fields.items() if value}


def with_build_fields(payload: dict[str, Any]) -> dict[str, Any]:
    """Return a reply of the upload API as an event's payload, any other payload as it is.

    The reply may be its `data` alone, or a form of either. `data` keeps the build as it came.
    """
    if as_text(payload.get("type") or payload.get("action") or payload.get("title")):
        return payload
    data, rest = _data(payload)
    names = set(data) if as_text(payload.get("code")) in ("", "0") else set()
    if not names & {"buildName", "buildKey"} or not names & {"buildVersion", "buildBuildVersion"}:
        return payload
    return {**rest, **build_fields(data), "data": data}


def _data(payload: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a reply's `data`, and what stands beside it in the reply."""
    rest = {name: item for name, item in payload.items() if name not in ("code", "message", "data")}
    data = payload.get("data")
    if isinstance(data, str):
        with suppress(ValueError, RecursionError, UndecodableError):
            data = clean(json.loads(data))
    if isinstance(data, dict):
        return data, rest
    in_form = {name[5:-1]: name for name in rest if re.fullmatch(r"data\[\w+\]", name)}
    if not in_form:
        return payload, {}
    data = {short: rest.pop(name) for short, name in in_form.items()}
    return data, rest


def _link(shortcut: str) -> str:
    if not shortcut or is_web_address(shortcut):
        return shortcut
    if re.match(r"[\w-]+(\.[\w-]+)+/", shortcut):
        return f"https://{shortcut}"
    return f"{PGYER}/{quote(shortcut.strip('/'), safe='')}"
