"""Icon and QR code of a build whose webhook came, for a template that asks for them.

A message waits for them once, for a short time, and is sent without them where they do not come.
"""

import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future

from bridge.errors import PgyerError
from bridge.model import Event
from bridge.pgyer.builds import details, event_of_build, view_of
from bridge.pgyer.client import Client
from bridge.storage.builds import PgyerBuilds, marks_of, slug_of

DEADLINE = 2.0  # seconds that a message waits
PAUSE = 60.0  # seconds for which a Pgyer that did not answer is not asked for others
KEPT = 200  # events


class Lookup:
    """Finds the build of an event; safe for many threads."""

    def __init__(self, client: Client, known: PgyerBuilds) -> None:
        self._client, self._known = client, known
        self._lock = threading.Lock()
        self._asked: dict[int, Future[Mapping[str, str]]] = {}  # by the events' ids
        self._ask_after = float("-inf")  # monotonic s

    def __call__(self, event: Event) -> Mapping[str, str]:
        """Return what a template can show of an event's build, {} where that is not known.

        Never raises, and takes no longer than DEADLINE. One event is asked for once.
        """
        if event.id is None:
            return {}
        with self._lock:
            asked = self._asked.get(event.id)
            if not (asked and asked.done()) and time.monotonic() < self._ask_after:
                return {}
            if not asked:
                asked = self._asked[event.id] = self._begin(event)
                if len(self._asked) > KEPT:
                    del self._asked[next(iter(self._asked))]
        try:
            return asked.result(DEADLINE)
        except TimeoutError:
            self._pause()
        except Exception:  # whatever it is, the message is sent without
            pass
        return {}

    def _pause(self) -> None:
        self._ask_after = time.monotonic() + PAUSE

    def _begin(self, event: Event) -> Future[Mapping[str, str]]:
        """Ask in a thread of its own: the look-up of a host's name has no time-out."""
        asked: Future[Mapping[str, str]] = Future()

        def ask() -> None:
            try:
                asked.set_result(self._ask(event))
            except BaseException as error:
                if not isinstance(error, PgyerError) or error.outcome in ("away", "wrong_key"):
                    self._pause()
                    with self._lock:  # to be asked for again
                        self._asked.pop(event.id or 0, None)
                asked.set_exception(error)

        threading.Thread(target=ask, name="pgyer-view", daemon=True).start()
        return asked

    def _ask(self, event: Event) -> Mapping[str, str]:
        slug, marks = slug_of(event.fields["link"]), set(marks_of(event))
        app = self._known.app_with(slug) if slug and marks else ""
        if not app:
            return {}
        reply = self._client.call("view", {"appKey": app}, DEADLINE, hosts=1)
        build = view_of(reply.data, app)
        # Without a build's key Pgyer shows the newest, which may be another one by now.
        if not build or marks.isdisjoint(marks_of(event_of_build(build, 0.0))):
            return {}
        return details(build)
