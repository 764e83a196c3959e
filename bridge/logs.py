"""Log lines as text or JSON, with every secret replaced by `***`."""

import logging
import re
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, quote_plus

from bridge.model import to_json
from bridge.settings import Settings


class RedactingFormatter(logging.Formatter):
    """Formats a record with its traceback, and then redacts every secret.

    The finished line is redacted, because secrets come in many ways: requests puts the whole
    webhook URL into its exceptions, gunicorn the path into its access log.
    """

    def __init__(self, secrets: Sequence[str] = (), style: str = "text") -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
        self.converter = time.gmtime
        self.default_time_format, self.default_msec_format = "%Y-%m-%dT%H:%M:%S", "%s.%03dZ"
        self.as_json = style == "json"
        self.forms = forms(secrets)

    def format(self, record: logging.LogRecord) -> str:
        """Return one line; a text line is followed by the traceback, if there is one."""
        if not self.as_json:
            return redact(super().format(record), self.forms)
        line: dict[str, Any] = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        # Redacted before it is JSON: a secret may be a number, or contain what JSON escapes.
        shown = {
            key: fact if isinstance(fact, int | float | None) else redact(str(fact), self.forms)
            for key, fact in line.items()
        }
        return to_json(shown)

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line without line breaks: a sender cannot forge a log line with one."""
        return re.sub(r"[\r\n]+", " ⏎ ", super().formatMessage(record))


def forms(secrets: Sequence[str]) -> list[str]:
    """Return the secrets as they may appear in a text: plain, in a URL, in a repr."""
    found = {
        form
        for text in secrets
        for form in (text, repr(text)[1:-1], quote(text), quote(text, safe=""), quote_plus(text))
    }
    return sorted(found, key=len, reverse=True)


def redact(text: str, forms: Sequence[str]) -> str:
    """Return the text with every one of these forms replaced by `***`."""
    for form in forms:
        text = text.replace(form, "***")
    return text


def config(settings: Settings) -> dict[str, Any]:
    """Return a configuration for `logging.config.dictConfig`, gunicorn's own loggers included."""
    # The bridge logs each event itself; gunicorn's line for each request is for debugging.
    requests_shown = "INFO" if settings.log_level == "DEBUG" else "WARNING"
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "redacting": {
                "()": RedactingFormatter,
                "secrets": settings.secrets,
                "style": settings.log_format,
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "redacting"}},
        "root": {"level": settings.log_level, "handlers": ["stderr"]},
        "loggers": {
            "gunicorn.error": {"level": settings.log_level, "propagate": True},
            "gunicorn.access": {"level": requests_shown, "propagate": True},
        },
    }
