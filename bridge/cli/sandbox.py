"""`bridge sandbox`: a stand-in for WeCom and Pgyer, to try the bridge without an account."""

from typing import Any

import click

from bridge.cli.common import stop_signals, wait_for_stop
from bridge.sandbox import PGYER_KEY, Sandbox, serve
from bridge.wording import gettext as _

_PORT = click.IntRange(0, 65535)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", type=_PORT, default=9000, show_default=True, help="0: any free one.")
@click.option("--key", "keys", multiple=True, help="A robot's key; without any, all are known.")
@click.option("--rate", default=20, show_default=True, help="Messages per minute; 0: no limit.")
@click.option(
    "--window",
    type=click.Choice(["sliding", "minute"]),
    default="sliding",
    help="How the rate is counted.",
)
@click.option("--count-refused", is_flag=True, help="Refused calls count against the rate.")
@click.option("--latency", default=0.0, help="Seconds before each answer.")
def sandbox(host: str, port: int, keys: tuple[str, ...], rate: int, **options: Any) -> None:
    """A stand-in for WeCom, with a page like the group."""
    box = Sandbox({key: key for key in keys}, rate=rate or None, **options)
    try:
        serving = serve(box, host, port)
    except OSError as error:
        problem = _("the sandbox cannot listen: %(why)s", why=_(str(error.strerror)))
        raise click.ClickException(problem) from error
    stopping = stop_signals()
    with serving as url:
        click.echo(_("Open the groups: %(url)s", url=f"{url}/"))
        click.echo(_("Point the bridge at it:"))
        click.echo(f"  export WECOM_API_URL={url} WECOM_BOT_KEY={keys[0] if keys else 'demo'}")
        click.echo(f"  export PGYER_API_URL={url} PGYER_API_KEY={PGYER_KEY}")
        click.echo(_("Ctrl-C ends it"))
        wait_for_stop(stopping)
