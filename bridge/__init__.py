"""The Pgyer-to-WeCom bridge: `configure` reads how it shall run, `create_app` is what runs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from bridge import settings
from bridge.errors import SettingsError
from bridge.model import Route
from bridge.receiving import routing
from bridge.settings import Settings

if TYPE_CHECKING:
    from flask import Flask


def configure(environ: Mapping[str, str]) -> tuple[Settings, list[Route]]:
    """Read the environment and the routes file; raise SettingsError with every problem of both."""
    config, problems = settings.load(environ)
    routes: list[Route] = []
    if config.routes:
        try:
            text = config.routes.read_text(encoding="utf-8-sig")
            routes, wrong = routing.parse(text, str(config.routes), config.bots)
            problems += wrong
        except (OSError, UnicodeDecodeError) as error:
            problems.append(f"{config.routes}: cannot be read as UTF-8 text: {error}")
    if problems:
        raise SettingsError(problems)
    return config, routes


def create_app(environ: Mapping[str, str] | None = None) -> "Flask":
    """Return the WSGI app, as `bridge.app.create_app` does."""
    # Imported here: gunicorn's master reads the settings, and need not load all the rest.
    from bridge import app

    return app.create_app(environ)
