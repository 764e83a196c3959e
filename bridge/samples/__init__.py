"""The bundled bodies, as Pgyer documents or would send them."""

from pathlib import Path


def samples() -> dict[str, bytes]:
    """Return the bundled bodies by event type."""
    return {path.stem: path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.json"))}
