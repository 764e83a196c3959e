"""`bridge templates`: those in use, to look at, and to take into a repository or from one."""

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import click

from bridge.cli.common import json_option, open_bridge
from bridge.cli.terminal import iso
from bridge.messages.file_names import msgtype_of
from bridge.messages.findings import Finding
from bridge.messages.saving import find_name_problem, find_problems
from bridge.wiring import Bridge
from bridge.wording import N_
from bridge.wording import gettext as _

_FILE = click.Path(exists=True, path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.group()
def templates() -> None:
    """The templates in use: the folder's, and those saved in the console."""


@templates.command("list")
@json_option
def list_templates(as_json: bool) -> None:
    """Say which there are, and which are edited in the console."""
    with open_bridge() as (bridge, terminal):
        saved = bridge.template_versions.read()
        saved_at = {file: bridge.template_versions.of(file)[0].saved_at for file in saved}
        in_folder, broken = bridge.renderer.folder_files, bridge.renderer.broken
        files, zone = bridge.renderer.files, bridge.settings.timezone
        found = [
            {
                "file": file,
                "msgtype": msgtype_of(file),
                "in_folder": file in in_folder,
                "saved_at": iso(saved_at.get(file, 0.0), zone),
                "problem": broken[file].neutral(file) if file in broken else "",
            }
            for file in files
        ]
        if as_json:
            terminal.json(found)
        else:
            problems = bridge.renderer.problems_by_file
            terminal.table([_row(line, problems) for line in found])


def _row(line: Mapping[str, Any], problems: Mapping[str, str]) -> list[str]:
    edited = _("edited in the console") if line["in_folder"] else _("only in the console")
    where = edited if line["saved_at"] else _("the file")
    saved_at = (line["saved_at"] or "")[:19].replace("T", " ")
    return [line["file"], where, saved_at, problems.get(line["file"], "")]


@templates.command()
@click.argument("file")
def show(file: str) -> None:
    """Print a template's text."""
    with open_bridge() as (bridge, terminal):
        bridge.template_versions.read()
        source = bridge.renderer.files.get(file)
        if source is None:
            known = ", ".join(bridge.renderer.files)
            raise click.UsageError(_("There is no template of that name.") + f" ({known})")
        terminal.say(source.removesuffix("\n"))


@templates.command()
@click.argument("folder", metavar="DIR", type=_FOLDER)
def export(folder: Path) -> None:
    """Write all of them as files, e.g. for the repository."""
    with open_bridge() as (bridge, terminal):
        bridge.template_versions.read()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for file, source in bridge.renderer.files.items():
                (folder / file).write_text(source, encoding="utf-8")
                terminal.say(str(folder / file))
        except OSError as error:
            raise click.ClickException(f"{folder}: {_(str(error.strerror))}") from None


@templates.command("import")
@click.argument("paths", metavar="DIR|FILE...", type=_FILE, nargs=-1, required=True)
def import_templates(paths: Sequence[Path]) -> None:
    """Save files as the console would: only sound ones."""
    with open_bridge() as (bridge, terminal):
        bridge.template_versions.read()
        texts, refused = _read(paths)
        for file in sorted(texts.keys() - bridge.renderer.files.keys()):
            if problem := find_name_problem(file, bridge.renderer.files):
                refused[file] = [problem]
        sound = _sound({f: text for f, text in texts.items() if f not in refused}, bridge, refused)
        changed = {f: text for f, text in sound.items() if bridge.renderer.files.get(f) != text}
        if changed:
            bridge.template_versions.save(changed)
        for file in sound:
            done = (
                N_("%(file)s is saved.") if file in changed else N_("%(file)s is in use already.")
            )
            terminal.say(_(done, file=file))
        for file, problems in sorted(refused.items()):
            for problem in problems:
                text = _("%(file)s is not saved: %(problem)s", file=file, problem=problem)
                terminal.say(text, err=True)
    if refused:
        raise click.exceptions.Exit(1)


def _read(paths: Sequence[Path]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return the texts of files by name, and of those that are no text what is wrong."""
    texts, refused = {}, {}
    folders = (sorted(path.glob("*.j2")) if path.is_dir() else [path] for path in paths)
    for path in chain.from_iterable(folders):
        try:
            texts[path.name] = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            refused[path.name] = [Finding("not_utf8").text]
        except OSError as error:
            refused[path.name] = [_(str(error.strerror))]
    return texts, refused


def _sound(
    texts: Mapping[str, str], bridge: Bridge, refused: dict[str, list[str]]
) -> dict[str, str]:
    """Return the texts that may be saved together; add to `refused` why others may not."""
    left = dict(texts)
    while left and (problems := find_problems(bridge.renderer, left)):
        if not left.keys() & problems.keys():  # they break another file: nobody knows which does
            broken = [problem for found in problems.values() for problem in found]
            problems = dict.fromkeys(left, broken)
        refused |= {file: problems[file] for file in left.keys() & problems.keys()}
        left = {file: text for file, text in left.items() if file not in refused}
    return left
