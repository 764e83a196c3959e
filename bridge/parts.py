"""The parts of one process, put together, for whoever needs several of them."""

from dataclasses import dataclass

from bridge.dispatcher import Dispatcher
from bridge.history import History
from bridge.model import Route
from bridge.outbox import Outbox
from bridge.rendering import Renderer
from bridge.repairs import Repairs
from bridge.settings import Settings


@dataclass(frozen=True)
class Bridge:
    """Settings and routes, and the parts that were made by them."""

    settings: Settings
    routes: list[Route]
    outbox: Outbox
    history: History
    repairs: Repairs
    renderer: Renderer
    dispatcher: Dispatcher

    def close(self) -> None:
        """Finish what is under way, and let go of the database."""
        self.dispatcher.stop()
        self.outbox.database.close()
