"""What the browser tests share."""

import os
import shutil
from typing import Any

from support import PATIENCE, ROOT

# The headless shell starts in half of the time of the whole browser, and its pages are the same.
CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
INSTALL = "as root: make browser; and pip install -e '.[dev]'"
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip

PICTURES = ROOT / "docs"
Page = Any  # playwright may be missing where these tests are only collected


def expect(what: Any) -> Any:
    """Assert something of a page or of a part of it, and wait until it is so."""
    from playwright.sync_api import expect

    expect.set_options(timeout=1000 * PATIENCE)
    return expect(what)


def missing() -> str:
    """Say what a browser test lacks here, '' if nothing."""
    if not CHROMIUM:
        return f"there is no Chromium: {INSTALL}"
    try:
        import playwright  # noqa: F401
    except ImportError:
        return f"there is no playwright: {INSTALL}"
    return ""


def picture(page: Page, name: str, **more: Any) -> None:
    """Take a picture for the documents, if this run is to take them."""
    if os.environ.get("PICTURES") == "write":
        page.screenshot(path=PICTURES / f"{name}.png", **more)
