"""What the bridge is measured against: the least that Flask can do with the same request.

`/pgyer/…` reads the body and answers. `/forward/…` is the thirty-line bridge that everybody
writes first: it decodes, calls WeCom in the request, and keeps nothing.
"""

import json
import os

import requests
from flask import Flask, request

app = Flask(__name__)
session = requests.Session()


@app.get("/healthz")
def healthz() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/pgyer/<token>")
def acknowledge(token: str) -> dict[str, str]:
    request.get_data()
    return {"status": "accepted"}


@app.post("/forward/<token>")
def forward(token: str) -> dict[str, str]:
    event = json.loads(request.get_data())
    content = f"**{event['title']}** {event['os_version']}"
    message = {"msgtype": "markdown", "markdown": {"content": content}}
    session.post(os.environ["WECOM_URL"], json=message, timeout=10)
    return {"status": "sent"}
