"""What is reached over HTTP beside the receiver: the checks of the platform, and the console."""

from flask import current_app
from werkzeug.local import LocalProxy

from bridge.wiring import Bridge

# The parts of the app that serves the request.
bridge: Bridge = LocalProxy(lambda: current_app.extensions["bridge"])  # type: ignore[assignment]
