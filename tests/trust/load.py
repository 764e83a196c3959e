"""Events that are posted to a running bridge, and what its groups have got of them."""

import itertools
import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import requests
from support import Deployment, Session, until

from bridge.sandbox import Sandbox

DEFAULT, DEV = "key-of-default", "key-of-dev"
_TITLE = re.compile(r"\bt\d+x\d+z\b")


def new_version(title: str) -> str:
    return json.dumps({"type": "updateVersion", "title": title, "os_version": "1.0"})


class Load:
    """Posts events from several threads; `acknowledged` are the titles that were answered 200."""

    def __init__(self, threads: int = 4) -> None:
        self.acknowledged: dict[str, int] = {}  # title → the event's id
        self.statuses: Counter[int] = Counter()
        self._threads = threads
        self._round = 0

    @contextmanager
    def on(self, bridge: Deployment, path: str = "/default,dev") -> Iterator[None]:
        """Post while the context lasts; a connection that breaks is no answer."""
        ending = threading.Event()
        self._round += 1

        def post(worker: int) -> None:
            with Session() as session:
                n = 0
                while not ending.is_set():
                    title = f"t{self._round}x{worker}{n:04}z"
                    n += 1
                    try:
                        answer = bridge.post(new_version(title), path, session)
                    except requests.RequestException:
                        ending.wait(0.02)
                        continue
                    self.statuses[answer.status_code] += 1
                    if answer.status_code == 200:
                        self.acknowledged[title] = answer.json()["event"]
                    else:
                        ending.wait(0.05)

        with ThreadPoolExecutor(self._threads) as pool:
            for worker in range(self._threads):
                pool.submit(post, worker)
            try:
                yield
            finally:
                ending.set()

    def wait_for(self, more: int) -> None:
        """Wait until so many more events are acknowledged."""
        target = len(self.acknowledged) + more
        until(lambda: len(self.acknowledged) >= target, f"{more} more are acknowledged")


def titles(box: Sandbox, key: str, fault: str | None = None) -> list[str]:
    """Return the titles that a group has seen, in order; by a `fault` those that met it."""
    calls = [call for call in box.messages(key) if fault in (None, call.fault)]
    # A line end stays one: as `\\n` it would be a letter before the title.
    texts = (json.dumps(call.payload, ensure_ascii=False).replace("\\n", "\n") for call in calls)
    return [title for text in texts for title in dict.fromkeys(_TITLE.findall(text))]


def pending(bridge: Deployment) -> int | None:
    """Return how many deliveries wait; None where the database cannot be used."""
    with Session() as session:
        found: int | None = session.get(f"{bridge.url}/readyz", timeout=60).json()["pending"]
    return found


def settle(bridge: Deployment, patience: float = 90.0) -> None:
    """Wait until nothing is pending."""
    until(lambda: pending(bridge) == 0, "nothing is pending", patience)


def check(load: Load, box: Sandbox, excuses: int, keys: tuple[str, ...] = (DEFAULT, DEV)) -> int:
    """Nothing acknowledged is lost, the order is kept, and few are sent twice.

    `excuses` is how many calls of a bot may have had no answer on record. Returns how many
    messages came twice.
    """
    twice = 0
    for key in keys:
        seen = titles(box, key)
        lost = set(load.acknowledged) - set(seen)
        assert not lost, f"{len(lost)} of {len(load.acknowledged)} are lost: {sorted(lost)[:9]}"
        first = [load.acknowledged[t] for t in dict.fromkeys(seen) if t in load.acknowledged]
        late = [pair for pair in itertools.pairwise(first) if pair[0] > pair[1]]
        assert not late, f"out of order: {late[:9]}"
        more = len(seen) - len(set(seen))
        assert more <= excuses, f"{more} came twice, {excuses} had no answer"
        twice += more
    return twice


Figure = Callable[[str], None]
