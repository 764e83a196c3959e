"""One look at Pgyer: which builds are new, and which of them had no webhook.

The first look with a key only notes what there is. After that a build is new whose key is unknown
and whose counter is above all others of its app: an older one that comes to the top again, because
a newer one was deleted or another one made the latest, is not.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from bridge.errors import PgyerError
from bridge.model import Event
from bridge.pgyer.builds import Build, builds_of, event_of_build, pages_of, view_of
from bridge.pgyer.client import Client, Reply
from bridge.storage.builds import EARLY, App, PgyerBuilds
from bridge.storage.outbox import Accepted

log = logging.getLogger(__name__)

GRACE = 180.0  # seconds in which a build's webhook may still come
UNSEEN = 86400.0  # seconds for which the first look may not have been shown a build yet
MAX_PAGES = 50  # of apps, 20 on each
MAX_BUILD_PAGES = 5  # of one app
MAX_LOOK = 80.0  # seconds after which no further call begins; less than the poller's lease


class Verdict(StrEnum):
    """What was decided about a build."""

    BASELINE = "baseline"  # it was there at the first look
    KNOWN = "known"  # nothing is new
    UNPUBLISHED = "unpublished"  # Pgyer is not done with it
    GRACE = "grace"  # its webhook may still come
    HIDDEN = "hidden"  # its owner does not show it
    TOO_OLD = "too_old"  # the newest of an app that came with a history, and no news
    WEBHOOK = "webhook"  # its event is stored
    MISSING = "missing"  # its webhook did not come


_UNDECIDED = (Verdict.KNOWN, Verdict.UNPUBLISHED, Verdict.GRACE)


@dataclass(frozen=True)
class Seen:
    """A build, what was decided about it, and its event, 0 for none."""

    build: Build
    verdict: Verdict
    event: int = 0


@dataclass(frozen=True)
class Look:
    """Each app's newest build and all new ones, and when Pgyer said so (epoch s, by its clock).

    `failure` says why none are, or why the builds of some apps are not among them.
    """

    seen: Sequence[Seen]
    at: float
    failure: PgyerError | None = None


class Watch:
    """Looks at the apps of a key; `accept` stores the event of a build.

    Where an app is new, its newest build is sent unless it is older than `max_age` seconds.
    `clock` gives epoch seconds.
    """

    def __init__(
        self,
        client: Client,
        known: PgyerBuilds,
        accept: Callable[[Event], Accepted],
        max_age: float,
        clock: Callable[[], float],
    ) -> None:
        self._client, self.known, self._accept = client, known, accept
        self._max_age, self._clock = max_age, clock

    def look(self, first_at: float, dry: bool = False) -> Look:
        """Return what Pgyer shows, and send what is missing.

        `first_at` is the `at` of the first look with the key, 0 where this is the first. A `dry`
        look changes nothing, and says of every build whether its webhook is stored. Raises
        StorageError.
        """
        until = time.monotonic() + MAX_LOOK
        try:
            newest, at = self._newest(until)
        except PgyerError as error:
            return Look((), self._clock(), error)
        apps, keys = self.known.apps(), self.known.known([build.key for build in newest])
        seen: list[Seen] = []
        failure: PgyerError | None = None
        for build in newest:
            app = apps.get(build.app)
            if not app and not first_at:
                seen.append(Seen(build, Verdict.BASELINE))
            elif app and (build.key in keys or build.counter <= app.counter):
                seen.append(Seen(build, Verdict.KNOWN))
            else:
                try:
                    builds, refusal = self._new_builds(build, app.counter if app else -1, until)
                    # The clock may have been ahead then.
                    since = min(first_at, at) - (UNSEEN if app else 0.0)
                    decided = list(self._decided(builds, since, at))
                    is_recorded = not dry and decided and decided[0].verdict not in _UNDECIDED
                    if app and refusal and is_recorded and builds[0].counter > app.counter + 1:
                        _report_gap(builds[0], app.counter, refusal)
                    seen += decided
                except PgyerError as error:
                    failure = error
        if dry:
            seen = [replace(each, event=self._webhook(each.build, 0.0)) for each in seen]
        else:
            seen = [self._sent(s, until) if s.verdict is Verdict.MISSING else s for s in seen]
            self._record(newest, seen, apps)
        return Look(seen, at, failure)

    def count_apps(self) -> int:
        """Return how many apps the first page has, to try the key; raises PgyerError."""
        return len({build.app for build in builds_of(self._client.call("listMy", {}).data)})

    def _newest(self, until: float) -> tuple[list[Build], float]:
        """Return the newest build of each app, and when Pgyer said so (epoch s)."""
        found: dict[str, Build] = {}
        at = self._clock()
        for number in range(1, MAX_PAGES + 1):
            reply = self._call("listMy", until, page=str(number))
            at, count = reply.at, len(found)
            try:
                builds = builds_of(reply.data)
            except PgyerError:
                if number == 1:
                    raise
                break  # behind the last page there may be anything; so may an app without a build
            for build in builds:
                other = found.setdefault(build.app, build)
                found[build.app] = max(build, other, key=lambda each: each.counter)
            if len(found) == count or _is_last(number, reply.data):
                break
        return list(found.values()), at

    def _new_builds(
        self, newest: Build, highest: int, until: float
    ) -> tuple[list[Build], PgyerError | None]:
        """Return an app's builds above its highest counter so far, in their order.

        Where Pgyer does not list them, that is the newest alone, and why.
        """
        found: dict[str, Build] = {}
        refusal = None
        for number in range(1, MAX_BUILD_PAGES + 1):
            try:
                reply = self._call("builds", until, appKey=newest.app, page=str(number))
                page = {build.key: build for build in builds_of(reply.data, newest.app)}
            except PgyerError as error:
                if error.outcome in ("away", "wrong_key"):
                    raise
                refusal = error
                break
            is_last = page.keys() <= found.keys() or _is_last(number, reply.data)
            found |= page
            if is_last or any(build.counter <= highest for build in page.values()):
                break
        # Only the newest has the address of the app's page.
        page_of_app = {"buildShortcutUrl": newest.fields.get("buildShortcutUrl", "")}
        full = {key: _merged(build, page_of_app) for key, build in found.items()}
        full[newest.key] = _merged(full.get(newest.key, newest), newest.fields)
        keys = self.known.known(list(full))
        new = (b for b in full.values() if b.counter > highest and b.key not in keys)
        return sorted(new, key=lambda build: build.counter), refusal

    def _decided(self, builds: Sequence[Build], since: float, at: float) -> Iterator[Seen]:
        """Yield what becomes of an app's new builds, at a moment by Pgyer's clock (epoch s).

        What is older than `since` is history, and at most the newest of it is sent: an app that is
        new may come from another account, and at the first look an older build may have been
        shown as a known app's latest.
        """
        for build in builds:
            created = at - GRACE if build.created is None else build.created
            age, is_history = at - created, created < since
            if not build.is_published:
                yield Seen(build, Verdict.UNPUBLISHED)
            elif build.is_hidden:
                yield Seen(build, Verdict.HIDDEN)
            elif is_history and build is not builds[-1]:
                yield Seen(build, Verdict.BASELINE)
            elif age < GRACE:
                yield Seen(build, Verdict.GRACE)
                return  # what is newer comes after it
            elif event := self._webhook(build, created - EARLY):
                yield Seen(build, Verdict.WEBHOOK, event)
            else:
                is_too_old = is_history and age > self._max_age
                yield Seen(build, Verdict.TOO_OLD if is_too_old else Verdict.MISSING)

    def _webhook(self, build: Build, since: float) -> int:
        return self.known.webhook_event(event_of_build(build, 0.0), since) or 0

    def _sent(self, seen: Seen, until: float) -> Seen:
        """Store the event of a build, unless its webhook has come meanwhile."""
        build = seen.build
        with suppress(PgyerError):  # it has pictures and the page, and can be done without
            reply = self._call("view", until, appKey=build.app, buildKey=build.key)
            viewed = view_of(reply.data, build.app)
            if viewed and viewed.key == build.key:
                build = _merged(viewed, build.fields)
        accepted = self._accept(event_of_build(build, self._clock()))
        verdict = Verdict.WEBHOOK if accepted.duplicate else Verdict.MISSING
        return Seen(build, verdict, accepted.event)

    def _record(
        self, newest: Sequence[Build], seen: Sequence[Seen], apps: Mapping[str, App]
    ) -> None:
        """Record what was decided, and apps that are new or have another page."""
        decided = [each for each in seen if each.verdict not in _UNDECIDED]
        counters: dict[str, int] = {}
        for each in decided:
            app = each.build.app
            counters[app] = max(counters.get(app, 0), each.build.counter)
        shown = [
            {"app_key": build.app, "slug": build.slug, "counter": counters.get(build.app, 0)}
            for build in newest
            if build.app in counters or (build.app in apps and apps[build.app].slug != build.slug)
        ]
        builds = [
            {
                "build_key": each.build.key,
                "app_key": each.build.app,
                "counter": each.build.counter,
                "verdict": each.verdict,
                "event_id": each.event,
            }
            for each in decided
        ]
        if shown or builds:
            self.known.record(shown, builds, self._clock())

    def _call(self, name: str, until: float, **form: str) -> Reply:
        if time.monotonic() > until:
            raise PgyerError("away", "Pgyer answers too slowly")
        return self._client.call(name, form)


def _report_gap(build: Build, highest: int, refusal: PgyerError) -> None:
    """Log that builds before this one may have had no webhook, and cannot be asked for."""
    line = "app %s: what came between its builds %s and %s is not known: %s"
    log.warning(line, build.fields.get("buildName", build.app), highest, build.counter, refusal)


def _is_last(number: int, data: Any) -> bool:
    pages = pages_of(data)
    return pages is not None and number >= pages


def _merged(build: Build, fields: Mapping[str, str]) -> Build:
    """Return a build with more fields; its own win, unless they are empty."""
    return replace(build, fields={**fields, **build.fields})
