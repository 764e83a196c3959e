"""What can follow a message: the QR code of the app's page, and the whole notes as a file; pure."""

import base64
import hashlib
import io
import re

from bridge.messages.context import notes_of
from bridge.messages.markdown import plain, size
from bridge.model import Event, Message, is_web_address
from bridge.msgtypes import MSGTYPES

_MIN_FILE = 6  # bytes, document 91770
_MAX_QR = 2000  # bytes; a QR code of level M holds 2,331


def qrcode(event: Event) -> list[Message]:
    """Return an image of the QR code of the event's link, nothing where it has none."""
    link = event.fields["link"]
    if not is_web_address(link) or size(link) > _MAX_QR:
        return []
    import segno  # here, since it takes a tenth of a start

    picture = io.BytesIO()
    segno.make(link, error="m", micro=False).save(picture, kind="png", scale=8, border=3)
    data = picture.getvalue()
    body = {"base64": base64.b64encode(data).decode(), "md5": hashlib.md5(data).hexdigest()}
    return [Message("image", body)]


def log_file(event: Event) -> list[Message]:
    """Return the whole notes as a text file, e.g. `商城-iOS-3.8.1-2091-crash.txt`."""
    data = plain(notes_of(event)).encode()[: MSGTYPES["file"].limit]
    if len(data) < _MIN_FILE:
        return []
    kind = "crash" if event.type == "crashlog" else event.type or "event"
    names = ("title", "device_type", "os_version", "build_version")
    parts = [*(event.fields[name][:40] for name in names), kind[:40]]
    words = [re.sub(r"[^\w.]+", "_", part).strip("._") for part in parts]
    name = "-".join(filter(None, words)) or "event"
    return [Message("file", {"filename": f"{name}.txt", "data": data})]
