"""Every part that receives or dispatches, put together for one process."""

from flask import current_app
from werkzeug.local import LocalProxy

from bridge.delivery.dispatcher import Dispatcher
from bridge.delivery.wecom import Client
from bridge.messages.renderer import Renderer
from bridge.model import Route
from bridge.receiving.intake import Intake
from bridge.receiving.wrong_requests import WrongRequests
from bridge.settings import Settings
from bridge.storage.operator import Operator
from bridge.storage.outbox import Outbox
from bridge.storage.queries import Queries

_WRONG_TOKEN = (
    "a request with a wrong token is refused. If it was Pgyer's, its event is lost: "
    "paste the address anew, as `bridge url` shows it"
)


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
        )
        database = self.outbox.database
        self.clock = database.time
        self.intake = Intake(self.outbox, routes, settings.timezone)
        self.wrong_tokens = WrongRequests("token", _WRONG_TOKEN)
        self.queries = Queries(database, bots)
        self.operator = Operator(database, settings.max_age, self.clock)
        # Without a password there is no console for a message to link to.
        public_url = settings.public_url if settings.admin_password else ""
        routed = [route.template for route in routes]
        self.renderer = Renderer(settings.templates, settings.timezone, public_url, routed)
        self.dispatcher = Dispatcher(
            self.outbox, self.renderer, Client(), bots, settings.retention, self.clock
        )

    def close(self) -> None:
        """Finish what is under way, and close the database."""
        self.dispatcher.stop()
        self.outbox.database.close()


# The parts of the app that serves the request.
bridge: Bridge = LocalProxy(lambda: current_app.extensions["bridge"])  # type: ignore[assignment]
