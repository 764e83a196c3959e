"""`bridge pgyer`: ask Pgyer once, and see which builds have no webhook."""

from collections import Counter
from datetime import tzinfo
from typing import TYPE_CHECKING

import click

from bridge.cli import common
from bridge.cli.terminal import fit, iso, local_time
from bridge.receiving.builds import build_fields
from bridge.wording import asked_outcome, build_verdict
from bridge.wording import gettext as _

if TYPE_CHECKING:
    from bridge.pgyer.watch import Seen


@click.command()
@common.json_option
def pgyer(as_json: bool) -> None:
    """Ask Pgyer once for its apps and builds; nothing is sent or stored."""
    with common.open_bridge() as (bridge, terminal):
        if not bridge.pgyer:
            raise click.UsageError(_("PGYER_API_KEY is not set"))
        look = bridge.pgyer.watch.look(bridge.pgyer.state().first_at, dry=True)
        seen, failure, zone = look.seen, look.failure, bridge.settings.timezone
        if as_json:
            problem = {"error": failure.outcome, "code": failure.code} if failure else {}
            terminal.json({**problem, "builds": [_as_json(each, zone) for each in seen]})
        elif seen or not failure:
            if seen:
                terminal.table([_row(each, zone) for each in seen])
            counts = Counter(each.verdict for each in seen)
            text = _("%(apps)s apps", apps=len({each.build.app for each in seen}))
            verdicts = (f"{build_verdict(name)}: {count}" for name, count in sorted(counts.items()))
            terminal.say("; ".join([text, *verdicts]))
        if failure:
            raise click.ClickException(asked_outcome(failure.outcome, failure.code))


def _row(seen: "Seen", zone: tzinfo) -> list[str]:
    fields = {"os_version": "", "build_version": "", "device_type": "", "title": ""}
    fields |= build_fields(seen.build.fields)
    return [
        fit(fields["title"] or "-", 28),
        fit(common.version_of(fields) or "-", 24),
        local_time(seen.build.created, zone) if seen.build.created else "-",
        build_verdict(seen.verdict),
        f"#{seen.event}" if seen.event else "",
    ]


def _as_json(seen: "Seen", zone: tzinfo) -> dict[str, object]:
    build = seen.build
    fields = build_fields(build.fields)
    names = ("title", "os_version", "build_version", "device_type", "link")
    return {
        **{name: fields.get(name, "") for name in names},
        "build_key": build.key,
        "created_at": iso(build.created or 0.0, zone),
        "verdict": seen.verdict,
        "event": seen.event or None,
    }
