"""The app in this process, where every corner can be reached; nothing dispatches."""

from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from bridge import create_app


@pytest.fixture
def app(environ: dict[str, str]) -> Iterator[Flask]:
    app = create_app({**environ, "BRIDGE_DISPATCH": "off"})
    yield app
    app.extensions["bridge"].close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()
