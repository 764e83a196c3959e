"""What the name of a template's file says: for which events it is, and of which msgtype; pure."""

import re
from collections.abc import Collection, Iterable
from functools import lru_cache

from bridge.messages.findings import Finding
from bridge.msgtypes import TEMPLATE_MSGTYPES
from bridge.wording import N_, TYPES, nearest, speaking, type_name

# With what editors and other tools put behind `.j2`, or in its place.
_ENDING = re.compile(r"(\.j2)?\.(txt|md|html|jinja2?|j2)$", re.IGNORECASE)
_MEANT = re.compile(r"\.j2(\.(txt|md|html))?$|\.jinja2?$", re.IGNORECASE)  # as templates
_ODD_NAME = N_("its name is not UTF-8, or has a backslash: rename it")
with speaking("zh"):  # how somebody may have written a type → the type
    _TYPES = {text.lower(): name for name in TYPES for text in (type_name(name), name)}


def msgtype_of(file: str) -> str:
    """Return the msgtype in a file's name, '' where it is not a template's name."""
    stem, _, msgtype = file.removesuffix(".j2").rpartition(".")
    return msgtype if stem and not stem.startswith("_") and msgtype in TEMPLATE_MSGTYPES else ""


def find_file(names: Iterable[str], files: Collection[str]) -> str:
    """Return the file of the first of these templates' names that has one, '' for none."""
    for name in names:
        own = [name] if msgtype_of(f"{name}.j2") else []
        for stem in (*own, *(f"{name}.{msgtype}" for msgtype in reversed(TEMPLATE_MSGTYPES))):
            if f"{stem}.j2" in files:
                return f"{stem}.j2"
    return ""


@lru_cache(1024)  # for every message the folder is looked at
def name_finding(file: str) -> Finding | None:
    """Return why a file in the folder of templates is not used, though it seems to be meant so."""
    is_template = file.endswith(".j2")
    if is_template and "\\" in file:
        return Finding("unreadable", values={"why": _ODD_NAME})
    if is_template and (file.startswith("_") or msgtype_of(file)):
        return None
    stem = _ENDING.sub("", file)
    name, _, msgtype = stem.rpartition(".")
    close = nearest(msgtype.lower(), TEMPLATE_MSGTYPES) if name else ""
    meant = f"{_TYPES.get(name.lower(), name)}.{close}.j2" if close else ""
    if is_template:
        known = ", ".join(TEMPLATE_MSGTYPES)
        return Finding("no_msgtype", values={"known": known, "close": meant})
    if _MEANT.search(file) or {stem.lower(), name.lower()} & _TYPES.keys():
        helper = f"{stem}.j2" if stem.startswith("_") else ""
        meant = helper or meant or f"{_TYPES.get(stem.lower(), stem)}.markdown.j2"
        return Finding("file_ending", values={"close": meant})
    return None


def type_finding(file: str, routed: Collection[str] = ()) -> Finding | None:
    """Return whether a template is for a type that no event has; `routed` are those of routes."""
    stem = file.removesuffix(".j2")
    name, _, msgtype = stem.rpartition(".")
    words = re.split(r"[-_. ]", name)  # of a variant for a route: `crashlog-short`
    if {*words} & {*TYPES} or {name, stem} & {*routed}:
        return None
    code, close = "wrong_case", _TYPES.get(name.lower())
    if not close:
        code, close = "misspelled_type", _TYPES.get(nearest(name.lower(), _TYPES, 0.8))
    return Finding(code, values={"name": name, "close": f"{close}.{msgtype}.j2"}) if close else None
