"""`bridge init`: the files to begin with."""

import os
import secrets
import shlex
from collections.abc import Iterator
from pathlib import Path

import click

from bridge.settings import shipped_templates
from bridge.wording import N_, current
from bridge.wording import gettext as _

_ENV = N_("""\
# Secrets: keep this file out of version control. All settings are explained in .env.example.
# The webhook address of the group's robot, in WeCom: 群设置 → 群机器人 → 添加 → 复制 Webhook 地址
WECOM_BOT_KEY=
# The secret part of the address for Pgyer.
BRIDGE_TOKEN=%(token)s
# Opens the console at /console/
BRIDGE_ADMIN_PASSWORD=%(password)s
""")
_NEXT = N_("""\
Next:
  1. Paste the webhook address of the group's robot into %(env)s, behind WECOM_BOT_KEY=
  2. Start the bridge: %(go)sbridge serve
  3. Get the address to paste into Pgyer: %(go)sbridge url""")


@click.command()
@click.argument("folder", metavar="[DIR]", default=".", type=click.Path(path_type=Path))
def init(folder: Path) -> None:
    """Write templates, routes and settings to begin with.

    Into DIR, or the working folder: templates/, routes.toml, .env.example with all settings, and
    .env with a token and a password made for you. What is there already is kept.
    """
    try:
        for name, content in _files():
            is_new = _write(folder / name, content)
            text = _("written: %(file)s") if is_new else _("kept: %(file)s")
            click.echo(text % {"file": folder / name})
    except OSError as error:
        text = N_("cannot write %(file)s: %(why)s")
        raise click.ClickException(
            _(text, file=error.filename, why=_(str(error.strerror)))
        ) from None
    go = "" if folder.resolve() == Path.cwd() else f"cd {shlex.quote(str(folder))} && "
    click.echo("\n" + _(_NEXT, env=folder / ".env", go=go))


def _files() -> Iterator[tuple[str, bytes]]:
    """Yield each file's name and content."""
    templates = shipped_templates()
    for path in sorted(templates.rglob("*.j2")):
        yield f"templates/{path.relative_to(templates).as_posix()}", path.read_bytes()
    for name in ("routes.toml", ".env.example"):
        starter = Path(__file__).parent / "starters" / f"{current()}.{name.lstrip('.')}"
        yield name, starter.read_bytes()
    yield ".env", _(_ENV, token=secrets.token_hex(16), password=secrets.token_hex(8)).encode()


def _write(path: Path, content: bytes) -> bool:
    """Write a file that nobody else may read if it has secrets; return False if it was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = 0o600 if path.name == ".env" else 0o666
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        return False
    with os.fdopen(file, "wb") as out:
        out.write(content)
    return True
