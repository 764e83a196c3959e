"""Hold requirements.txt against pyproject.toml: `--write` writes it, otherwise it is checked.

The wanted list is what the project and its `postgres` extra need, all the way down, at the
versions installed here; the check fails on a pin that is missing, superfluous or does not satisfy
what pyproject.toml asks for.
"""

import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PINS = ROOT / "requirements.txt"
HEAD = "# Written by `make requirements` from pyproject.toml, with the postgres extra.\n"


def wanted(requirement: Requirement, found: dict[str, str]) -> dict[str, str]:
    """Return name → version of a requirement and of all that it needs, extras included."""
    name = canonicalize_name(requirement.name)
    package = distribution(requirement.name)
    if not requirement.specifier.contains(package.version, prereleases=True):
        sys.exit(f"{requirement} is asked for, but {package.version} is installed")
    extras = requirement.extras or {""}
    if name != "pgyer-wecom-bridge":
        found[name] = package.version
    for text in package.requires or ():
        needed = Requirement(text)
        if needed.marker and not any(needed.marker.evaluate({"extra": e}) for e in {"", *extras}):
            continue
        if canonicalize_name(needed.name) not in found or needed.extras:
            wanted(needed, found)
    return found


def main() -> None:
    try:
        found = wanted(Requirement("pgyer-wecom-bridge[postgres]"), {})
    except PackageNotFoundError as error:
        sys.exit(f"{error.name} is not installed: pip install -r requirements.txt -e '.[dev]'")
    text = HEAD + "".join(f"{name}=={found[name]}\n" for name in sorted(found))
    if "--write" in sys.argv:
        PINS.write_text(text, encoding="utf-8")
    elif PINS.read_text(encoding="utf-8") != text:
        sys.exit("requirements.txt is out of step with pyproject.toml: run make requirements")


main()
