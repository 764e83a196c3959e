"""Platforms that empty their disk, known by a variable that each of them sets."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from bridge.wording import N_, gettext

_PLATFORMS = {
    "DYNO": "Heroku",
    "RENDER": "Render",
    "RAILWAY_SERVICE_ID": "Railway",
    "ZEABUR_SERVICE_ID": "Zeabur",
    "FLY_MACHINE_ID": "Fly",
    "CBR_ENV_ID": N_("WeChat Cloud Run"),
}
_WITHOUT_VOLUMES = ("DYNO", "CBR_ENV_ID")

ADVICE = N_("use PostgreSQL, or a volume if the platform has them: see docs/deploy")


def database_loss(
    database_url: str,
    environ: Mapping[str, str],
    is_mount: Callable[[Path], bool] = os.path.ismount,
) -> str:
    """Return how the database is lost on this platform, '' where it is not as far as is known."""
    kind, _, path = database_url.partition("://")
    platform = next((name for name in _PLATFORMS if environ.get(name)), "")
    if kind != "sqlite" or not platform:
        return ""
    file = Path(path[1:])
    volume = environ.get("RAILWAY_VOLUME_MOUNT_PATH")
    # A relative file is among the code's, whatever that is mounted on.
    folders = file.parents[:-1] if file.is_absolute() and platform not in _WITHOUT_VOLUMES else ()
    if any(is_mount(folder) or str(folder) == volume for folder in folders):
        return ""
    text = N_("%(platform)s empties its disk at each restart, and %(database)s with it")
    return gettext(text, platform=gettext(_PLATFORMS[platform]), database=file)
