"""The Pgyer-to-WeCom bridge: `configure` reads how it shall run, `create_app` is what runs."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from bridge.errors import SettingsError
from bridge.model import Bot, Route, Secret
from bridge.wording import N_, gettext

if TYPE_CHECKING:
    from flask import Flask

    from bridge.settings import Settings


def configure(
    environ: Mapping[str, str], needs_keys: bool = True
) -> tuple["Settings", list[Route]]:
    """Read the environment and the routes file; raise SettingsError with every problem of both.

    Where nothing is received or sent, no keys are needed; without any, every bot of the routes
    counts as there.
    """
    # Imported here: the process that tries templates reads no settings.
    from bridge import settings
    from bridge.receiving import routing

    config, problems = settings.load(environ, needs_keys)
    routes: list[Route] = []
    has_keys = any(bot.webhook.reveal() for bot in config.bots.values())
    bots: Collection[str] | None = config.bots if needs_keys or has_keys else None
    if config.routes:
        try:
            text = config.routes.read_text(encoding="utf-8-sig")
            routes, wrong = routing.parse(text, str(config.routes), bots)
            problems += wrong
        except (OSError, UnicodeDecodeError) as error:
            text = N_("%(file)s: cannot be read as UTF-8 text: %(problem)s")
            problems.append(gettext(text, file=config.routes, problem=error))
    if problems:
        raise SettingsError(problems)
    if bots is None:
        names = {name for route in routes for name in route.bots}
        config = replace(config, bots={n: Bot(n, Secret("")) for n in {*config.bots, *names}})
    return config, routes


def create_app(environ: Mapping[str, str] | None = None) -> "Flask":
    """Return the WSGI app, as `bridge.app.create_app` does."""
    # Imported here: gunicorn's master reads the settings, and need not load all the rest.
    from bridge import app

    return app.create_app(environ)
