"""Every part that receives or dispatches, put together for one process."""

import logging
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flask import current_app
from werkzeug.local import LocalProxy

from bridge.delivery.dispatcher import Dispatcher
from bridge.delivery.heartbeat import Heartbeat
from bridge.delivery.wecom import Client
from bridge.errors import StorageError
from bridge.messages.renderer import Renderer
from bridge.model import LATE, Event, Route
from bridge.receiving.intake import Intake
from bridge.receiving.wrong_requests import WrongTokens
from bridge.settings import Settings
from bridge.storage.operator import Operator
from bridge.storage.outbox import Accepted, Outbox
from bridge.storage.queries import REMOVED, Queries
from bridge.storage.shared_values import SharedValues
from bridge.storage.template_versions import TemplateVersions
from bridge.wording import advice, meaning, speaking

if TYPE_CHECKING:
    from bridge.pgyer.lookup import Lookup
    from bridge.pgyer.poller import Poller

log = logging.getLogger(__name__)


@dataclass
class Readiness:
    """What is wrong, a line each; how many deliveries are pending, and for how long the oldest.

    The latter two are None where the database does not say.
    """

    pending: int | None = None
    oldest_seconds: float | None = None
    problems: list[str] = field(default_factory=list)


class Bridge:
    """The parts made by settings and routes; nothing runs yet and no connection is open.

    `clock` gives the database's epoch seconds.
    """

    def __init__(self, settings: Settings, routes: list[Route]) -> None:
        self.settings, self.routes, bots = settings, routes, settings.bots
        self.outbox = Outbox(
            settings.database_url.reveal(),
            bots,
            rate=settings.rate,
            max_age=settings.max_age,
            dedupe=settings.dedupe,
            finds_builds=settings.pgyer_key is not None,
            sends=settings.dispatch,
        )
        database = self.outbox.database
        self.clock = database.time
        self.intake = Intake(self.outbox, routes, settings.timezone)
        self.queries = Queries(database, bots)
        self.shared = SharedValues(database)
        self.wrong_tokens = WrongTokens(self.shared, self.clock)
        self.operator = Operator(database, settings.max_age, self.clock)
        # Without a password there is no console for a message to link to.
        public_url = settings.public_url if settings.admin_password else ""
        self.template_versions = TemplateVersions(database, self.clock)
        saved = self.template_versions.texts
        routed = [route.template for route in routes]
        self.renderer = Renderer(settings.templates, settings.timezone, public_url, saved, routed)
        self.pgyer: Poller | None
        self.pgyer, lookup = self._ask_pgyer()
        self.dispatcher = Dispatcher(
            self.outbox, self.renderer, Client(), bots, settings.retention, self.clock, lookup
        )

        self.is_started = False
        self.heartbeat: Heartbeat | None = None
        if settings.heartbeat_url:
            self.heartbeat = Heartbeat(
                settings.heartbeat_url, lambda: self.readiness().problems, self.shared, self.clock
            )

    def _ask_pgyer(self) -> "tuple[Poller, Lookup] | tuple[None, None]":
        """Return who asks Pgyer for builds, and for a build's pictures; None without a key."""
        settings, database = self.settings, self.outbox.database
        if not settings.pgyer_key:
            return None, None
        # Here, so that it costs nothing where it is not used.
        from bridge.pgyer.client import Client
        from bridge.pgyer.lookup import Lookup
        from bridge.pgyer.poller import Poller
        from bridge.pgyer.watch import Watch
        from bridge.storage.builds import PgyerBuilds

        client = Client(settings.pgyer_key, settings.pgyer_url, self.clock)
        known = PgyerBuilds(database)

        def accept(event: Event) -> Accepted:
            [(_event, _targets, accepted)] = self.intake.store([event]).stored
            return accepted

        watch = Watch(client, known, accept, settings.max_age, self.clock)
        interval = settings.pgyer_interval
        poller = Poller(watch, self.shared, settings.pgyer_key, interval, self.clock)
        return poller, Lookup(client, known)

    def open_database(self) -> None:
        """Bring the database up to date, and warn of deliveries that no bot sends.

        Raises StorageError. Leaves no connection behind, so that the process may fork.
        """
        bots = self.queries.bots(self.clock(), with_removed=True)
        self.outbox.database.open()  # afterwards, since it closes the readers as well
        for bot in bots:
            if bot.stopped == REMOVED:
                with speaking("en"):
                    why, todo = meaning(REMOVED), advice(REMOVED, bot.name)
                log.warning("bot %s, pending %s: %s. %s", bot.name, bot.pending, why, todo)

    def start(self) -> None:
        """Begin to dispatch, to ask Pgyer and to call the monitor; after a fork, not at import."""
        self.is_started = True
        self.dispatcher.start()
        if self.pgyer:
            self.pgyer.start()
        if self.heartbeat:
            self.heartbeat.start()

    def readiness(self) -> Readiness:
        """Look at database, bots, dispatcher and templates."""
        found = Readiness()
        try:
            self.outbox.database.check()
            health = self.queries.health()
            age = max(0.0, round(self.clock() - health.oldest, 1)) if health.oldest else 0.0
            found.pending, found.oldest_seconds = health.pending, age
            if age > LATE:
                bot = health.oldest_bot
                removed = "" if bot in self.settings.bots else ", which is not in the settings"
                text = f"the oldest of {health.pending} pending deliveries waits for {age:.0f} s"
                found.problems.append(f"{text} (bot {bot}{removed})")
            found.problems += [
                f"bot {name} is stopped: {why}" for name, why in health.stopped.items()
            ]
            if self.pgyer and (problem := self.pgyer.problem()):
                found.problems.append(problem)
        except StorageError as error:
            found.problems.append(f"database: {error}")
        if self.settings.dispatch and not self.dispatcher.alive:
            text = "the dispatcher does not run: start the bridge by `bridge serve`"
            found.problems.append(text)
        with speaking("en"):
            found.problems += [f"template {problem}" for problem in self.renderer.problems]
        return found

    def close(self) -> None:
        """Finish what is under way, and close the database."""
        if self.heartbeat:
            self.heartbeat.stop()
        if self.pgyer:
            self.pgyer.stop()
        self.dispatcher.stop()
        with suppress(StorageError):
            self.wrong_tokens.write()
        self.outbox.database.close()


# The parts of the app that serves the request.
bridge: Bridge = LocalProxy(lambda: current_app.extensions["bridge"])  # type: ignore[assignment]
