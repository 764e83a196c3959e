"""A stand-in for WeCom and Pgyer: rules over real HTTP, faults on demand, a page like the group."""

from bridge.sandbox.pgyer import KEY as PGYER_KEY
from bridge.sandbox.rules import MINUTE, SEND, UPLOAD
from bridge.sandbox.server import serve
from bridge.sandbox.state import Call, Sandbox

__all__ = ["MINUTE", "PGYER_KEY", "SEND", "UPLOAD", "Call", "Sandbox", "serve"]
