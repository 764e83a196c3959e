"""Times as the console writes them, in the bridge's time zone."""

from collections.abc import Callable
from datetime import datetime, tzinfo

from bridge.wording import gettext as _


class Times:
    """Formats epoch seconds for pages; `clock` returns the current ones."""

    def __init__(self, zone: tzinfo, clock: Callable[[], float]) -> None:
        self._zone = zone
        self._clock = clock

    def local(self, at: float) -> datetime:
        """Return date and time in the bridge's zone."""
        return datetime.fromtimestamp(at, self._zone)

    def full(self, at: float) -> str:
        """Return date and time to the second."""
        return self.local(at).strftime("%Y-%m-%d %H:%M:%S")

    def short(self, at: float) -> str:
        """Return the time alone for today, date and time for any other day."""
        then, today = self.local(at), self.local(self._clock())
        if then.date() == today.date():
            return then.strftime("%H:%M:%S")
        return then.strftime("%m-%d %H:%M" if then.year == today.year else "%Y-%m-%d")

    def is_past(self, at: float) -> bool:
        """Return whether a time is not later than now."""
        return at <= self._clock()

    def ago(self, at: float) -> str:
        """Return how long ago a time was, in words."""
        seconds = max(0, int(self._clock() - at))
        if seconds < 60:
            return _("just now")
        if seconds < 3600:
            return _("%(count)d min ago", count=seconds // 60)
        if seconds < 86400:
            return _("%(count)d h ago", count=seconds // 3600)
        return _("%(count)d d ago", count=seconds // 86400)
