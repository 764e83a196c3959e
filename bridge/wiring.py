"""Every part that receives or dispatches, put together for one process."""

from collections.abc import Callable
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Bridge:
    """Settings and routes, and the parts made by them; `clock` gives the database's epoch s."""

    settings: Settings
    routes: list[Route]
    clock: Callable[[], float]
    outbox: Outbox
    intake: Intake
    wrong_tokens: WrongRequests
    queries: Queries
    operator: Operator
    renderer: Renderer
    dispatcher: Dispatcher

    def close(self) -> None:
        """Finish what is under way, and close the database."""
        self.dispatcher.stop()
        self.outbox.database.close()


def create_bridge(settings: Settings, routes: list[Route]) -> Bridge:
    """Put the parts together; nothing runs yet and no connection is open."""
    outbox = Outbox(
        settings.database_url.reveal(),
        settings.bots,
        rate=settings.rate,
        max_age=settings.max_age,
        dedupe=settings.dedupe,
    )
    clock = outbox.database.time
    # Without a password there is no console for a message to link to.
    public_url = settings.public_url if settings.admin_password else ""
    renderer = Renderer(settings.templates, settings.timezone, public_url)
    return Bridge(
        settings,
        routes,
        clock,
        outbox,
        Intake(outbox, routes, settings.timezone),
        WrongRequests("token", _WRONG_TOKEN),
        Queries(outbox.database, settings.bots),
        Operator(outbox.database, settings.max_age, clock),
        renderer,
        Dispatcher(outbox, renderer, Client(), settings.bots, settings.retention, clock),
    )
