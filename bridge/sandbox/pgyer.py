"""Pgyer's API 2.0 as far as a bridge asks it, over builds that are uploaded on demand.

Fields, types and codes are those of Pgyer's documents and of replies that others published: a
number is mostly a text there. Texts of errors are not known, so nobody should read them.
"""

import hashlib
import random
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

API = "/apiv2/app/"
KEY = "0123456789abcdef" * 2  # of the sandbox's one account
PAGE = 20  # rows
# After a restart the builds are gone and counters begin anew: then they are those of other apps.
_ACCOUNT = random.randbytes(8).hex()
ZONE = ZoneInfo("Asia/Shanghai")  # of all Pgyer's times

Build = dict[str, Any]

_LISTED = (
    "buildKey", "buildType", "buildFileName", "buildFileSize", "buildName", "buildVersion",
    "buildVersionNo", "buildUpdateDescription", "buildBuildVersion", "buildIdentifier",
    "buildLauncherActivity", "buildIcon", "buildCreated",
)  # fmt: skip
_APP_ROW = (
    *_LISTED, "buildFileKey", "buildShortcutUrl", "buildPassword", "buildDescription",
    "buildScreenshots", "appKey",
)  # fmt: skip
_BUILD_ROW = (
    *_LISTED, "buildIsDisplayInHistory", "buildIsLastest", "buildIsPublishComplete",
    "buildExtendsIsPublish", "buildExtendsTimingDate", "buildDownloadCount",
)  # fmt: skip
_FLAGS: Build = {
    **dict.fromkeys(("buildPassword", "buildDescription", "buildScreenshots"), ""),
    **dict.fromkeys(("buildIsDisplayInHistory", "buildIsPublishComplete"), "1"),
    **dict.fromkeys(("buildExtendsIsPublish", "buildIsLastest", "buildInstallType"), "1"),
    "buildExtendsTimingDate": "0000-00-00 00:00:00",
    "buildDownloadCount": 0,
    "buildVersionType": "1",
}
_ICON = (
    "https://cdn-app-icon2.pgyer.com/{}/{}?x-oss-process=image/resize,m_lfit,h_120,w_120/format,jpg"
)


def _hex(*parts: object) -> str:
    return hashlib.md5("/".join(map(str, parts)).encode()).hexdigest()


def new_build(
    builds: list[Build], now: float, app: str, version: str, notes: str = "",
    device: str = "Android", age: float | str = 0, **fields: str,
) -> Build:  # fmt: skip
    """Return the next build of an app, uploaded `age` seconds before `now` (epoch seconds).

    Apps are told apart by name and device. `fields` are any of the API's own in place of what
    the sandbox would say; raises ValueError for one that there is not.
    """
    app_key, is_ios = _hex(_ACCOUNT, app, device), device == "iOS"
    earlier = [int(build["buildBuildVersion"]) for build in builds if build["appKey"] == app_key]
    counter = 1 + max(earlier, default=0)
    key, icon = _hex(app_key, counter, version), _hex(app_key, "icon")
    suffix = "ipa" if is_ios else "apk"
    created = datetime.fromtimestamp(now - float(age), ZONE).strftime("%Y-%m-%d %H:%M:%S")
    build = _FLAGS | {
        "appKey": app_key,
        "buildKey": key,
        "buildType": "1" if is_ios else "2",
        "buildFileKey": f"{_hex(key)}.{suffix}",
        "buildFileName": f"app-release.{suffix}",
        "buildFileSize": str(26_000_000 + counter),
        "buildName": app,
        "buildVersion": version,
        "buildVersionNo": str(100 + counter),
        "buildBuildVersion": str(counter),
        "buildShortcutUrl": f"sandbox-{app_key[:6]}",
        "buildIdentifier": f"com.example.a{app_key[:6]}",
        "buildIcon": icon,
        "buildUpdateDescription": notes,
        "buildLauncherActivity": "" if is_ios else "com.example.MainActivity",
        "buildCreated": created,
        "buildUpdated": created,
        "buildQRCodeURL": f"https://www.pgyer.com/app/qrcodeHistory/{_hex(key)}{key}",
        "iconUrl": _ICON.format("/".join(icon[:5]), icon),
    }
    if unknown := ", ".join(fields.keys() - build.keys()):
        raise ValueError(f"unknown field: {unknown}")
    counted = fields.get("buildBuildVersion", "0")
    if not counted.isdecimal():  # the next build counts on from it
        raise ValueError(f"buildBuildVersion must be a whole number, not {counted!r}")
    return build | fields


def webhook(build: Build, now: float) -> dict[str, Any]:
    """Return what Pgyer's webhook would post of a build, `now` in epoch seconds."""
    app, version = build["buildName"], build["buildVersion"]
    return {
        "action": "应用更新",
        "title": app,
        "link": f"https://www.pgyer.com/{build['buildShortcutUrl']}",
        "message": f"您的应用{app}有了新的版本({version})更新。",
        "type": "updateVersion",
        "os_version": version,
        "build_version": build["buildBuildVersion"],
        "created": build["buildCreated"],
        "updated": build["buildUpdated"],
        "timestamp": int(now),
        "appsize": build["buildFileSize"],
        "device_type": "iOS" if build["buildType"] == "1" else "Android",
        "notes": build["buildUpdateDescription"],
    }


def answer(name: str, form: Mapping[str, str], builds: list[Build]) -> dict[str, Any] | None:
    """Return the reply to a call of an endpoint by its form, None where there is no such one."""
    if name not in ("listMy", "builds", "view"):
        return None
    key, app, build = (form.get(field, "") for field in ("_api_key", "appKey", "buildKey"))
    found = [
        each for each in reversed(builds)
        if app in ("", each["appKey"]) and build in ("", each["buildKey"])
    ]  # fmt: skip
    problems = [
        (not key, 1001, "_api_key is missing"),
        (key != KEY, 1002, "_api_key not found"),
        (name == "view" and not (app or build), 1008, "buildKey and appKey are empty"),
        (name == "builds" and not app, 1010, "appKey is missing"),
        (name != "listMy" and not found, 1009, "app not found"),
    ]
    for is_so, code, message in problems:
        if is_so:
            return {"code": code, "message": message}
    return {"code": 0, "message": "", "data": _data(name, form, found, builds)}


def _data(name: str, form: Mapping[str, str], found: list[Build], builds: list[Build]) -> Any:
    if name == "view":
        return found[0] | {"isImmediatelyExpired": False, "isMerged": 2, "mergeAppInfo": None}
    page = form.get("page", "")
    number = max(1, int(page)) if page.isdecimal() else 1
    if name == "builds":
        return _page(found, _BUILD_ROW, number) | {"currentPage": number}
    newest: dict[str, Build] = {}
    for build in reversed(builds):
        newest.setdefault(build["appKey"], build)
    rows = [*newest.values()]
    return _page(rows, _APP_ROW, number) | {"count": str(len(rows)), "page": number}


def _page(rows: list[Build], fields: tuple[str, ...], number: int) -> dict[str, Any]:
    shown = rows[(number - 1) * PAGE : number * PAGE]
    pages = max(1, -(-len(rows) // PAGE))
    return {"list": [{key: row[key] for key in fields} for row in shown], "pageCount": pages}
