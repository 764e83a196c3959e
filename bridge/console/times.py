"""Times as the console writes them, in the bridge's time zone."""

from dataclasses import dataclass
from datetime import datetime, tzinfo

from bridge.wording import gettext as _


@dataclass(frozen=True)
class Times:
    """Formats epoch seconds for a page that is made `now`."""

    zone: tzinfo
    now: float

    def local(self, at: float) -> datetime:
        """Return date and time in the bridge's zone."""
        return datetime.fromtimestamp(at, self.zone)

    def full(self, at: float) -> str:
        """Return date and time to the second."""
        return self.local(at).strftime("%Y-%m-%d %H:%M:%S")

    def short(self, at: float) -> str:
        """Return the time alone for today, date and time for any other day."""
        then, today = self.local(at), self.local(self.now)
        if then.date() == today.date():
            return then.strftime("%H:%M:%S")
        return then.strftime("%m-%d %H:%M" if then.year == today.year else "%Y-%m-%d")

    def ago(self, at: float) -> str:
        """Return how long ago a time was, in words."""
        seconds = int(self.now - at)
        if seconds < 60:
            return _("just now")
        if seconds < 3600:
            return _("%(count)d min ago", count=seconds // 60)
        if seconds < 86400:
            return _("%(count)d h ago", count=seconds // 3600)
        return _("%(count)d d ago", count=seconds // 86400)
