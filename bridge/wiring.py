"""Every part that serves or dispatches, put together for one process."""

from dataclasses import dataclass

from bridge.delivery.dispatcher import Dispatcher
from bridge.delivery.wecom import Client
from bridge.messages.renderer import Renderer
from bridge.model import Route
from bridge.settings import Settings
from bridge.storage.operator import Operator
from bridge.storage.outbox import Outbox
from bridge.storage.queries import Queries


@dataclass(frozen=True)
class Bridge:
    """Settings and routes, and the parts that were made by them."""

    settings: Settings
    routes: list[Route]
    outbox: Outbox
    queries: Queries
    operator: Operator
    renderer: Renderer
    dispatcher: Dispatcher

    def close(self) -> None:
        """Finish what is under way, and let go of the database."""
        self.dispatcher.stop()
        self.outbox.database.close()


def create_bridge(config: Settings, routes: list[Route]) -> Bridge:
    """Put the parts together; nothing runs yet and no connection is open."""
    outbox = Outbox(
        config.database_url.reveal(),
        config.bots,
        rate=config.rate,
        max_age=config.max_age,
        dedupe=config.dedupe,
    )
    clock = outbox.database.time
    # Without a password there is no console for a message to link to.
    public_url = config.public_url if config.admin_password else ""
    renderer = Renderer(config.templates, config.timezone, public_url)
    queries = Queries(outbox.database, config.bots)
    dispatcher = Dispatcher(
        outbox, renderer, Client(), config.bots, queries, config.retention, clock
    )
    operator = Operator(outbox.database, config.max_age, clock)
    return Bridge(config, routes, outbox, queries, operator, renderer, dispatcher)
