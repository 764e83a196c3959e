"""Update the catalog from the texts of code and pages; `--check` only says if it is up to date.

New texts are added to `messages.po` untranslated, for a person to translate; unused ones are
removed. Then the catalog is compiled into the `.mo` that the bridge reads. `--check` exits with 1
and the reasons where a text is missing, untranslated or unused, or the `.mo` is old.
"""

import io
import sys
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path

from babel.messages import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from click import Command, Group, Option

from bridge.cli import commands

ROOT = Path(__file__).parent.parent / "bridge"
PO = ROOT / "translations" / "zh" / "LC_MESSAGES" / "messages.po"
METHODS = [("**.py", "python"), ("**/templates/**.html", "jinja2")]
OPTIONS = {
    "**/templates/**.html": {"trimmed": "true", "extensions": "jinja2.ext.do", "silent": "false"}
}
KEYWORDS = dict.fromkeys(
    ("_", "N_", "gettext", "WrongValueError", "problem", "StorageError", "SchemaError",
     "UndecodableError", "TooLargeError")
) | {"ngettext": (1, 2)}  # fmt: skip
# Those of click's own texts that its users meet, in the versions that the bridge runs with.
CLICK = (
    "Usage:", "Options", "Commands", "Show this message and exit.", "default: {default}",
    "Error: {message}", "Try '{command} {option}' for help.", "Aborted!",
    "No such command {name!r}.", "No such option {name!r}.", "No such option: {name}",
    "Missing argument", "Invalid value: {message}",
    "Invalid value for {param_hint}: {message}", "{value!r} is not a valid {number_type}.",
    "{value} is not in the range {range}.", "Option {name!r} does not take a value.",
    "{name} {filename!r} does not exist.", "{name} {filename!r} is a file.",
    "{name} {filename!r} is not readable.",
)  # fmt: skip
CLICK_PLURALS = (
    ("Option {name!r} requires an argument.", "Option {name!r} requires {nargs} arguments."),
    ("Did you mean {possibility}?", "(Did you mean one of: {possibilities}?)"),
    ("Got unexpected extra argument ({args})", "Got unexpected extra arguments ({args})"),
    ("{value!r} is not {choice}.", "{value!r} is not one of {choices}."),
)


def extracted() -> Catalog:
    """Return the texts of the code and the pages."""
    found = Catalog()
    for _, _, message, comments, _ in extract_from_dir(ROOT, METHODS, OPTIONS, KEYWORDS):
        found.add(message, auto_comments=comments)
    for text in (*CLICK, *CLICK_PLURALS, *help_texts(commands)):
        found.add(text)
    return found


def help_texts(command: Command) -> Iterator[str]:
    """Yield the help of a command, of its options and of its own commands."""
    options = [option for option in command.params if isinstance(option, Option)]
    yield from (cleandoc(item.help) for item in (command, *options) if item.help)
    for each in command.commands.values() if isinstance(command, Group) else ():
        yield from help_texts(each)


def compiled(catalog: Catalog) -> bytes:
    """Return a catalog as the `.mo` that gettext reads."""
    out = io.BytesIO()
    write_mo(out, catalog)
    return out.getvalue()


def problems(catalog: Catalog) -> list[str]:
    """Return what is wrong with the catalog, a line each."""
    wanted = {message.id for message in extracted() if message.id}
    known = {message.id for message in catalog if message.id}
    found = [f"missing: {text!r}" for text in wanted - known]
    found += [f"unused: {text!r}" for text in known - wanted]
    for message in catalog:
        texts = message.string if isinstance(message.string, tuple) else (message.string,)
        if message.id and (message.fuzzy or not all(texts)):
            found.append(f"untranslated: {message.id!r}")
        found += [f"{message.id!r}: {error}" for error in message.check()]
    mo = PO.with_suffix(".mo")
    if not mo.exists() or mo.read_bytes() != compiled(catalog):
        found.append(f"{mo.name} is older than {PO.name}")
    return found


def main() -> None:
    """Check, or update."""
    with PO.open("rb") as file:
        catalog = read_po(file, locale="zh", domain="messages")
    if "--check" not in sys.argv:
        catalog.update(extracted(), no_fuzzy_matching=True, update_creation_date=False)
        catalog.obsolete.clear()
        with PO.open("wb") as file:
            write_po(
                file, catalog, width=100, sort_output=True, no_location=True, omit_header=False
            )
        with PO.open("rb") as file:
            catalog = read_po(file, locale="zh", domain="messages")
        PO.with_suffix(".mo").write_bytes(compiled(catalog))
    if wrong := problems(catalog):
        sys.exit("the catalog (make translations):\n  " + "\n  ".join(wrong))


if __name__ == "__main__":
    main()
