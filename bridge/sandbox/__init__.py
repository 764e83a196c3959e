"""A stand-in for WeCom: its rules over real HTTP, faults on demand, and a page like the group."""

from bridge.sandbox.faults import RETRY_AFTER
from bridge.sandbox.rules import MINUTE, SEND, UPLOAD
from bridge.sandbox.server import serve
from bridge.sandbox.state import Call, Sandbox

__all__ = ["MINUTE", "RETRY_AFTER", "SEND", "UPLOAD", "Call", "Sandbox", "serve"]
