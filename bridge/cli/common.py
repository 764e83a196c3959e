"""What several commands need: the bridge's parts, options, bodies, events and their lines."""

import os
import re
import signal
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click

from bridge import configure
from bridge.cli.terminal import Terminal, one_line
from bridge.errors import SchemaError, StorageError, TooLargeError, UndecodableError
from bridge.model import Event, StoredEvent
from bridge.receiving.decoding import MAX_BODY, decode
from bridge.samples import samples
from bridge.settings import Settings
from bridge.storage.queries import DeliveryLine, EventLine, Queries, Wanted
from bridge.wiring import Bridge
from bridge.wording import N_, said
from bridge.wording import gettext as _

EVENT_ID = click.IntRange(1, 2**63 - 1)  # larger numbers cannot be in a database
PAGE = 200  # events that one query returns
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def seconds(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Return an option's duration, such as 90s, 30m, 2h, 7d or 2w, in seconds."""
    if value is None:
        return None
    found = re.fullmatch(r"(\d{1,6})([smhdw])", value.strip().lower(), re.ASCII)
    if not found or not int(found[1]):
        problem = _("%(value)r: write it like 90s, 30m, 2h, 7d", value=value)
        raise click.BadParameter(problem, ctx, param)
    return float(found[1]) * _UNITS[found[2]]


json_option = click.option("--json", "as_json", is_flag=True, help="For scripts.")
since_option = click.option(
    "--since", metavar="TIME", callback=seconds,
    help="Received within this time, e.g. 90s, 2h, 7d.",
)  # fmt: skip
bots_option = click.option(
    "--bot", "bots", metavar="BOT", multiple=True,
    help="To these bots, as if the URL named them.",
)  # fmt: skip


@contextmanager
def open_bridge(needs_keys: bool = True) -> Iterator[tuple[Bridge, Terminal]]:
    """Yield the parts of the bridge, none of them running, and a terminal that hides its secrets.

    Raises SettingsError, StorageError. The database is opened when it is first used.
    """
    settings, routes = configure(os.environ, needs_keys)
    bridge = Bridge(replace(settings, dispatch=False), routes)
    terminal = Terminal(bridge.settings.secrets)
    try:
        yield bridge, terminal
    except StorageError as error:
        why = " → ".join(filter(None, database_problem(settings, error)))
        raise StorageError(terminal.clean(why)) from None
    finally:
        bridge.close()


def database_problem(settings: Settings, error: StorageError) -> tuple[str, str]:
    """Return which database cannot be used and why, and what to do unless that says it."""
    text = f"{database_name(settings)}: {said(error)}"
    if isinstance(error, SchemaError) or "disk is full" in str(error):
        return text, ""
    if "is locked" in str(error):
        return text, _("another program keeps it locked: let that one end, and try again")
    return text, _("see DATABASE_URL: is the folder there and writable, does the server run?")


def database_name(settings: Settings) -> str:
    """Return which database is used, without the password."""
    kind, _, rest = settings.database_url.reveal().partition("://")
    return rest[1:] if kind == "sqlite" else rest.partition("?")[0].rpartition("@")[2]


def read_saved_templates(bridge: Bridge) -> None:
    """Read the texts that were saved in the console, which win over the folder's.

    Raises StorageError, where the renderer would quietly use what it knows.
    """
    if bridge.outbox.database.exists:
        bridge.template_versions.read()


def read_body(name: str) -> bytes:
    """Return the bytes of a file, of standard input for `-`, or of a bundled sample."""
    bundled = samples()
    if name in bundled and not Path(name).is_file():
        return bundled[name]
    try:
        with click.open_file(name, "rb") as file:
            body: bytes = file.read(MAX_BODY + 1)
    except OSError as error:
        text = N_("cannot read %(name)r: %(why)s (samples: %(known)s)")
        problem = _(text, name=name, why=_(str(error.strerror)), known=", ".join(bundled))
        raise click.UsageError(problem) from None
    if len(body) > MAX_BODY:
        raise click.ClickException(_("over %(most)s bytes: %(name)r", most=MAX_BODY, name=name))
    return body


def known_bot(given: str, known: Collection[str]) -> str:
    """Return the bot that an option names, '' for none; an unknown one is wrong use."""
    name = given.strip().lower()
    if name and name not in known:
        text = N_("there is no bot %(name)r; there are: %(known)s")
        raise click.UsageError(_(text, name=name, known=", ".join(sorted(known))))
    return name


def bot_names(given: Sequence[str], known: Collection[str]) -> list[str]:
    """Return the bots that options name, `a,b` being two."""
    names = (known_bot(name, known) for name in ",".join(given).split(","))
    return list(dict.fromkeys(filter(None, names)))


def stop_signals() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set, also where a shell has SIGINT ignored.

    So does SIGHUP, the end of the terminal, unless `nohup` has it ignored.
    """
    stopping = threading.Event()
    is_nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    for number in (signal.SIGTERM, signal.SIGINT, *(() if is_nohup else (signal.SIGHUP,))):
        signal.signal(number, lambda *_: stopping.set())
    return stopping


def wait_for_stop(stopping: threading.Event) -> None:
    """Wait until a signal has set the event."""
    # Not by `wait`: a signal handler must not take the lock that this thread may hold there.
    while not stopping.is_set():
        time.sleep(0.1)


def decode_body(body: bytes) -> list[Event]:
    """Return the events in a body; without any, the command ends with exit code 1."""
    try:
        events = decode(body, time.time())
    except (UndecodableError, TooLargeError) as error:
        raise click.ClickException(_("cannot be decoded: %(why)s", why=said(error))) from None
    if not events:
        raise click.ClickException(_("empty: there is no event in it"))
    return events


def stored_event(bridge: Bridge, event_id: int) -> StoredEvent:
    """Return a stored event; without it, the command ends with exit code 1."""
    if event := bridge.queries.event(event_id):
        return event
    text = N_("there is no event %(id)s (%(database)s)")
    raise click.ClickException(_(text, id=event_id, database=database_name(bridge.settings)))


def version_of(fields: Mapping[str, str]) -> str:
    """Return an app's version with its build and device, e.g. `2.4 (139) iOS`."""
    build = f"({fields['build_version']})" if fields["build_version"] else ""
    return " ".join(filter(None, (fields["os_version"], build, fields["device_type"])))


def event_title(event: Event) -> str:
    """Return an event on one line: its type, app, version and device."""
    app = " ".join(filter(None, (event.fields["title"], version_of(event.fields))))
    kind = event.type or _("no type")
    return one_line(f"{kind} · {app}" if app else kind)


def delivery_state(line: DeliveryLine) -> str:
    """Return a delivery's bot and state as JSON has it, with the reason where there is one."""
    why = f" ({line.reason})" if line.reason and line.reason != "ok" else ""
    return f"{line.target.bot} {line.state}{why}"


def matching_events(queries: Queries, wanted: Wanted) -> Iterator[EventLine]:
    """Yield all stored events that match, newest first."""
    page = queries.events(wanted, limit=PAGE)
    yield from page.events
    while page.older is not None:
        page = queries.events(wanted, page.older, PAGE)
        yield from page.events
