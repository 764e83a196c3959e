"""Moments as the console writes them, in the bridge's time zone."""

from collections.abc import Callable
from datetime import datetime, tzinfo

from bridge.console.i18n import gettext as _


class Moments:
    """Writes epoch seconds for a reader; `clock` says what is now."""

    def __init__(self, zone: tzinfo, clock: Callable[[], float]) -> None:
        self._zone = zone
        self._clock = clock

    def full(self, at: float) -> str:
        """Return date and time to the second."""
        return self._local(at).strftime("%Y-%m-%d %H:%M:%S")

    def short(self, at: float) -> str:
        """Return the time alone for today, date and time for any other day."""
        moment, today = self._local(at), self._local(self._clock())
        if moment.date() == today.date():
            return moment.strftime("%H:%M:%S")
        form = "%m-%d %H:%M" if moment.year == today.year else "%Y-%m-%d"
        return moment.strftime(form)

    def hour(self, at: float) -> str:
        """Return the hour of the day, e.g. `08:00`."""
        return self._local(at).strftime("%H:%M")

    def iso(self, at: float) -> str:
        """Return it as HTML's `<time datetime>` wants it."""
        return self._local(at).isoformat(timespec="seconds")

    def is_past(self, at: float) -> bool:
        """Tell whether a moment is over."""
        return at <= self._clock()

    def ago(self, at: float) -> str:
        """Return in words how long ago a moment was."""
        seconds = max(0, int(self._clock() - at))
        if seconds < 60:
            return _("just now")
        if seconds < 3600:
            return _("%(count)d min ago", count=seconds // 60)
        if seconds < 86400:
            return _("%(count)d h ago", count=seconds // 3600)
        return _("%(count)d d ago", count=seconds // 86400)

    def _local(self, at: float) -> datetime:
        return datetime.fromtimestamp(at, self._zone)
