"""Log lines for the person at 2 a.m.: text or JSON, and never a secret in them."""

import logging
import re
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, quote_plus

from bridge.model import to_json
from bridge.settings import Settings


class RedactingFormatter(logging.Formatter):
    """Formats a record, traceback included, and then blots out every secret.

    It works on the finished line, since a secret can come in by any door: requests puts the
    whole webhook URL into its exceptions, gunicorn the path into its access log.
    """

    def __init__(self, secrets: Sequence[str] = (), style: str = "text") -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
        self.converter = time.gmtime
        self.default_time_format, self.default_msec_format = "%Y-%m-%dT%H:%M:%S", "%s.%03dZ"
        self.as_json = style == "json"
        self.forms = forms(secrets)

    def format(self, record: logging.LogRecord) -> str:
        """Return one line; a text line is followed by its traceback, where there is one."""
        if self.as_json:
            return self._as_json(record)
        return redact(super().format(record), self.forms)

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return a text line's one line: a sender's line break begins no new one."""
        return re.sub(r"[\r\n]+", " ⏎ ", super().formatMessage(record))

    def _as_json(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        # Redacted before it is JSON: a secret may be a number, or hold what JSON escapes.
        shown = {
            key: fact if isinstance(fact, int | float | None) else redact(str(fact), self.forms)
            for key, fact in line.items()
        }
        return to_json(shown)


def forms(secrets: Sequence[str]) -> list[str]:
    """Return secrets as they may stand in a text: plain, in a URL, in a repr; longest first."""
    found = {
        form
        for secret in secrets
        for form in (secret, repr(secret)[1:-1], quote(secret), quote(secret, safe=""))
    }
    return sorted({*found, *map(quote_plus, secrets)}, key=len, reverse=True)


def redact(text: str, forms: Sequence[str]) -> str:
    """Return the text with each of these forms of a secret as `***`."""
    for form in forms:
        text = text.replace(form, "***")
    return text


def config(settings: Settings) -> dict[str, Any]:
    """Return a `logging.config.dictConfig` that also holds gunicorn's own loggers."""
    # The bridge has a line of its own for each event; gunicorn's for each request helps in a hunt.
    requests_shown = "INFO" if settings.log_level == "DEBUG" else "WARNING"
    formatter = {
        "()": RedactingFormatter,
        "secrets": settings.secrets,
        "style": settings.log_format,
    }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"redacting": formatter},
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stderr",
                "formatter": "redacting",
            }
        },
        "root": {"level": settings.log_level, "handlers": ["stderr"]},
        "loggers": {
            "gunicorn.error": {
                "level": settings.log_level,
                "handlers": ["stderr"],
                "propagate": False,
            },
            "gunicorn.access": {
                "level": requests_shown,
                "handlers": ["stderr"],
                "propagate": False,
            },
        },
    }
