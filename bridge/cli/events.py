"""`bridge events`: a list of stored events."""

from datetime import tzinfo
from itertools import islice

import click

from bridge.cli import common
from bridge.cli.terminal import attributes, fit, local_time
from bridge.storage.queries import EventLine, Wanted
from bridge.wording import STATES
from bridge.wording import gettext as _


@click.command()
@click.option("--state", type=click.Choice([*STATES]), help="With such a delivery.")
@common.since_option
@click.option("--type", default="", help="The event's type, e.g. crashlog.")
@click.option("--app", default="", help="What the app's name contains.")
@click.option("--bot", metavar="BOT", default="", help="Sent to this bot.")
@click.option("--text", default="", help="What title or notes contain.")
@click.option(
    "--limit", metavar="N", type=click.IntRange(1, 100_000), default=20, show_default=True
)
@common.json_option
def events(
    state: str | None, since: float | None, bot: str, limit: int, as_json: bool, **texts: str
) -> None:
    """The events that came in, the newest last."""
    with common.open_bridge() as (bridge, terminal):
        begin = bridge.outbox.database.time() - since if since else 0.0
        # Bytes that are no text in the terminal's charset are in no event.
        texts = {name: text.encode(errors="replace").decode() for name, text in texts.items()}
        wanted = Wanted(**texts, bot=bot.lower(), state=state or "", since=begin)
        zone = bridge.settings.timezone
        found = list(islice(common.matching_events(bridge.queries, wanted), limit))[::-1]
        if as_json:
            terminal.json([_as_json(line, zone) for line in found])
        elif found:
            terminal.table([_row(line, zone) for line in found])
        else:
            database = common.database_name(bridge.settings)
            terminal.say(_("no such events (%(database)s)", database=database), err=True)


def _row(line: EventLine, zone: tzinfo) -> list[str]:
    return [
        str(line.id),
        local_time(line.received_at, zone),
        fit(line.type or "-", 20),
        fit(line.fields["title"] or _(line.error) or "-", 28),
        fit(common.version_of(line.fields) or "-", 24),
        ", ".join(map(common.delivery_state, line.deliveries)) or "-",
    ]


def _as_json(line: EventLine, zone: tzinfo) -> dict[str, object]:
    return {
        **attributes(line, ["id", "received_at", "type", "error", "source"], zone),
        **line.fields,
        "brief": line.brief,
        "deliveries": [
            {"bot": delivery.target.bot, "state": delivery.state, "reason": delivery.reason}
            for delivery in line.deliveries
        ],
    }
