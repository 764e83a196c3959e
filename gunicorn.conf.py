from bridge.gunicorn_conf import *  # noqa: F403  # `gunicorn` in this folder reads it by itself
