"""The bundled bodies, as Pgyer would send them, and an event of every known type."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from bridge.model import Event
from bridge.receiving.decoding import decode
from bridge.wording import notice

_RECEIVED = 1_795_485_733.0  # epoch seconds


def _notice(kind: str, **facts: Any) -> Mapping[str, Any]:
    return {"bot": "dev", **facts, "message": notice(kind, "dev", **facts)}


# Events of the bridge itself, which no body of Pgyer's can show.
_OWN: Mapping[str, Mapping[str, Any]] = {
    "undecodable": {"bytes": 42, "begins": "<xml><title>商城</title></xml>"},
    "botStopped": _notice("botStopped", reason="invalid_webhook", detail="invalid webhook url"),
    "expired": _notice("expired", count=3, hours=24.0),
    "test": {"bot": "default"},
}


def samples() -> dict[str, bytes]:
    """Return the bundled bodies by event type."""
    return {path.stem: path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.json"))}


@cache
def examples() -> Mapping[str, Event]:
    """Return an event of every known type, by type."""
    found = {kind: Event(kind, payload, _RECEIVED, id=1) for kind, payload in _OWN.items()}
    for body in samples().values():
        for event in decode(body, _RECEIVED):
            found[event.type] = replace(event, id=1)
    return found


def example_for(template: str) -> Event:
    """Return an event to show a template with: for `crashlog-short` a crashlog.

    Where the template's name says nothing it is a new version.
    """
    kinds = [kind for kind in examples() if template.lower().startswith(kind.lower())]
    return examples()[max(kinds, key=len, default="updateVersion")]
