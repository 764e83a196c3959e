"""`bridge sandbox` and `bridge demo`: to try it without WeCom."""

import sys
import time

import click

from bridge.cli.demo import run_demo
from bridge.sandbox import Sandbox, serve


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=9000,
    show_default=True,
    help="0: any free one.",
)
@click.option("--key", "keys", multiple=True, help="A robot's key; without any, all are known.")
@click.option("--rate", default=20, show_default=True, help="Messages per minute; 0: no limit.")
@click.option("--window", type=click.Choice(["sliding", "minute"]), default="sliding")
@click.option("--count-refused", is_flag=True, help="Refused calls count against the rate.")
@click.option("--latency", default=0.0, help="Seconds before each answer.")
def sandbox(
    host: str,
    port: int,
    keys: tuple[str, ...],
    rate: int,
    window: str,
    count_refused: bool,
    latency: float,
) -> None:
    """企业微信的替身：像群一样显示消息 · A stand-in for WeCom, with a page like the group."""
    box = Sandbox(
        {key: key for key in keys},
        rate=rate or None,
        window="minute" if window == "minute" else "sliding",
        count_refused=count_refused,
        latency=latency,
    )
    try:
        serving = serve(box, host, port)
    except OSError as error:
        problem = f"沙盒无法监听 · the sandbox cannot listen: {error.strerror}"
        raise click.ClickException(problem) from error
    with serving as url:
        click.echo(f"群消息页 Open: {url}/")
        click.echo("让桥用它 Point the bridge at it:")
        click.echo(f"  export WECOM_API_URL={url} WECOM_BOT_KEY={keys[0] if keys else 'demo'}")
        _until_interrupted()


@click.command()
@click.option("--once", is_flag=True, help="End as soon as all samples have arrived; 1 if not.")
def demo(once: bool) -> None:
    """沙盒、桥和示例事件一起跑 · Run sandbox and bridge, and post the samples."""
    sys.exit(run_demo(once, _until_interrupted))


def _until_interrupted() -> None:
    click.echo("Ctrl-C 结束 to stop")
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        click.echo()
